"""Who gains (host): slices of the users by activity, and of what was to be found by popularity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from curriculum_rec.data.splits import Part, Split
from curriculum_rec.evaluation.slices import ACTIVITY, POPULARITY, thirds, thirds_of_events
from curriculum_rec.studies.results import Seeds, row_values

SLICES = (*ACTIVITY, *POPULARITY)


@dataclass(frozen=True)
class Slices:
    """Which slice every test target lies in.

    Attributes:
        users: Id of the user of every test target, in the order of the results.
        activity: int ``[n_rows]``, the third by events in the training part, 0 the least active.
        popularity: int ``[n_rows]``, the third of the training events that the target's item belongs to, when items
            are put in order of their counts, 0 the rarest.
        bounds: The counts at which the thirds end.
    """

    users: pl.Series
    activity: np.ndarray
    popularity: np.ndarray
    bounds: tuple[tuple[int, int], tuple[int, int]]

    @classmethod
    def of(cls, parts: Sequence[tuple[Split, pl.DataFrame]]) -> Slices:
        """Cut the users of some results.

        Args:
            parts: The data that a run was trained on, and its rows ``user`` and ``item``, ids; of cross-validation
                one pair a fold. What is given of a user who is not trained on counts as an event, too.
        """
        users, items, counts = [], [], []
        for split, results in parts:
            interactions = split.interactions
            known = (split.part == Part.TRAIN) | (split.part == Part.ASIDE)
            events = np.bincount(interactions.user[known], minlength=interactions.n_users + 1)
            users.append(events[interactions.users.encode(results["user"])])
            counts.append(split.item_counts(Part.TRAIN))
            items.append(counts[-1][interactions.items.encode(results["item"])])
        of_user, of_item = np.concatenate(users), np.concatenate(items)
        user_bounds = thirds(of_user)
        item_bounds = thirds_of_events(np.concatenate([each[1:] for each in counts]))
        return cls(
            pl.concat([results["user"] for _, results in parts]),
            np.searchsorted(user_bounds, of_user),
            np.searchsorted(item_bounds, of_item),
            (user_bounds, item_bounds),
        )

    def means(self, runs: Seeds, metric: str) -> dict[str, float]:
        """Give the mean metric of every slice that has a user, over the seeds of an arm."""
        of_row = row_values(runs.values(), metric).mean(axis=0)
        found = {}
        for names, slice_of in ((ACTIVITY, self.activity), (POPULARITY, self.popularity)):
            for number, name in enumerate(names):
                if (inside := slice_of == number).any():
                    found[name] = float(of_row[inside].mean())
        return found

    def describe(self) -> str:
        """Say where the slices end."""
        (few, some), (rare, known) = self.bounds
        return (
            f"Users by events in the training part: up to {few:,}, up to {some:,}, more. Test items by training "
            f"events: up to {rare:,}, up to {known:,}, more; each slice of the items has about a third of these."
        )
