"""Who and what is asked about (host): thirds of users by activity, of items by popularity, and cold items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from curriculum_rec.data.splits import Part, Split
from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.questions import Questions

ACTIVITY = ("few events", "some events", "many events")
POPULARITY = ("rare items", "known items", "popular items")
COLD = ("cold items", "warm items")

By = Literal["activity", "popularity", "cold"]
"""By the user's events in the training part, by those of the relevant item, or by whether the item has any."""


def thirds(values: np.ndarray) -> tuple[int, int]:
    """Give the values at which the first and the second third of all values end.

    >>> thirds(np.array([1, 2, 2, 5, 9, 9]))
    (2, 9)
    """
    low, high = np.quantile(values, [1 / 3, 2 / 3], method="higher")
    return int(low), int(high)


def thirds_of_events(counts: np.ndarray) -> tuple[int, int]:
    """Give the counts at which the first and the second third of all events end, items in order of their counts.

    >>> thirds_of_events(np.array([1, 1, 1, 3, 3]))
    (1, 3)
    """
    ordered = np.sort(counts)
    ends = np.searchsorted(np.cumsum(ordered) / max(ordered.sum(), 1), [1 / 3, 2 / 3])
    low, high = ordered[np.minimum(ends, len(ordered) - 1)]
    return int(low), int(high)


def slices_of(split: Split, questions: Questions, by: Sequence[By]) -> dict[str, np.ndarray]:
    """Say which rows of questions lie in which slice.

    Args:
        split: The data.
        questions: What is asked.
        by: What they are cut by.

    Returns:
        By name bool ``[m]``, slices without a row left out.

    Raises:
        OptionError: There is no such cut, or the data lie in a store.
    """
    for each in by:
        if each not in get_args(By):
            raise OptionError(f"slices={each}: it must be one of {', '.join(get_args(By))}")
    data, rows = split.interactions, questions.rows
    found: dict[str, np.ndarray] = {}
    counts = split.item_counts(Part.TRAIN)
    if "activity" in by:
        if not isinstance(data.user, np.ndarray):
            raise OptionError("slices=activity counts all users' events, and those of data=store stay on disk")
        known = (split.part == Part.TRAIN) | (split.part == Part.ASIDE)
        events = np.bincount(data.user[known], minlength=data.n_users + 1)
        of_row = np.searchsorted(thirds(events[questions.user]), events[rows.user])
        found |= {name: of_row == number for number, name in enumerate(ACTIVITY)}
    if "popularity" in by:
        of_row = np.searchsorted(thirds_of_events(counts[1:]), counts[rows.target])
        found |= {name: of_row == number for number, name in enumerate(POPULARITY)}
    if "cold" in by:
        cold = counts[rows.target] == 0
        found |= dict(zip(COLD, (cold, ~cold), strict=True))
    return {name: inside for name, inside in found.items() if inside.any()}
