"""Plans of stages (host): components that give all stages of a run at once."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import INSIDE_ONE, at_least, between, check_ranges
from curriculum_rec.training.freezing import NewBlocksFirst
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
        _check_one_length(self.epochs, self.steps)
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


@dataclass(frozen=True)
class PrefixStages:
    """Options of stages that train longer and longer prefixes of a model, each with a head of its own.

    Prefix i of k has the first ``i / k`` of the blocks, rounded up, and lasts ``1 / (2 k)`` of the run, the whole model
    the rest; ``growth=prefix`` leads from one to the next. The stages are called ``prefix_2``, ``prefix_4`` and so on.

    Args:
        depth: Blocks of the whole model.
        n_stages: How many stages, at least 1 and at most ``depth``.
        epochs: Length of the run in passes over the full data; exactly one of this and ``steps`` is given.
        steps: Length of the run in steps; the stages' lengths then add up to it exactly.
        new_alone: Share of a prefix's length over which new blocks and head learn alone when a stage begins, in [0, 1].

    Source: ProgFed (Wang et al., 2022), whose runs have 4 stages of 375 out of 3000 rounds, 25 of them for what is new
    alone.
    """

    depth: int = 8
    n_stages: int = 4
    epochs: float | None = 30.0
    steps: int | None = None
    new_alone: float = 0.06667

    def __post_init__(self) -> None:
        _check_one_length(self.epochs, self.steps)
        ranges = {
            "depth": at_least(1),
            "n_stages": at_least(1),
            "new_alone": between(0, 1, low_too=True, high_too=True),
        }
        check_ranges(self, "stages", ranges)
        if self.n_stages > self.depth:
            raise OptionError(f"stages.n_stages={self.n_stages}: of {self.depth} blocks there are no more prefixes")
        if self.steps is not None and self.steps < 2 * self.n_stages:
            raise OptionError(f"stages.steps={self.steps}: too few for {self.n_stages} stages")

    def stages(self) -> Mapping[str, Stage]:
        """Give the stages, in order."""
        stages = {}
        for number in range(1, self.n_stages + 1):
            depth = -(-number * self.depth // self.n_stages)
            longer = 1 if number < self.n_stages else self.n_stages + 1  # times the length of a prefix
            freeze = NewBlocksFirst(self.new_alone / longer) if number > 1 and self.new_alone else None
            stages[f"prefix_{depth}"] = Stage(
                depth=depth, epochs=self._epochs(longer), steps=self._steps(number), freeze=freeze
            )
        return stages

    def _epochs(self, longer: int) -> float | None:
        return None if self.epochs is None else self.epochs * longer / (2 * self.n_stages)

    def _steps(self, number: int) -> int | None:
        if self.steps is None:
            return None
        of_prefix = self.steps // (2 * self.n_stages)
        return of_prefix if number < self.n_stages else self.steps - of_prefix * (self.n_stages - 1)


@dataclass(frozen=True)
class CheckedStages:
    """Options of short stages, at the ends of which growth decides how large the model is next, and a long last one.

    They are called ``check_1``, ``check_2`` and so on, all of one length, and ``rest``; ``growth=per_field`` decides.

    Args:
        n_checks: How many short stages, at least 1.
        share: The part of the run that these take together, in (0, 1).
        epochs: Length of the run in passes over the full data; exactly one of this and ``steps`` is given.
        steps: Length of the run in steps; the stages' lengths then add up to it exactly.
    """

    n_checks: int = 12
    share: float = 0.6
    epochs: float | None = 10.0
    steps: int | None = None

    def __post_init__(self) -> None:
        _check_one_length(self.epochs, self.steps)
        check_ranges(self, "stages", {"n_checks": at_least(1), "share": INSIDE_ONE})
        if self.steps is not None and not 0 < self._short_steps(self.steps) * self.n_checks < self.steps:
            raise OptionError(f"stages.steps={self.steps}: too few for {self.n_checks} checks and a stage after them")

    def stages(self) -> Mapping[str, Stage]:
        """Give the stages, in order."""
        if self.epochs is not None:
            short = Stage(epochs=self.epochs * self.share / self.n_checks)
            rest = Stage(epochs=self.epochs * (1 - self.share))
        else:
            steps = self.steps or 0
            short = Stage(steps=self._short_steps(steps))
            rest = Stage(steps=steps - self._short_steps(steps) * self.n_checks)
        return {**{f"check_{number}": short for number in range(1, self.n_checks + 1)}, "rest": rest}

    def _short_steps(self, steps: int) -> int:
        return round(steps * self.share / self.n_checks)


def _check_one_length(epochs: float | None, steps: int | None) -> None:
    if (epochs is None) == (steps is None):
        raise OptionError(
            f"stages.epochs={epochs} and stages.steps={steps}: give exactly one of them, null for the other"
        )


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
