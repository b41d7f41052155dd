"""Penalties of large weights (device): L1 and L2 of matrices and of embeddings, added to the mean loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from curriculum_rec.errors import OptionError
from curriculum_rec.growth.tree import is_stacked, path_names
from curriculum_rec.models.structure import Tree
from curriculum_rec.ranges import at_least, check_ranges


@dataclass(frozen=True)
class Penalty:
    """``l1 sum |w| + l2 / 2 sum w^2`` of matrices, and the same with its own factors of embeddings.

    It is a part of the mean loss: its gradient is clipped and goes through the optimizer's moments like any other,
    unlike ``weight_decay``, which is taken off the weights beside them. Biases, norms and gates are free. Losses in the
    log do not count it. Under ``optimizer=touched_rows`` it concerns those rows of a table that a step looks up.

    Args:
        l1: Factor of the matrices' absolute values, at least 0.
        l2: Factor of half their squares, at least 0.
        embedding_l1: As ``l1``, for embeddings.
        embedding_l2: As ``l2``, for embeddings.

    Source: Tibshirani (1996); the prior of Rendle et al. (2009) is ``embedding_l2``.
    """

    l1: float = 0.0
    l2: float = 1e-5
    embedding_l1: float = 0.0
    embedding_l2: float = 1e-5

    def __post_init__(self) -> None:
        names = ("l1", "l2", "embedding_l1", "embedding_l2")
        check_ranges(self, "optimizer.penalty", dict.fromkeys(names, at_least(0)))
        if not any(getattr(self, name) for name in names):
            raise OptionError("optimizer.penalty: all factors are 0, so it does nothing; raise one, or leave it out")

    def __call__(self) -> optax.GradientTransformation:
        """Make what adds its gradient."""

        def add(updates: Tree, params: Tree) -> Tree:
            def one(path: tuple[Any, ...], gradient: Array, leaf: Array, counts: bool) -> Array:
                if not counts:
                    return gradient
                embedding = path_names(path)[-1] == "embedding"
                l1, l2 = (self.embedding_l1, self.embedding_l2) if embedding else (self.l1, self.l2)
                return gradient + l1 * jnp.sign(leaf) + l2 * leaf

            return jax.tree_util.tree_map_with_path(one, updates, params, matrices(params))

        return optax.stateless(add)


def matrices(params: Tree) -> Tree:
    """Mark what weight decay and penalties concern: matrices and embeddings, a stack of them layer by layer."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: leaf.ndim - is_stacked(path) >= 2, params)
