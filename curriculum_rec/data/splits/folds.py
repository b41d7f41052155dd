"""Cross-validation (host): as many splits as folds, each of which tests another part of the users or interactions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from curriculum_rec.data.interactions import Interactions
from curriculum_rec.data.splits.at_random import shuffled_codes, shuffled_rows
from curriculum_rec.data.splits.cold import held_out_users
from curriculum_rec.data.splits.parts import Part, Split
from curriculum_rec.data.splits.promises import check_promises
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.ranges import INSIDE_ONE, at_least, check_ranges, check_value
from curriculum_rec.streams import host_stream


@runtime_checkable
class Folds(Protocol):
    """A split that is one of several, which together test everything once."""

    @property
    def folds(self) -> int:
        """How many there are."""
        ...

    @property
    def fold(self) -> int | None:
        """Which one this is, from 0."""
        ...


@dataclass(frozen=True)
class SeededFolds:
    """Folds that are drawn, as is a validation part of the others.

    Args:
        folds: How many.
        fold: Which one is tested, from 0.
        validation: Share of the other folds that is held out for validation, in (0, 1).
        seed: Decides what is in which fold; not the run's seed.
    """

    folds: int = 5
    fold: int | None = None
    validation: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        check_value("split.folds", self.folds, at_least(2))
        if self.fold is None:
            raise OptionError(
                f"fold is not set: choose one of {self.folds} by fold=0, or train them all by -m "
                f"'fold=range({self.folds})'"
            )
        if not 0 <= self.fold < self.folds:
            raise OptionError(
                f"fold={self.fold}: with split.folds={self.folds} it must be one of 0 to {self.folds - 1}"
            )
        check_ranges(self, "split", {"validation": INSIDE_ONE, "seed": at_least(0)})

    def parts(self, place: np.ndarray) -> np.ndarray:
        """Give the part of everything in a random order; what is near in the order is in other folds.

        Args:
            place: int ``[n]``, the place of each in the order, from 0.

        Returns:
            int8 ``[n]``.

        Raises:
            DataError: There are too few for so many folds.
        """
        if len(place) < 2 * self.folds:
            raise DataError(f"split.folds={self.folds} are too many for {len(place)}: take fewer")
        part = np.where(place % self.folds == self.fold, Part.TEST, Part.TRAIN).astype(np.int8)
        others = np.argsort(place)
        others = others[part[others] == Part.TRAIN]
        n_validation = min(max(1, round(self.validation * len(others))), len(others) - 1)
        drawn = host_stream(self.seed, "validation of a fold", self.fold or 0).permutation(len(others))
        part[others[drawn[:n_validation]]] = Part.VALIDATION
        return part


@dataclass(frozen=True)
class UserFolds(SeededFolds):
    """Cross-validation by user: nothing of a fold's users is trained on, and every user is tested in one fold.

    Options that are not named here are those of :class:`SeededFolds`.

    Args:
        given: Length of the shown history, the user's first interactions. None shows all but what is asked for.
        targets: How many are asked for after it, or with ``given=null`` how many of the last; None asks for all.
    """

    given: int | None = None
    targets: int | None = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "split", {"given": at_least(1).or_null(), "targets": at_least(1).or_null()})

    def __call__(self, interactions: Interactions) -> Split:
        """Split.

        Raises:
            DataError: There are too few users, or nobody who is held out has enough interactions.
        """
        place = shuffled_codes(interactions.n_users, seed=self.seed, name="user folds")
        part = np.full(len(place), Part.TRAIN, np.int8)
        part[1:] = self.parts(place[1:])
        return held_out_users(interactions, part, given=self.given, targets=self.targets)


@dataclass(frozen=True)
class InteractionFolds(SeededFolds):
    """Cross-validation by interaction: each is tested in one fold, unless it is its user's first.

    As with any random split, training may hold what came after a tested interaction. Options are those of
    :class:`SeededFolds`.
    """

    def __call__(self, interactions: Interactions) -> Split:
        """Split.

        Raises:
            DataError: There are too few interactions.
        """
        place = shuffled_rows(interactions, seed=self.seed, name="interaction folds")
        return check_promises(Split(interactions, self.parts(place)))
