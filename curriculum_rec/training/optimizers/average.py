"""Averages of weights (device): kept in the optimizer's state, so that they grow and resume with it."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int32

from curriculum_rec.models.structure import Tree


class AverageState(NamedTuple):
    """An average of the weights, and what it is wrapped around.

    ``average`` is the name by which :func:`averaged_parameters`, growth and readers of checkpoints know it.
    """

    average: Tree
    steps: Int32[Array, ""]
    inner: Tree


def with_average(tx: optax.GradientTransformation, decay: float) -> optax.GradientTransformation:
    """Keep an exponentially moving average of the parameters beside them.

    After step n (from 0) the average takes in ``1 - min(decay, (1 + n) / (10 + n))`` of the new parameters, so that the
    initial ones are soon forgotten, however close to 1 the decay is.

    Args:
        tx: Updates the parameters.
        decay: Share of the average that a step keeps, in [0, 1).

    Source: Polyak and Juditsky (1992); the rise of the decay after TensorFlow's ``ExponentialMovingAverage``.
    """

    def init(params: Tree) -> AverageState:
        # A copy: parameters and state are donated together, and must not be the same arrays.
        return AverageState(jax.tree.map(jnp.copy, params), jnp.zeros((), jnp.int32), tx.init(params))

    def update(updates: Tree, state: AverageState, params: Tree | None = None) -> tuple[Tree, AverageState]:
        updates, inner = tx.update(updates, state.inner, params)
        kept = jnp.minimum(decay, (1 + state.steps) / (10 + state.steps))
        new = optax.apply_updates(params, updates)
        average = jax.tree.map(lambda mean, leaf: kept * mean + (1 - kept) * leaf, state.average, new)
        return updates, AverageState(average, state.steps + 1, inner)

    return optax.GradientTransformation(init, update)


def averaged_parameters(opt_state: Tree) -> Tree | None:
    """Find the weights that an optimizer's state averages; None where it averages none."""
    return getattr(opt_state, "average", None)
