"""Freezing (device): parameters that stand still, with all that the optimizer keeps for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from curriculum_rec.growth.moments import owner
from curriculum_rec.growth.tree import path_names
from curriculum_rec.models.structure import Tree

IsFrozen = Callable[[tuple[str, ...]], bool | np.ndarray]
"""Says of a parameter's path whether it is frozen; of one that is stacked by layer, bool ``[depth]`` tells each."""


def with_frozen(tx: optax.GradientTransformation, is_frozen: IsFrozen) -> optax.GradientTransformation:
    """Leave some parameters, and what the optimizer keeps for them, exactly as they are.

    The state is that of ``tx``, so that a stage may freeze or release parameters of a run that goes on: a released one
    continues with the moments and counts that it had. Frozen gradients do not enter the norm that a clipping sees.

    Args:
        tx: Updates all parameters.
        is_frozen: Which stand still.
    """

    def update(updates: Tree, state: Tree, params: Tree | None = None) -> tuple[Tree, Tree]:
        parameters = frozenset(path_names(path) for path, _ in jax.tree_util.tree_leaves_with_path(updates))

        def keep(path: tuple[Any, ...], old: Any, new: Any) -> Any:
            return _where(_mask(is_frozen, owner(path, parameters)), old, new)

        def still(path: tuple[Any, ...], update: Any) -> Any:
            # Minus 0 is the neutral element of addition: adding 0 would turn a parameter of -0 into 0.
            return _where(_mask(is_frozen, path_names(path)), jnp.full_like(update, -0.0), update)

        updates = jax.tree_util.tree_map_with_path(
            lambda path, leaf: _where(_mask(is_frozen, path_names(path)), jnp.zeros_like(leaf), leaf), updates
        )
        updates, new_state = tx.update(updates, state, params)
        return (
            jax.tree_util.tree_map_with_path(still, updates),
            jax.tree_util.tree_map_with_path(keep, state, new_state),
        )

    return optax.GradientTransformation(tx.init, update)


def _mask(is_frozen: IsFrozen, parameter: tuple[str, ...]) -> np.ndarray:
    """Say what is frozen of a parameter; nothing of what belongs to none."""
    return np.asarray(bool(parameter) and is_frozen(parameter))


def _where(frozen: np.ndarray, old: Any, new: Any) -> Any:
    if not frozen.ndim:
        return old if frozen else new
    return jnp.where(frozen.reshape(-1, *(1,) * (new.ndim - 1)), old, new)
