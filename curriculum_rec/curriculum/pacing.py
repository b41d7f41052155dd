"""Pacing (host and device): which share of the examples is available at a step, a pure function of the step.

Every function takes ``s``, the step as a fraction of the time after which everything is available, clipped to [0, 1];
no exponential can then overflow. They work on Python numbers, numpy and JAX arrays alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from curriculum_rec.errors import OptionError


@runtime_checkable
class Pacing(Protocol):
    """A schedule of the available share."""

    def __call__(self, step: Any, total_steps: int) -> Any:
        """Give the share in [start, 1] at a step of a run of ``total_steps``."""
        ...


@dataclass(frozen=True)
class Constant:
    """Everything from the first step: the pacing of plain training."""

    def __call__(self, step: Any, total_steps: int) -> Any:
        """Give the share."""
        return _progress(step, 1.0) * 0 + 1.0


@dataclass(frozen=True)
class GrowingPacing:
    """A pacing that grows from ``start`` to 1.

    Args:
        start: Share available at step 0, in (0, 1].
        full_at: Fraction of the run after which everything is available, above 0; beyond 1 the run ends with less.
    """

    start: float = 0.2
    full_at: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.start <= 1:
            raise OptionError(f"curriculum.pacing.start={self.start}: it must lie in (0, 1]")
        if not self.full_at > 0:
            raise OptionError(f"curriculum.pacing.full_at={self.full_at}: it must be above 0")

    def __call__(self, step: Any, total_steps: int) -> Any:
        """Give the share in [start, 1]."""
        s = _progress(step, self.full_at * total_steps)
        share = self.start + (1 - self.start) * self.shape(s)
        return s.__array_namespace__().where(s >= 1, 1.0, share)

    def shape(self, s: Any) -> Any:
        """Map [0, 1] onto [0, 1], increasing."""
        raise NotImplementedError


@dataclass(frozen=True)
class Linear(GrowingPacing):
    """``start + (1 - start) s``.

    Source: Wu, Dyer and Neyshabur (2021), family ``linear``; their ``a`` and ``b`` are ``full_at`` and ``start``.

    >>> float(Linear(start=0.5, full_at=0.5)(25, 100))
    0.75
    """

    def shape(self, s: Any) -> Any:
        """Map [0, 1] onto [0, 1]."""
        return s


@dataclass(frozen=True)
class Root(GrowingPacing):
    """``start + (1 - start) s^(1/power)``: fast at first.

    Args:
        power: The root, at least 1; 2 is the square root.

    Source: Wu, Dyer and Neyshabur (2021), family ``root``.

    >>> round(float(Root(start=0.0001, full_at=1.0, power=3)(50, 100)), 3)
    0.794
    """

    power: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.power < math.inf:
            raise OptionError(f"curriculum.pacing.power={self.power}: it must be a number of at least 1")

    def shape(self, s: Any) -> Any:
        """Map [0, 1] onto [0, 1]."""
        return s ** (1 / self.power)


@dataclass(frozen=True)
class Exponential(GrowingPacing):
    """``start + (1 - start) (e^(rate s) - 1) / (e^rate - 1)``: slow at first.

    Args:
        rate: How late the growth comes, above 0 and at most 50.

    Source: Wu, Dyer and Neyshabur (2021), family ``exp``, with rate 10.

    >>> round(float(Exponential(start=0.2, full_at=1.0)(50, 100)), 4)
    0.2054
    """

    rate: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.rate <= 50:
            raise OptionError(f"curriculum.pacing.rate={self.rate}: it must lie in (0, 50]")

    def shape(self, s: Any) -> Any:
        """Map [0, 1] onto [0, 1]."""
        return s.__array_namespace__().expm1(self.rate * s) / math.expm1(self.rate)


def _progress(step: Any, full_steps: float) -> Any:
    step = step if hasattr(step, "__array_namespace__") else np.asarray(step, np.float64)
    return step.__array_namespace__().clip(step / full_steps, 0.0, 1.0)
