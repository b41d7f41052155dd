"""LAMB (device): Adam's direction, as long as a layer's weights are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from curriculum_rec.growth.tree import is_stacked
from curriculum_rec.models.structure import Tree
from curriculum_rec.training.optimizers.adam import AdamW
from curriculum_rec.training.optimizers.penalty import matrices


def scale_by_layerwise_trust_ratio() -> optax.GradientTransformation:
    """Scale the update of every matrix to the Euclidean norm of its weights, layer by layer.

    One norm over a whole stack would mix its layers, so that a grown model's would change what the old ones do. Biases,
    norms and gates are left alone, or a gate that begins at 0 could hardly leave it. A norm of 0 leaves an update as
    it is.

    Source: You et al. (2020), algorithm 2 with the identity for the scaling function.
    """

    def update(updates: Tree, state: optax.EmptyState, params: Tree | None = None) -> tuple[Tree, optax.EmptyState]:
        def scale(path: tuple[Any, ...], update: Array, leaf: Array, is_matrix: bool) -> Array:
            if not is_matrix:
                return update
            axes = tuple(range(int(is_stacked(path)), leaf.ndim))
            weights, step = (jnp.sqrt((x * x).sum(axes, keepdims=True)) for x in (leaf, update))
            defined = (weights > 0) & (step > 0)
            return jnp.where(defined, weights / jnp.where(defined, step, 1), 1) * update

        return jax.tree_util.tree_map_with_path(scale, updates, params, matrices(params)), state

    return optax.GradientTransformation(optax.init_empty_state, update)


@dataclass(frozen=True, kw_only=True)
class LAMB(AdamW):
    """Options of LAMB, for large batches: AdamW's step of each matrix, made as long as the matrix.

    Args:
        learning_rate, weight_decay, clip_norm, warmup_steps, penalty, schedule, final_fraction, weight_average, b1, b2,
            eps: As in :class:`AdamW`; the learning rate is the share of its length by which a matrix moves.

    Source: You et al. (2020).
    """

    learning_rate: float = 1e-2
    eps: float = 1e-6

    BY_ROW: ClassVar[bool] = False  # it takes a norm over a whole matrix

    def _with_weights(self) -> optax.GradientTransformation:
        return optax.chain(super()._with_weights(), scale_by_layerwise_trust_ratio())
