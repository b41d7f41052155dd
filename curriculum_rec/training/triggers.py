"""When a stage ends before its greatest length (host): pure functions of where the run stood at its evaluations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from curriculum_rec.ranges import (
    ABOVE_0_TO_1,
    BELOW_ONE,
    INSIDE_ONE,
    POSITIVE,
    at_least,
    between,
    check_ranges,
    check_value,
)
from curriculum_rec.training.record import Standing


@runtime_checkable
class StopRule(Protocol):
    """Says after every evaluation whether the stage ends there."""

    @property
    def needs_operations(self) -> bool:
        """Whether the rule cannot do without counts of operations."""
        ...

    def __call__(self, evaluations: Sequence[Standing]) -> bool:
        """Say whether the stage ends.

        Args:
            evaluations: Where the run stood at each evaluation of the stage, oldest first, the last one now.
        """
        ...


@dataclass(frozen=True)
class Plateau:
    """Options of the plateau: the deciding metric has not become better for some evaluations.

    Args:
        patience: How many, at least 1.
        min_improvement: By what fraction of the best value so far another must be better, at least 0.
    """

    patience: int = 2
    min_improvement: float = 0.001
    needs_operations: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_ranges(self, "stages.NAME.until", {"patience": at_least(1), "min_improvement": at_least(0)})

    def __call__(self, evaluations: Sequence[Standing]) -> bool:
        """Say whether the stage ends."""
        best, since = -math.inf, 0
        for standing in evaluations:
            if best == -math.inf or standing.metric > best + self.min_improvement * abs(best):
                best, since = standing.metric, 0
            else:
                since += 1
        return since >= self.patience


@dataclass(frozen=True)
class LossSlope:
    """Options of the loss's slope: the loss falls more slowly with the operations spent than a power law would.

    A line is fitted to ``log(loss)`` over ``log(operations)`` of the last evaluations; the stage ends when its slope is
    above ``slope``, that is, less steep.

    Args:
        slope: Below 0; the default is for growth in depth, and the source has -0.0475 for width, -0.03 for both
            together and -0.052 for the end of training. All were found for language models: find your own.
        window: Evaluations that the line is fitted to, at least 3; before there are so many, the stage goes on.
        smoothing: Share of the running mean that stays at each evaluation, in [0, 1).

    Source: staged training (Shen et al., 2022), and the thresholds that come with its code.
    """

    slope: float = -0.0575
    window: int = 20
    smoothing: float = 0.5
    needs_operations: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_ranges(
            self, "stages.NAME.until", {"slope": between(-math.inf, 0), "window": at_least(3), "smoothing": BELOW_ONE}
        )

    def __call__(self, evaluations: Sequence[Standing]) -> bool:
        """Say whether the stage ends."""
        if len(evaluations) < self.window:
            return False
        mean, smooth = evaluations[0].loss, []
        for standing in evaluations:
            mean = self.smoothing * mean + (1 - self.smoothing) * standing.loss
            smooth.append(mean)
        recent = evaluations[-self.window :]
        if min(smooth) <= 0 or any(not standing.operations for standing in recent):
            return False  # no power law goes through these
        spent = [standing.operations or 0.0 for standing in recent]
        return bool(np.polyfit(np.log(spent), np.log(smooth[-self.window :]), 1)[0] > self.slope)


@dataclass(frozen=True)
class OperationShare:
    """Options of a share of the run's operations.

    The whole is what all stages take at their greatest lengths, on whole passes over the data.

    Args:
        at: The share after which the stage ends, in (0, 1).
    """

    at: float = 0.1
    needs_operations: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_ranges(self, "stages.NAME.until", {"at": INSIDE_ONE})

    def __call__(self, evaluations: Sequence[Standing]) -> bool:
        """Say whether the stage ends."""
        return bool(evaluations) and (evaluations[-1].operations or 0.0) >= self.at


@dataclass(frozen=True)
class CurriculumShare:
    """Options of a share of the curriculum: the model grows together with what it trains on.

    Args:
        at: The stage ends when so much of the training data is available, in (0, 1].
    """

    at: float = 0.5
    needs_operations: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_ranges(self, "stages.NAME.until", {"at": ABOVE_0_TO_1})

    def __call__(self, evaluations: Sequence[Standing]) -> bool:
        """Say whether the stage ends."""
        return bool(evaluations) and evaluations[-1].share >= self.at


def data_has_grown(before: int, now: int, *, by: float = 0.25) -> bool:
    """Say whether so much data has arrived since a run that a deeper model should go on from it.

    Nothing arrives inside a run, whose data are read once, so that no stage can ask this: who trains again and again,
    warm-starting each run from the last, asks between two runs.

    Args:
        before: Training interactions of the last run, at least 1.
        now: Training interactions today.
        by: By what fraction there must be more, above 0.

    Raises:
        OptionError: An argument is out of range.

    Source: the continual setting of StackRec (Wang et al., 2021).

    >>> data_has_grown(100, 124), data_has_grown(100, 125)
    (False, True)
    """
    check_value("before", before, at_least(1))
    check_value("by", by, POSITIVE)
    return now >= before * (1 + by)
