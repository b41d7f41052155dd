"""Schedule-free AdamW (device): an average of the weights stands in for a falling learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from curriculum_rec.models.structure import Tree
from curriculum_rec.ranges import BELOW_ONE, INSIDE_ONE, POSITIVE, Range
from curriculum_rec.training.optimizers.adam import scale_by_layerwise_adam
from curriculum_rec.training.optimizers.options import Optimizer


class ScheduleFreeState(NamedTuple):
    """What is averaged, and how much has been.

    Attributes:
        average: The average of ``z``, which is evaluated.
        z: Where steps lead without any averaging; the parameters lie between it and the average.
        weight_sum: The sum of the weights with which ``average`` took ``z`` in.
        highest_rate: The highest learning rate so far.
        schedule: How many steps the learning rate's warm-up has seen.
        inner: State of the direction's transformation.
    """

    average: Tree
    z: Tree
    weight_sum: Float[Array, ""]
    highest_rate: Float[Array, ""]
    schedule: optax.ScaleByScheduleState
    inner: Tree


def schedule_free(
    direction: optax.GradientTransformation, learning_rate: optax.Schedule, *, b1: float
) -> optax.GradientTransformation:
    """Step from ``z``, average ``z`` into ``x``, and take gradients between the two at ``y = (1 - b1) z + b1 x``.

    Args:
        direction: Turns gradients at ``y`` into steps of a learning rate of 1, without momentum of its own.
        learning_rate: A function of the step.
        b1: How close to the average gradients are taken, in (0, 1).

    Source: Defazio et al. (2024), algorithm 1, with weights of the squared highest learning rate so far.
    """

    def init(params: Tree) -> ScheduleFreeState:
        average, z = (jax.tree.map(jnp.copy, params) for _ in range(2))
        begun = optax.ScaleByScheduleState(jnp.zeros((), jnp.int32))
        return ScheduleFreeState(average, z, jnp.zeros(()), jnp.zeros(()), begun, direction.init(params))

    def update(updates: Tree, state: ScheduleFreeState, params: Tree | None = None) -> tuple[Tree, ScheduleFreeState]:
        steps, inner = direction.update(updates, state.inner, params)
        rate = jnp.asarray(learning_rate(state.schedule.count), state.highest_rate.dtype)
        highest = jnp.maximum(state.highest_rate, rate)
        total = state.weight_sum + highest**2
        share = jnp.where(total > 0, highest**2 / jnp.where(total > 0, total, 1), 0)  # the warm-up begins at 0
        z = jax.tree.map(lambda leaf, step: leaf - rate * step, state.z, steps)
        average = jax.tree.map(lambda mean, leaf: (1 - share) * mean + share * leaf, state.average, z)
        moved = jax.tree.map(lambda x, leaf, old: b1 * x + (1 - b1) * leaf - old, average, z, params)
        count = optax.ScaleByScheduleState(optax.safe_increment(state.schedule.count))
        return moved, ScheduleFreeState(average, z, total, highest, count, inner)

    return optax.GradientTransformation(init, update)


@dataclass(frozen=True, kw_only=True)
class ScheduleFree(Optimizer):
    """Options of schedule-free AdamW, which needs to know nothing of the run's end.

    Weights are evaluated and exported as the average of where its steps led. There is neither a schedule nor a moving
    average to choose; a warm-up is recommended.

    Args:
        b1: How close to the average gradients are taken, in (0, 1).
        b2: Decay of the second moment, in [0, 1).
        eps: Added to the root of the second moment.
        learning_rate, weight_decay, clip_norm, warmup_steps, penalty: As in :class:`Optimizer`.

    Source: Defazio et al. (2024).
    """

    learning_rate: float = 2.5e-3
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8

    RANGES: ClassVar[Mapping[str, Range]] = {
        **Optimizer.RANGES,
        "b1": INSIDE_ONE,
        "b2": BELOW_ONE,
        "eps": POSITIVE,
    }

    def __call__(self, total_steps: int, scale: optax.Schedule | None = None) -> optax.GradientTransformation:
        """Build the transformation; arguments as in the contract."""
        rate = self.learning_rate_schedule(total_steps, scale)
        direction = optax.chain(self._clipping(), self.direction(), self._with_weights())
        return schedule_free(direction, rate, b1=self.b1)

    def direction(self) -> optax.GradientTransformation:
        """Make Adam without a first moment, whose place the average takes."""
        return scale_by_layerwise_adam(0.0, self.b2, self.eps)
