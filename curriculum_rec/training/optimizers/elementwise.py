"""Optimizers that treat every number by itself and need no counts (device): SGD, Adagrad, Lion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import optax

from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import BELOW_ONE, POSITIVE, Range
from curriculum_rec.training.optimizers.options import ScheduledOptimizer


@dataclass(frozen=True, kw_only=True)
class SGD(ScheduledOptimizer):
    """Options of gradient descent with momentum.

    Args:
        momentum: Share of the step before that a step keeps, in [0, 1); 0 is plain gradient descent.
        nesterov: Whether the momentum looks ahead.
        learning_rate, weight_decay, clip_norm, warmup_steps, schedule, final_fraction, weight_average: As in
            :class:`ScheduledOptimizer`.

    Source: Sutskever et al. (2013).
    """

    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False

    RANGES: ClassVar[Mapping[str, Range]] = {**ScheduledOptimizer.RANGES, "momentum": BELOW_ONE}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and not self.momentum:
            raise OptionError("optimizer.nesterov=true has no effect with momentum=0: leave it out, or set momentum")

    def direction(self) -> optax.GradientTransformation:
        """Accumulate gradients."""
        return optax.trace(self.momentum, nesterov=self.nesterov) if self.momentum else optax.identity()


@dataclass(frozen=True, kw_only=True)
class Adagrad(ScheduledOptimizer):
    """Options of Adagrad, whose steps shrink with all squared gradients so far: seldom seen items keep long ones.

    Args:
        eps: Added to the sum of squares, under the root.
        learning_rate, weight_decay, clip_norm, warmup_steps, schedule, final_fraction, weight_average: As in
            :class:`ScheduledOptimizer`.

    Source: Duchi et al. (2011), the diagonal form. The sum begins at 0, for a grown model's new parameters, too.
    """

    learning_rate: float = 0.1
    eps: float = 1e-7

    RANGES: ClassVar[Mapping[str, Range]] = {**ScheduledOptimizer.RANGES, "eps": POSITIVE}

    def direction(self) -> optax.GradientTransformation:
        """Divide by the root of the sum of squares."""
        return optax.scale_by_rss(initial_accumulator_value=0.0, eps=self.eps)


@dataclass(frozen=True, kw_only=True)
class Lion(ScheduledOptimizer):
    """Options of Lion, whose steps are signs; its learning rate is 3 to 10 times lower than AdamW's.

    Args:
        b1: Share of the momentum in a step, in [0, 1).
        b2: Decay of the momentum, in [0, 1).
        learning_rate, weight_decay, clip_norm, warmup_steps, schedule, final_fraction, weight_average: As in
            :class:`ScheduledOptimizer`.

    Source: Chen et al. (2023), algorithm 2.
    """

    learning_rate: float = 3e-4
    b1: float = 0.9
    b2: float = 0.99

    RANGES: ClassVar[Mapping[str, Range]] = {**ScheduledOptimizer.RANGES, "b1": BELOW_ONE, "b2": BELOW_ONE}

    def direction(self) -> optax.GradientTransformation:
        """Take the sign between the momentum and the gradient."""
        return optax.scale_by_lion(self.b1, self.b2)
