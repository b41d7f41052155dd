"""The optimizer (device): Adam whose step counts follow each layer, so that it can grow; AdamW options around it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from curriculum_rec.errors import OptionError
from curriculum_rec.growth.tree import is_stacked
from curriculum_rec.models.structure import Tree

ScheduleName = Literal["constant", "linear", "cosine"]


class LayerwiseAdamState(NamedTuple):
    """Moments like the parameters; counts int32, ``[depth]`` for stacked leaves and scalar for the others."""

    count: Tree
    mu: Tree
    nu: Tree


def scale_by_layerwise_adam(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """Adam with a step count for every layer of every leaf.

    Where all counts agree this is ``optax.scale_by_adam``. A new layer's moments begin at 0 with a count of 0; under
    one global count its first steps would be up to 6.6 times too long.

    Args:
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        eps: Added to the root of the second moment.

    Source: Kingma and Ba (2015), algorithm 1, applied a layer at a time.
    """

    def init(params: Tree) -> LayerwiseAdamState:
        count = jax.tree_util.tree_map_with_path(
            lambda path, leaf: jnp.zeros(leaf.shape[:1] if is_stacked(path) else (), jnp.int32), params
        )
        return LayerwiseAdamState(count, optax.tree.zeros_like(params), optax.tree.zeros_like(params))

    def update(updates: Tree, state: LayerwiseAdamState, params: Tree | None = None) -> tuple[Tree, LayerwiseAdamState]:
        del params
        count = jax.tree.map(lambda n: n + 1, state.count)
        mu = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mu, updates)
        nu = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state.nu, updates)

        def direction(m: Array, v: Array, n: Array) -> Array:
            n = n.reshape(n.shape + (1,) * (m.ndim - n.ndim)).astype(m.dtype)
            return (m / (1 - b1**n)) / (jnp.sqrt(v / (1 - b2**n)) + eps)

        return jax.tree.map(direction, mu, nu, count), LayerwiseAdamState(count, mu, nu)

    return optax.GradientTransformation(init, update)


@dataclass(frozen=True)
class AdamW:
    """Options of Adam with decoupled weight decay, gradient clipping and a learning-rate schedule over the whole run.

    Args:
        learning_rate: The highest learning rate, above 0.
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        eps: Added to the root of the second moment.
        weight_decay: Decoupled decay of matrices and embeddings (not of biases, norms and gates), at least 0.
        clip_norm: Longest gradient, by its Euclidean norm; None leaves gradients as they are.
        warmup_steps: Steps of linear growth from 0 to ``learning_rate``.
        schedule: What follows: ``constant``, or a ``linear`` or ``cosine`` fall to ``final_fraction`` at the run's end.
        final_fraction: Share of ``learning_rate`` at the end of a fall, in [0, 1].

    Source: Loshchilov and Hutter (2019).
    """

    learning_rate: float = 1e-3
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float | None = None
    warmup_steps: int = 0
    schedule: ScheduleName = "constant"
    final_fraction: float = 0.0

    def __post_init__(self) -> None:
        for name, good, allowed in (
            ("learning_rate", 0 < self.learning_rate < math.inf, "a number above 0"),
            ("b1", 0 <= self.b1 < 1, "in [0, 1)"),
            ("b2", 0 <= self.b2 < 1, "in [0, 1)"),
            ("eps", 0 < self.eps < math.inf, "a number above 0"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "a number of at least 0"),
            ("clip_norm", self.clip_norm is None or self.clip_norm > 0, "above 0, or null"),
            ("warmup_steps", self.warmup_steps >= 0, "at least 0"),
            ("final_fraction", 0 <= self.final_fraction <= 1, "in [0, 1]"),
        ):
            if not good:
                raise OptionError(f"optimizer.{name}={getattr(self, name)}: it must be {allowed}")
        if self.schedule not in get_args(ScheduleName):
            raise OptionError(
                f"optimizer.schedule={self.schedule}: it must be one of {', '.join(get_args(ScheduleName))}"
            )
        if self.schedule == "constant" and self.final_fraction != 0:
            raise OptionError("optimizer.final_fraction has no effect with schedule=constant: leave it out")

    def __call__(self, total_steps: int, scale: optax.Schedule | None = None) -> optax.GradientTransformation:
        """Build the transformation for a run of ``total_steps``.

        Args:
            total_steps: The length of the run.
            scale: What the learning rate is multiplied by besides; None is 1 throughout.
        """
        return optax.chain(
            optax.identity() if self.clip_norm is None else optax.clip_by_global_norm(self.clip_norm),
            scale_by_layerwise_adam(self.b1, self.b2, self.eps),
            optax.add_decayed_weights(self.weight_decay, mask=_is_decayed) if self.weight_decay else optax.identity(),
            optax.scale_by_learning_rate(self.learning_rate_schedule(total_steps, scale)),
        )

    def learning_rate_schedule(self, total_steps: int, scale: optax.Schedule | None = None) -> optax.Schedule:
        """Give the learning rate as a pure function of the step; arguments as in the call."""
        schedule = self._schedule(total_steps)
        return schedule if scale is None else lambda step: schedule(step) * scale(step)

    def _schedule(self, total_steps: int) -> optax.Schedule:
        fall = max(total_steps - self.warmup_steps, 1)
        after = {
            "constant": optax.constant_schedule(self.learning_rate),
            "linear": optax.linear_schedule(self.learning_rate, self.learning_rate * self.final_fraction, fall),
            "cosine": optax.cosine_decay_schedule(self.learning_rate, fall, self.final_fraction),
        }[self.schedule]
        if not self.warmup_steps:
            return after
        warmup = optax.linear_schedule(0.0, self.learning_rate, self.warmup_steps)
        return optax.join_schedules([warmup, after], [self.warmup_steps])


def _is_decayed(params: Tree) -> Tree:
    return jax.tree_util.tree_map_with_path(lambda path, leaf: leaf.ndim - is_stacked(path) >= 2, params)
