"""What is true of a simulated world (host): the distribution of every next item, and the best ranking there is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from curriculum_rec.data.simulated.histories import drifted
from curriculum_rec.data.simulated.source import Simulated
from curriculum_rec.data.splits import Part, Split

CELLS = 2**24
"""Probabilities that are held at once."""


@dataclass(frozen=True)
class Truth:
    """The truth of a world; it holds the tastes of all users, so that it is for small ones.

    Args:
        world: The world.
    """

    world: Simulated

    @cached_property
    def tastes(self) -> np.ndarray:
        """Of all users, float64 ``[2, n_users, n_categories]``."""
        return np.concatenate([self.world.tastes(number) for number in range(self.world.n_blocks)], axis=1)

    @cached_property
    def _number(self) -> np.ndarray:
        number = np.empty(self.world.n_items, np.int64)
        number[self.world.catalogue.ids] = np.arange(self.world.n_items)
        return number

    def affinity(self, user: np.ndarray, *, step: np.ndarray | int = 0) -> np.ndarray:
        """Give how much users like each item, whatever came before: a distribution over items.

        Args:
            user: Ids, int64 ``[m]``.
            step: Real interactions before, int64 ``[m]`` or one for all.

        Returns:
            float64 ``[m, n_items]``, items by id.
        """
        catalogue = self.world.catalogue
        share = np.broadcast_to(drifted(self.world.drift, step), user.shape)[:, None]
        taste = (1 - share) * self.tastes[0, user] + share * self.tastes[1, user]
        within = catalogue.popularity / catalogue.category_popularity[catalogue.category]
        return (taste[:, catalogue.category] * within)[:, self._number]

    def next_item(self, user: np.ndarray, last: np.ndarray, *, step: np.ndarray) -> np.ndarray:
        """Give the probability of each item to come next.

        Args:
            user: Ids, int64 ``[m]``.
            last: Id of the last real item of each, int64 ``[m]``.
            step: Real interactions before, int64 ``[m]``, at least 1.

        Returns:
            float64 ``[m, n_items]``, items by id; each row sums to 1.
        """
        catalogue, markov = self.world.catalogue, self.world.markov
        chance = (1 - markov) * self.affinity(user, step=step)
        following = catalogue.ids[catalogue.successors[self._number[last]]]
        row = np.broadcast_to(np.arange(len(user))[:, None], following.shape)
        np.add.at(chance, (row, following), markov * catalogue.succession)  # an item may be a successor twice
        return chance

    def oracle_ranks(self, split: Split, part: Part, *, filter_seen: bool = True) -> np.ndarray:
        """Rank the targets of a split by their true probabilities: without a filter no model does better in the mean.

        With one a target that the user has met competes with unmet items alone, so that a model which puts what was
        met in front is a little ahead of the truth.

        Args:
            split: Of all interactions of this world, none cleaned away.
            part: Whose targets.
            filter_seen: Whether items of the history are no candidates (the target always is one).

        Returns:
            float64 ``[m]``, from 1, equal probabilities at their mean rank, in the order of ``split.rows(part)``.
        """
        rows, data = split.rows(part), split.interactions
        user, item = (codes.cast(int).to_numpy() for codes in (data.users.ids, data.items.ids))
        last, step = _last_real(split, part)
        ranks = np.empty(len(rows))
        size = max(1, CELLS // self.world.n_items)
        for begin in range(0, len(rows), size):
            block = slice(begin, begin + size)
            chance = self.next_item(user[rows.user[block] - 1], item[last[block] - 1], step=step[block])[:, item]
            number = np.arange(len(chance))
            own = chance[number, rows.target[block] - 1].copy()
            if filter_seen:
                for row in number:
                    seen = rows.items[rows.start[begin + row] : rows.stop[begin + row]]
                    chance[row, seen - 1] = -1.0
            chance[number, rows.target[block] - 1] = -1.0
            above, level = (chance > own[:, None]).sum(axis=1), (chance == own[:, None]).sum(axis=1)
            ranks[block] = 1 + above + level / 2
        return ranks


def _last_real(split: Split, part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Give code of the last real item before every target, and how many real ones there were.

    All of the user's interactions before the target count, whether the split shows them or not.
    """
    data = split.interactions
    real = np.ones(len(data), bool) if split.noise is None else ~split.noise
    where = _rows_of(split, part)
    before = np.concatenate([[0], np.cumsum(real)])
    step = before[where] - before[data.user_offsets()[data.user[where]]]
    last = np.maximum.accumulate(np.where(real, np.arange(len(data)), 0))
    return data.item[last[where - 1]], step


def _rows_of(split: Split, part: Part) -> np.ndarray:
    """Give the rows whose targets ``split.rows`` lists."""
    data = split.interactions
    known = (split.part <= part) | (split.part == Part.ASIDE)
    before = np.concatenate([[0], np.cumsum(known)])
    where = np.flatnonzero(split.part == part)
    return where[before[where] > before[data.user_offsets()[data.user[where]]]]
