"""Plans of stages (host): components that give all stages of a run at once."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import at_least, check_ranges
from curriculum_rec.training.stages import Stage


@runtime_checkable
class StagePlan(Protocol):
    """Options that give named stages."""

    def stages(self) -> Mapping[str, Stage]:
        """Give the stages, in order."""
        ...


@dataclass(frozen=True)
class ProportionalStages:
    """Options of stages of growing depth whose lengths grow with their number.

    Stage i of k gets the part ``i^alpha / (1^alpha + ... + k^alpha)`` of the run. They are called ``depth_2``,
    ``depth_4`` and so on.

    Args:
        depths: Depth of each stage, each greater than the one before.
        epochs: Length of the run in passes over the full data; exactly one of this and ``steps`` is given.
        steps: Length of the run in steps; the stages' lengths then add up to it exactly.
        alpha: 0 makes all stages equally long, more makes later ones longer; at least 0.
        warmup_steps: Of every stage but the first, as in a stage of its own.

    Source: "PROP-alpha" of MIDAS (Saunshi et al., 2024).
    """

    depths: tuple[int, ...] = (2, 4, 8)
    epochs: float | None = 30.0
    steps: int | None = None
    alpha: float = 1.0
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise OptionError(
                f"stages.epochs={self.epochs} and stages.steps={self.steps}: give exactly one of them, null for the "
                "other"
            )
        if not self.depths or list(self.depths) != sorted({*self.depths}) or self.depths[0] < 1:
            raise OptionError(f"stages.depths={list(self.depths)}: each must be greater than the one before, from 1 on")
        check_ranges(self, "stages", {"alpha": at_least(0)})
        if self.steps is not None and min(proportional_steps(self.steps, len(self.depths), self.alpha)) < 1:
            raise OptionError(f"stages.steps={self.steps}: too few for {len(self.depths)} stages")

    def stages(self) -> Mapping[str, Stage]:
        """Give the stages, in order."""
        number = len(self.depths)
        epochs = [None if self.epochs is None else self.epochs * part for part in proportions(number, self.alpha)]
        steps = [None] * number if self.steps is None else proportional_steps(self.steps, number, self.alpha)
        return {
            f"depth_{depth}": Stage(
                depth=depth, epochs=epochs[i], steps=steps[i], warmup_steps=self.warmup_steps if i else 0
            )
            for i, depth in enumerate(self.depths)
        }


def proportions(number: int, alpha: float) -> list[float]:
    """Divide 1 among stages in proportion to a power of their numbers.

    Args:
        number: How many stages.
        alpha: The power.

    >>> proportions(3, 1), proportions(2, 0)
    ([0.16666666666666666, 0.3333333333333333, 0.5], [0.5, 0.5])
    """
    powers = [float(i**alpha) for i in range(1, number + 1)]
    return [power / sum(powers) for power in powers]


def proportional_steps(steps: int, number: int, alpha: float) -> list[int]:
    """Divide steps among stages; the ends of the stages are rounded, so that the lengths add up.

    Args:
        steps: Steps of the run.
        number: How many stages.
        alpha: As in :func:`proportions`.

    >>> proportional_steps(100, 3, 1)
    [17, 33, 50]
    """
    parts = proportions(number, alpha)
    ends = [0, *(round(steps * sum(parts[: i + 1])) for i in range(number - 1)), steps]
    return [after - before for before, after in itertools.pairwise(ends)]
