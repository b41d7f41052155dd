"""Cold starts (host): users and items of whom nothing is trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curriculum_rec.data.interactions import Interactions
from curriculum_rec.data.splits.at_random import shuffled_codes
from curriculum_rec.data.splits.by_user import check_shares
from curriculum_rec.data.splits.parts import Part, Promise, Split
from curriculum_rec.data.splits.promises import check_promises
from curriculum_rec.ranges import at_least, check_ranges


@dataclass(frozen=True)
class ColdUsers:
    """Nothing of some users is trained on: a given history is shown, what follows is asked for.

    Args:
        validation: Share of the users who are held out for validation, in (0, 1).
        test: Share of those for the test, in (0, 1).
        given: Length of the shown history, the user's first interactions. None shows all but what is asked for.
        targets: How many are asked for after it, or with ``given=null`` how many of the last; None asks for all.
        seed: Decides who is held out; not the run's seed.

    Source: strong generalization, as in Liang et al., Variational Autoencoders for Collaborative Filtering (2018).
    """

    validation: float = 0.1
    test: float = 0.1
    given: int | None = 3
    targets: int | None = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_shares(self.validation, self.test)
        ranges = {"given": at_least(1).or_null(), "targets": at_least(1).or_null(), "seed": at_least(0)}
        check_ranges(self, "split", ranges)

    def __call__(self, interactions: Interactions) -> Split:
        """Split.

        Raises:
            DataError: No user who is held out has enough interactions.
        """
        n = interactions.n_users
        part_of_user = parts_by_share(
            shuffled_codes(n, seed=self.seed, name="cold users"), validation=self.validation, test=self.test
        )
        return held_out_users(interactions, part_of_user, given=self.given, targets=self.targets)


@dataclass(frozen=True)
class ColdItems:
    """Nothing of some items is trained on; every interaction with them is asked for, after what came before it.

    They stay in the catalogue, where a model that knows items by their ids alone can only guess at them.

    Args:
        validation: Share of the items that are held out for validation, in (0, 1).
        test: Share of those for the test, in (0, 1).
        seed: Decides which; not the run's seed.
    """

    validation: float = 0.1
    test: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        check_shares(self.validation, self.test)
        check_ranges(self, "split", {"seed": at_least(0)})

    def __call__(self, interactions: Interactions) -> Split:
        """Split.

        Raises:
            DataError: No interaction with an item that is held out has a history.
        """
        place = shuffled_codes(interactions.n_items, seed=self.seed, name="cold items")
        part_of_item = parts_by_share(place, validation=self.validation, test=self.test)
        return check_promises(Split(interactions, part_of_item[interactions.item], promises=(Promise.ITEMS,)))


def parts_by_share(place: np.ndarray, *, validation: float, test: float) -> np.ndarray:
    """Give the first codes of an order to the test, the next to validation, int8 ``[n + 1]``; at least one each.

    Args:
        place: Of every code in the order, int64 ``[n + 1]``; that of padding is the last.
        validation: Share of the codes.
        test: Share of the codes.

    >>> parts_by_share(np.array([4, 1, 0, 3, 2]), validation=0.25, test=0.25).tolist()
    [0, 1, 2, 0, 0]
    """
    n = len(place) - 1
    n_test, n_validation = (max(1, round(share * n)) for share in (test, validation))
    part = np.full(len(place), Part.TRAIN, np.int8)
    part[place < min(n_test + n_validation, n)] = Part.VALIDATION
    part[place < n_test] = Part.TEST
    return part


def held_out_users(
    interactions: Interactions, part_of_user: np.ndarray, *, given: int | None, targets: int | None
) -> Split:
    """Hold out users: of those outside the training part a history is put aside, and what follows is asked for.

    Args:
        interactions: Sorted by user and time.
        part_of_user: int8 ``[n_users + 1]``.
        given: Length of the history; None puts all aside but what is asked for.
        targets: How many are asked for; None asks for all but the history, which has at least one interaction.

    Raises:
        DataError: Nobody who is held out has enough interactions.
    """
    offsets, user = interactions.user_offsets(), interactions.user
    place = np.arange(len(interactions)) - offsets[user]
    count = np.diff(offsets)[user]
    if given is None:
        first, last = (np.ones_like(count) if targets is None else np.maximum(count - targets, 1)), count
    else:
        first, last = np.full_like(count, given), count if targets is None else np.minimum(count, given + targets)
    asked = (place >= first) & (place < last)
    part = part_of_user[user]
    part = np.where((part != Part.TRAIN) & ~asked, Part.ASIDE, part).astype(np.int8)
    return check_promises(Split(interactions, part, promises=(Promise.USERS,)))
