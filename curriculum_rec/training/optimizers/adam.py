"""Adam whose step counts follow each layer, so that it can grow, and AdamW around it (device)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from curriculum_rec.models.structure import Tree
from curriculum_rec.ranges import BELOW_ONE, POSITIVE, Range
from curriculum_rec.training.optimizers.options import ScheduledOptimizer, zeros_by_layer


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
        return LayerwiseAdamState(zeros_by_layer(params), optax.tree.zeros_like(params), optax.tree.zeros_like(params))

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


@dataclass(frozen=True, kw_only=True)
class AdamW(ScheduledOptimizer):
    """Options of Adam with decoupled weight decay; without any it is Adam.

    Args:
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        eps: Added to the root of the second moment.
        learning_rate, weight_decay, clip_norm, warmup_steps, penalty, schedule, final_fraction, weight_average: As in
            :class:`ScheduledOptimizer`.

    Source: Kingma and Ba (2015); Loshchilov and Hutter (2019).
    """

    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8

    BY_ROW: ClassVar[bool] = True
    RANGES: ClassVar[Mapping[str, Range]] = {
        **ScheduledOptimizer.RANGES,
        "b1": BELOW_ONE,
        "b2": BELOW_ONE,
        "eps": POSITIVE,
    }

    def direction(self) -> optax.GradientTransformation:
        """Make Adam, layer by layer."""
        return scale_by_layerwise_adam(self.b1, self.b2, self.eps)
