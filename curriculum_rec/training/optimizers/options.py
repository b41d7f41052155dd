"""What all optimizers share (device): the learning rate, its schedule, clipping, weight decay, averaging."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import jax
import jax.numpy as jnp
import optax

from curriculum_rec.errors import OptionError
from curriculum_rec.growth.tree import is_stacked
from curriculum_rec.models.structure import Tree
from curriculum_rec.ranges import BELOW_ONE, POSITIVE, SHARE, Range, at_least, check_ranges, one_of
from curriculum_rec.training.optimizers.average import with_average
from curriculum_rec.training.optimizers.penalty import Penalty, matrices

ScheduleName = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True, kw_only=True)
class Optimizer(ABC):
    """Options of every optimizer.

    Args:
        learning_rate: The highest learning rate, above 0.
        weight_decay: Decoupled decay of matrices and embeddings (not of biases, norms and gates), at least 0; a step
            takes off this times the learning rate.
        clip_norm: Longest gradient, by its Euclidean norm; None leaves gradients as they are.
        warmup_steps: Steps of linear growth from 0 to ``learning_rate`` at the beginning of the run.
        penalty: What is added to the mean loss for large weights; None for nothing.

    Source: decoupled decay after Loshchilov and Hutter (2019).
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    clip_norm: float | None = None
    warmup_steps: int = 0
    penalty: Penalty | None = None

    BY_ROW: ClassVar[bool] = False
    """Whether every row of a table is treated by itself, so that some can be updated without the others."""

    RANGES: ClassVar[Mapping[str, Range]] = {
        "learning_rate": POSITIVE,
        "weight_decay": at_least(0),
        "clip_norm": POSITIVE.or_null(),
        "warmup_steps": at_least(0),
    }

    def __post_init__(self) -> None:
        check_ranges(self, "optimizer", self.RANGES)

    @abstractmethod
    def __call__(self, total_steps: int, scale: optax.Schedule | None = None) -> optax.GradientTransformation:
        """Build the transformation; arguments as in the contract."""

    @abstractmethod
    def direction(self) -> optax.GradientTransformation:
        """Make what turns clipped gradients into steps of a learning rate of 1."""

    def learning_rate_schedule(self, total_steps: int, scale: optax.Schedule | None = None) -> optax.Schedule:
        """Give the learning rate as a pure function of the step; arguments as in the contract."""
        schedule = self._after_warmup(max(total_steps - self.warmup_steps, 1))
        if self.warmup_steps:
            warmup = optax.linear_schedule(0.0, self.learning_rate, self.warmup_steps)
            schedule = optax.join_schedules([warmup, schedule], [self.warmup_steps])
        return schedule if scale is None else lambda step: schedule(step) * scale(step)

    def _after_warmup(self, steps: int) -> optax.Schedule:
        del steps
        return optax.constant_schedule(self.learning_rate)

    def _clipping(self) -> optax.GradientTransformation:
        """Make what adds the penalty's gradient and then shortens what is too long."""
        clip = optax.identity() if self.clip_norm is None else optax.clip_by_global_norm(self.clip_norm)
        return clip if self.penalty is None else optax.chain(self.penalty(), clip)

    def _with_weights(self) -> optax.GradientTransformation:
        """Make what adds the weights' own part to a direction."""
        return optax.add_decayed_weights(self.weight_decay, mask=matrices) if self.weight_decay else optax.identity()


@dataclass(frozen=True, kw_only=True)
class ScheduledOptimizer(Optimizer):
    """Options of an optimizer whose learning rate follows a schedule over the whole run.

    Args:
        schedule: What follows the warm-up: ``constant``, or a ``linear`` or ``cosine`` fall to ``final_fraction`` at
            the run's end.
        final_fraction: Share of ``learning_rate`` at the end of a fall, in [0, 1].
        weight_average: Decay of a moving average of the weights, in [0, 1), .999 being usual. The average is what is
            evaluated, exported and taken over by other runs; training goes on from the weights themselves. None keeps
            none.
    """

    schedule: ScheduleName = "constant"
    final_fraction: float = 0.0
    weight_average: float | None = None

    RANGES: ClassVar[Mapping[str, Range]] = {
        **Optimizer.RANGES,
        "schedule": one_of(*get_args(ScheduleName)),
        "final_fraction": SHARE,
        "weight_average": BELOW_ONE.or_null(),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.schedule == "constant" and self.final_fraction != 0:
            raise OptionError("optimizer.final_fraction has no effect with schedule=constant: leave it out")

    def __call__(self, total_steps: int, scale: optax.Schedule | None = None) -> optax.GradientTransformation:
        """Build the transformation; arguments as in the contract."""
        rate = self.learning_rate_schedule(total_steps, scale)
        tx = optax.chain(self._clipping(), self.direction(), self._with_weights(), optax.scale_by_learning_rate(rate))
        return tx if self.weight_average is None else with_average(tx, self.weight_average)

    def _after_warmup(self, steps: int) -> optax.Schedule:
        return {
            "constant": optax.constant_schedule(self.learning_rate),
            "linear": optax.linear_schedule(self.learning_rate, self.learning_rate * self.final_fraction, steps),
            "cosine": optax.cosine_decay_schedule(self.learning_rate, steps, self.final_fraction),
        }[self.schedule]


def zeros_by_layer(params: Tree) -> Tree:
    """Give an int32 0 for every parameter, of a stack of layers one for each, ``[depth]``.

    >>> import jax.numpy as jnp
    >>> zeros_by_layer({"blocks": {"bias": jnp.ones((2, 3))}, "bias": jnp.ones(3)})
    {'bias': Array(0, dtype=int32), 'blocks': {'bias': Array([0, 0], dtype=int32)}}
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.zeros(leaf.shape[:1] if is_stacked(path) else (), jnp.int32), params
    )
