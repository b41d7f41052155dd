"""The train state (device): a frozen pytree of parameters, optimizer state and step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Int32

from curriculum_rec.errors import OptionError

Tree = Any
"""A pytree of arrays: nested dicts for parameters, optax's own nesting for optimizer state."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """All that a step changes.

    Attributes:
        params: Nested dict of parameters; what lies under ``blocks`` has a leading layer axis.
        opt_state: The optimizer's state.
        step: int32 scalar, steps trained so far.
        structure: The model without its arrays.
    """

    params: Tree
    opt_state: Tree
    step: Int32[Array, ""]
    structure: nnx.GraphDef = field(metadata={"static": True})

    @classmethod
    def create(cls, model: nnx.Module, optimizer: optax.GradientTransformation) -> TrainState:
        """Take a model apart and initialise the optimizer.

        Raises:
            OptionError: The model holds state that is no parameter, which a step would not carry on.
        """
        structure, params = split_model(model)
        return cls(params, optimizer.init(params), jnp.zeros((), jnp.int32), structure)

    def model(self) -> nnx.Module:
        """Put the model together again."""
        return join_model(self.structure, self.params)


def split_model(model: nnx.Module) -> tuple[nnx.GraphDef, Tree]:
    """Take a model apart into its static structure and a nested dict of parameters.

    Raises:
        OptionError: The model holds state that is no parameter.
    """
    structure, params, rest = nnx.split(model, nnx.Param, ...)
    if leftover := sorted({type(leaf).__name__ for leaf in jax.tree.leaves(rest, is_leaf=_is_variable)}):
        raise OptionError(
            f"{type(model).__name__} holds state that is no parameter ({', '.join(leftover)}), which the step would not "
            "update: take randomness from the rng argument, and LayerNorm or RMSNorm instead of BatchNorm"
        )
    return structure, nnx.to_pure_dict(params)


def join_model(structure: nnx.GraphDef, params: Tree) -> nnx.Module:
    """Undo :func:`split_model`."""
    return nnx.merge(structure, nnx.State(params), nnx.State({}))


def count_parameters(params: Tree) -> int:
    """Count the numbers in a tree of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _is_variable(leaf: object) -> bool:
    return isinstance(leaf, nnx.Variable)
