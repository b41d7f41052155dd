"""A model as static structure and a nested dict of parameters (device), and back."""

from __future__ import annotations

from typing import Any

import jax
from flax import nnx

from curriculum_rec.errors import OptionError

Tree = Any
"""A pytree of arrays: nested dicts for parameters, optax's own nesting for optimizer state."""


def split_model(model: nnx.Module) -> tuple[nnx.GraphDef, Tree]:
    """Take a model apart into its static structure and a nested dict of parameters.

    Raises:
        OptionError: The model holds state that is no parameter.
    """
    structure, params, *rest = nnx.split(model, nnx.Param, ...)
    if leftover := sorted({type(leaf).__name__ for leaf in jax.tree.leaves(rest, is_leaf=_is_variable)}):
        raise OptionError(
            f"{type(model).__name__} holds state that is no parameter ({', '.join(leftover)}), which the step would "
            "not update: take randomness from the rng argument, and LayerNorm or RMSNorm instead of BatchNorm"
        )
    return structure, nnx.to_pure_dict(params)


def join_model(structure: nnx.GraphDef, params: Tree) -> Any:
    """Undo :func:`split_model`."""
    return nnx.merge(structure, nnx.State(params), nnx.State({}))


def same_shapes(a: Tree, b: Tree) -> bool:
    """Whether two trees have the same structure, and leaves of the same shapes."""
    shapes = [jax.tree.map(lambda leaf: leaf.shape, tree) for tree in (a, b)]
    return bool(shapes[0] == shapes[1])


def _is_variable(leaf: object) -> bool:
    return isinstance(leaf, nnx.Variable)
