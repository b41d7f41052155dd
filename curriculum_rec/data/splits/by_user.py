"""Splits by each user's own order (host): the end of every history is held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curriculum_rec.data.interactions import Interactions
from curriculum_rec.data.splits.parts import Part, Promise, Split
from curriculum_rec.data.splits.promises import check_promises
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.ranges import INSIDE_ONE, at_least, check_ranges


@dataclass(frozen=True)
class LeaveOneOut:
    """Every user's last interaction is test, the one before it validation, the rest training.

    A user with fewer than three interactions trains only.

    Source: the common protocol of sequential recommendation (Kang and McAuley, 2018).
    """

    def __call__(self, interactions: Interactions) -> Split:
        """Split.

        Raises:
            DataError: No user has three interactions.
        """
        counts = np.diff(interactions.user_offsets())
        if not (counts >= 3).any():
            raise DataError("no user has three interactions, so that leave-one-out has nothing to test on")
        one = (counts >= 3).astype(np.int64)
        return _held_out_at_the_end(interactions, validation=one, test=one)


@dataclass(frozen=True)
class LastN:
    """Every user's last interactions are test, those before them validation, the rest training.

    Each is a question of its own, after all that came before it. A user with too few to train on one trains only.

    Args:
        validation: How many are validation.
        test: How many are test.
    """

    validation: int = 1
    test: int = 5

    def __post_init__(self) -> None:
        check_ranges(self, "split", {"validation": at_least(1), "test": at_least(1)})

    def __call__(self, interactions: Interactions) -> Split:
        """Split.

        Raises:
            DataError: No user has enough interactions.
        """
        enough = np.diff(interactions.user_offsets()) > self.validation + self.test
        if not enough.any():
            raise DataError(
                f"no user has {self.validation + self.test + 1} interactions, which split.validation={self.validation} "
                f"and split.test={self.test} need: take fewer"
            )
        held_out = enough.astype(np.int64)
        return _held_out_at_the_end(interactions, validation=held_out * self.validation, test=held_out * self.test)


@dataclass(frozen=True)
class RatioPerUser:
    """The latest share of every user's interactions is test, the share before it validation, the rest training.

    Shares of a user's interactions are rounded, halves up. At least one stays in training.

    Args:
        validation: Share of validation, in (0, 1).
        test: Share of the test, in (0, 1).
    """

    validation: float = 0.1
    test: float = 0.2

    def __post_init__(self) -> None:
        check_shares(self.validation, self.test)

    def __call__(self, interactions: Interactions) -> Split:
        """Split.

        Raises:
            DataError: No user has enough interactions.
        """
        counts = np.diff(interactions.user_offsets())
        test = np.minimum(np.floor(counts * self.test + 0.5).astype(np.int64), np.maximum(counts - 1, 0))
        validation = np.floor(counts * self.validation + 0.5).astype(np.int64)
        validation = np.minimum(validation, np.maximum(counts - 1 - test, 0))
        return _held_out_at_the_end(interactions, validation=validation, test=test)


def check_shares(validation: float, test: float) -> None:
    """Refuse shares that leave nothing to train on.

    Raises:
        OptionError: A share lies outside (0, 1), or both together do.
    """
    for name, share in (("validation", validation), ("test", test)):
        if not INSIDE_ONE.contains(share):
            raise OptionError(f"split.{name}={share}: it must be {INSIDE_ONE.words}")
    if validation + test >= 1:
        raise OptionError(f"split.validation={validation} and split.test={test} leave nothing to train on")


def _held_out_at_the_end(interactions: Interactions, *, validation: np.ndarray, test: np.ndarray) -> Split:
    """Hold out the end of every history.

    Args:
        interactions: Sorted by user and time.
        validation: How many of each user's, int64 ``[n_users + 1]``.
        test: Likewise.
    """
    offsets = interactions.user_offsets()
    from_end = offsets[1:][interactions.user] - np.arange(len(interactions))
    n_test, n_both = test[interactions.user], (test + validation)[interactions.user]
    part = np.where(from_end <= n_test, Part.TEST, np.where(from_end <= n_both, Part.VALIDATION, Part.TRAIN))
    return check_promises(Split(interactions, part.astype(np.int8), promises=(Promise.ORDER,)))
