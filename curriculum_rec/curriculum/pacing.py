"""Pacing (host and device): which share of the examples is available at a step.

A share is a pure function of the step and of the run's length, so that the order of calls does not matter and a resumed
run sees what it would have seen; :class:`Plateau` alone also remembers the evaluations so far. Schedules of the run's
length take ``s``, the step as a fraction of the time after which everything is available, clipped to [0, 1]: no
exponential can then overflow. They work on Python numbers, numpy and JAX arrays alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from curriculum_rec.ranges import ABOVE_0_TO_1, POSITIVE, above, at_least, between, check_ranges


@dataclass(frozen=True)
class Clock:
    """How long a run is.

    Attributes:
        total_steps: Its steps.
        steps_per_epoch: Those of one pass over all examples.
    """

    total_steps: int
    steps_per_epoch: int


class Pacing:
    """A schedule of the available share; subclasses say which.

    What depends on more than the step keeps it in ``memory``, an array that lies in the checkpoint.
    """

    def __call__(self, step: Any, clock: Clock, memory: np.ndarray | None = None) -> Any:
        """Give the share in [0, 1] that is available at a step, easiest first."""
        raise NotImplementedError

    def skipped(self, step: Any, clock: Clock) -> Any:
        """Give the share of the easiest that is not available any more."""
        return 0.0 * _floating(step)

    def begin(self) -> np.ndarray:
        """Give the memory before the first step."""
        return np.zeros(0)

    def evaluated(self, memory: np.ndarray, value: float) -> np.ndarray:
        """Take in a value of the deciding validation metric, of which more is better."""
        return memory


@dataclass(frozen=True)
class Constant(Pacing):
    """Everything from the first step: the pacing of plain training."""

    def __call__(self, step: Any, clock: Clock, memory: np.ndarray | None = None) -> Any:
        """Give the share."""
        return 0.0 * _floating(step) + 1.0


@dataclass(frozen=True)
class GrowingPacing(Pacing):
    """A pacing that grows from ``start`` to 1.

    Args:
        start: Share available at step 0, in (0, 1].
        full_at: Fraction of the run after which everything is available, above 0; beyond 1 the run ends with less.
    """

    start: float = 0.2
    full_at: float = 0.5

    def __post_init__(self) -> None:
        check_ranges(self, "curriculum.pacing", {"start": ABOVE_0_TO_1, "full_at": POSITIVE})

    def __call__(self, step: Any, clock: Clock, memory: np.ndarray | None = None) -> Any:
        """Give the share in [start, 1]."""
        s = _progress(step, self.full_at * clock.total_steps)
        numbers = s.__array_namespace__()
        return numbers.where(s >= 1, 1.0, numbers.clip(self.share(s), self.start, 1.0))

    def share(self, s: Any) -> Any:
        """Map progress in [0, 1] onto [start, 1], not decreasing."""
        return self.start + (1 - self.start) * self.shape(s)

    def shape(self, s: Any) -> Any:
        """Map [0, 1] onto [0, 1], not decreasing."""
        raise NotImplementedError


@dataclass(frozen=True)
class Linear(GrowingPacing):
    """``start + (1 - start) s``.

    Source: Wu, Dyer and Neyshabur (2021), family ``linear``; their ``a`` and ``b`` are ``full_at`` and ``start``.

    >>> float(Linear(start=0.5, full_at=0.5)(25, Clock(100, 10)))
    0.75
    """

    def shape(self, s: Any) -> Any:
        """Map [0, 1] onto [0, 1]."""
        return s


@dataclass(frozen=True)
class Polynomial(GrowingPacing):
    """``start + (1 - start) s^power``: slow at first for a power above 1, fast below.

    Args:
        power: Above 0; 1 is linear, 2 the family ``quad`` and 0.5 the family ``root`` of the source.

    Source: Wu, Dyer and Neyshabur (2021).

    >>> float(Polynomial(start=0.2, full_at=1.0)(50, Clock(100, 10)))
    0.4
    """

    power: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "curriculum.pacing", {"power": POSITIVE})

    def shape(self, s: Any) -> Any:
        """Map [0, 1] onto [0, 1]."""
        return s**self.power


@dataclass(frozen=True)
class Root(GrowingPacing):
    """``start + (1 - start) s^(1/power)``: fast at first.

    Args:
        power: The root, at least 1; 2 is the square root.

    Source: Wu, Dyer and Neyshabur (2021), family ``root``.

    >>> round(float(Root(start=0.0001, full_at=1.0, power=3)(50, Clock(100, 10))), 3)
    0.794
    """

    power: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "curriculum.pacing", {"power": at_least(1)})

    def shape(self, s: Any) -> Any:
        """Map [0, 1] onto [0, 1]."""
        return s ** (1 / self.power)


@dataclass(frozen=True)
class Step(GrowingPacing):
    """``start`` until ``full_at``, then everything.

    Source: Wu, Dyer and Neyshabur (2021), family ``step``.

    >>> [float(Step()(step, Clock(100, 10))) for step in (0, 49, 50)]
    [0.2, 0.2, 1.0]
    """

    def shape(self, s: Any) -> Any:
        """Map [0, 1] onto [0, 1]."""
        return 0.0 * s


@dataclass(frozen=True)
class Exponential(GrowingPacing):
    """``start + (1 - start) (e^(rate s) - 1) / (e^rate - 1)``: slow at first.

    Args:
        rate: How late the growth comes, above 0 and at most 50.

    Source: Wu, Dyer and Neyshabur (2021), family ``exp``, with rate 10.

    >>> round(float(Exponential(start=0.2, full_at=1.0)(50, Clock(100, 10))), 4)
    0.2054
    """

    rate: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "curriculum.pacing", {"rate": between(0, 50, high_too=True)})

    def shape(self, s: Any) -> Any:
        """Map [0, 1] onto [0, 1]."""
        return s.__array_namespace__().expm1(self.rate * s) / math.expm1(self.rate)


@dataclass(frozen=True)
class Logarithmic(GrowingPacing):
    """``start + (1 - start) (1 + log(s + e^-rate) / rate)``, at most 1: fast at first.

    Args:
        rate: How early the growth comes, above 0 and at most 50.

    Source: Wu, Dyer and Neyshabur (2021), family ``log``, with rate 10.

    >>> round(float(Logarithmic(start=0.2, full_at=1.0)(50, Clock(100, 10))), 4)
    0.9446
    """

    rate: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "curriculum.pacing", {"rate": between(0, 50, high_too=True)})

    def shape(self, s: Any) -> Any:
        """Map [0, 1] onto [0, 1]."""
        return 1 + s.__array_namespace__().log(s + math.exp(-self.rate)) / self.rate


@dataclass(frozen=True)
class Competence(GrowingPacing):
    """``(start^power + (1 - start^power) s)^(1/power)``: new examples come in proportion to those not yet known.

    Args:
        start: Competence at step 0; the source's 0.01.
        full_at: Fraction of the run; the source takes the steps in which plain training reaches 90 % of its quality.
        power: At least 1; 1 is linear.

    Source: Platanios et al. (2019), equation 3 and its generalisation.

    >>> round(float(Competence(start=0.01, full_at=1.0)(25, Clock(100, 10))), 4)
    0.5001
    """

    start: float = 0.01
    power: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "curriculum.pacing", {"power": at_least(1)})

    def share(self, s: Any) -> Any:
        """Map [0, 1] onto [start, 1]."""
        first = self.start**self.power
        return (first + (1 - first) * s) ** (1 / self.power)


@dataclass(frozen=True)
class Geometric(GrowingPacing):
    """``start^(1 - s)``: the share grows by the same factor at every step.

    Args:
        start: Share available at step 0, above 0: from 0 nothing would ever grow.

    Source: CurML (Zhou et al., 2022), ``geom``.

    >>> round(float(Geometric(start=0.01, full_at=1.0)(50, Clock(100, 10))), 4)
    0.1
    """

    start: float = 0.01

    def share(self, s: Any) -> Any:
        """Map [0, 1] onto [start, 1]."""
        return self.start ** (1 - s)


@dataclass(frozen=True)
class Cosine(GrowingPacing):
    """``start + (1 - start) (1 - cos(pi s)) / 2``: slow at both ends.

    >>> round(float(Cosine(start=0.2, full_at=1.0)(50, Clock(100, 10))), 4)
    0.6
    """

    def shape(self, s: Any) -> Any:
        """Map [0, 1] onto [0, 1]."""
        return (1 - s.__array_namespace__().cos(math.pi * s)) / 2


@dataclass(frozen=True)
class Staircase(Pacing):
    """``min(1, start * factor^n)`` after ``n`` intervals of a fixed number of steps or epochs.

    Args:
        start: Share available at first, in (0, 1].
        factor: By what the share is multiplied, above 1.
        every: Steps, or epochs of all examples, between two multiplications.
        epochs: Whether ``every`` counts epochs.

    Source: "fixed exponential pacing" of Hacohen and Weinshall (2019) with 100 steps; with epochs, the adaptive
    curriculum of Kong et al. (2021), start 0.1, factor 2.5, every 15.

    >>> [round(float(Staircase()(step, Clock(1000, 10))), 4) for step in (0, 99, 100, 250, 999)]
    [0.04, 0.04, 0.076, 0.1444, 1.0]
    """

    start: float = 0.04
    factor: float = 1.9
    every: int = 100
    epochs: bool = False

    def __post_init__(self) -> None:
        check_ranges(self, "curriculum.pacing", {"start": ABOVE_0_TO_1, "factor": above(1), "every": at_least(1)})

    def __call__(self, step: Any, clock: Clock, memory: np.ndarray | None = None) -> Any:
        """Give the share in [start, 1]."""
        step = _floating(step)
        numbers = step.__array_namespace__()
        enough = math.ceil(-math.log(self.start) / math.log(self.factor))  # no power can overflow beyond it
        n = numbers.floor(step / (self.every * (clock.steps_per_epoch if self.epochs else 1)))
        return numbers.clip(self.start * self.factor ** numbers.clip(n, 0.0, float(enough)), self.start, 1.0)


@dataclass(frozen=True)
class BabyStep(Pacing):
    """``min(1, start + growth * n)`` after ``n`` intervals of a fraction of the run.

    Args:
        start: Share available at first, in (0, 1].
        growth: What is added each time, above 0.
        every: Fraction of the run between two additions, above 0.

    Source: Spitkovsky et al. (2010); growth 0.1 after each tenth as in CurML.

    >>> [round(float(BabyStep()(step, Clock(1000, 10))), 4) for step in (0, 99, 100, 999)]
    [0.1, 0.1, 0.2, 1.0]
    """

    start: float = 0.1
    growth: float = 0.1
    every: float = 0.1

    def __post_init__(self) -> None:
        check_ranges(self, "curriculum.pacing", {"start": ABOVE_0_TO_1, "growth": POSITIVE, "every": POSITIVE})

    def __call__(self, step: Any, clock: Clock, memory: np.ndarray | None = None) -> Any:
        """Give the share in [start, 1]."""
        step = _floating(step)
        numbers = step.__array_namespace__()
        # Whole steps, so that a step on the edge of an interval lies on the same side of it in float32 and float64.
        n = numbers.floor(step / max(1, round(self.every * clock.total_steps)))
        return numbers.clip(self.start + self.growth * n, self.start, 1.0)


@dataclass(frozen=True)
class OnePass(Pacing):
    """One slice after the other, each alone; then everything.

    Args:
        slices: How many, at least 2.
        full_at: Fraction of the run that they share, above 0.

    Source: Bengio et al. (2009), whose easy examples are left behind.

    >>> pacing, clock = OnePass(slices=4, full_at=0.5), Clock(100, 10)
    >>> [(float(pacing.skipped(step, clock)), float(pacing(step, clock))) for step in (0, 13, 49, 50)]
    [(0.0, 0.25), (0.25, 0.5), (0.75, 1.0), (0.0, 1.0)]
    """

    slices: int = 10
    full_at: float = 0.5

    def __post_init__(self) -> None:
        check_ranges(self, "curriculum.pacing", {"slices": at_least(2), "full_at": POSITIVE})

    def __call__(self, step: Any, clock: Clock, memory: np.ndarray | None = None) -> Any:
        """Give the end of the slice."""
        s, number = self._slice(step, clock)
        return s.__array_namespace__().where(s >= 1, 1.0, (number + 1) / self.slices)

    def skipped(self, step: Any, clock: Clock) -> Any:
        """Give the beginning of the slice."""
        s, number = self._slice(step, clock)
        return s.__array_namespace__().where(s >= 1, 0.0, number / self.slices)

    def _slice(self, step: Any, clock: Clock) -> tuple[Any, Any]:
        full_steps = self.full_at * clock.total_steps
        s = _progress(step, full_steps)
        numbers = s.__array_namespace__()
        # Multiplied first: the quotient of whole numbers is exact on the edge of a slice, in float32, too.
        return s, numbers.clip(numbers.floor(_floating(step) * self.slices / full_steps), 0.0, self.slices - 1.0)


@dataclass(frozen=True)
class Plateau(Pacing):
    """The share is multiplied whenever the validation metric has stopped getting better.

    Args:
        start: Share available at first, in (0, 1].
        factor: By what the share is multiplied, above 1.
        patience: Evaluations in a row without a better value, at least 1.
        min_delta: By how much a value must be better to count, at least 0.

    >>> pacing, clock = Plateau(start=0.5, factor=1.5, patience=2), Clock(100, 10)
    >>> memory, shares = pacing.begin(), []
    >>> for value in (0.1, 0.2, 0.2, 0.1, 0.3, 0.3, 0.3):
    ...     memory = pacing.evaluated(memory, value)
    ...     shares.append(float(pacing(0, clock, memory)))
    >>> shares
    [0.5, 0.5, 0.5, 0.75, 0.75, 0.75, 1.0]
    """

    start: float = 0.2
    factor: float = 1.5
    patience: int = 2
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        ranges = {"start": ABOVE_0_TO_1, "factor": above(1), "patience": at_least(1), "min_delta": at_least(0)}
        check_ranges(self, "curriculum.pacing", ranges)

    def __call__(self, step: Any, clock: Clock, memory: np.ndarray | None = None) -> Any:
        """Give the share in [start, 1]."""
        return 0.0 * _floating(step) + (self.start if memory is None else memory[0])

    def begin(self) -> np.ndarray:
        """Give the share, the best value, and the evaluations since then."""
        return np.array([self.start, -math.inf, 0.0])

    def evaluated(self, memory: np.ndarray, value: float) -> np.ndarray:
        """Take in an evaluation."""
        share, best, since = memory
        since = 0 if value > best + self.min_delta else since + 1
        if since >= self.patience:
            share, since = min(1.0, share * self.factor), 0
        return np.array([share, max(best, value), since])


def _floating(step: Any) -> Any:
    return step if hasattr(step, "__array_namespace__") else np.asarray(step, np.float64)


def _progress(step: Any, full_steps: float) -> Any:
    step = _floating(step)
    return step.__array_namespace__().clip(step / full_steps, 0.0, 1.0)
