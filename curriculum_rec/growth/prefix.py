"""Growth from one prefix of a deep model to the next (device): blocks on top and a head, both as they begin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from curriculum_rec.errors import OptionError
from curriculum_rec.growth.depth import DepthGrowth, Moments, parameter_paths
from curriculum_rec.growth.layer_maps import Gradual
from curriculum_rec.growth.moments import counts_together, state_kind
from curriculum_rec.growth.new_blocks import Fresh
from curriculum_rec.growth.tree import path_names
from curriculum_rec.models.structure import Tree, split_model
from curriculum_rec.ranges import check_ranges, one_of
from curriculum_rec.streams import device_stream


@dataclass(frozen=True)
class PrefixGrowth:
    """Options of growth from a prefix of the depth to a longer one.

    The trained blocks stay, the next ones join them on top as a model's blocks begin, and the prefix's own head, all
    that stands above the blocks (``ABOVE_BLOCKS`` of the model: the last norm, of classifiers the output layer too),
    is thrown away for one that begins anew. In the last stage that head is the model's own.

    Args:
        moments: As in growth in depth; those of a new head begin afresh where the optimizer counts steps by parameter.
        allow_lossy: Must be true, since the grown model computes another function than the old one.

    Source: ProgFed (Wang et al., 2022), section 3, where the parts of the model and their local heads are of the same
    kind; here without the federation.
    """

    moments: Moments = "copy"
    allow_lossy: bool = False

    def __post_init__(self) -> None:
        check_ranges(self, "growth", {"moments": one_of(*get_args(Moments))})

    @property
    def resets_optimizer(self) -> bool:
        """Whether the optimizer begins anew."""
        return self.moments == "reset_all"

    def check(self, old: nnx.Module, new: nnx.Module) -> None:
        """Refuse what is no longer prefix of the same model."""
        self._depth.check(old, new)
        head_paths(new)
        if not self.allow_lossy:
            raise OptionError(
                "growth=prefix begins blocks and head anew, which changes what the model computes: allow it by "
                "growth.allow_lossy=true, or choose another"
            )

    def preserves_function(self, old: nnx.Module, new: nnx.Module) -> bool:
        """Say that the grown model does not compute what the old one did."""
        del old, new
        return False

    def is_new(self, old: int, new: int) -> np.ndarray:
        """Say which blocks of a grown stack are new, bool ``[new]``: those on top."""
        return self._depth.is_new(old, new)

    def __call__(
        self, params: Tree, opt_state: Tree, *, old: nnx.Module, new: nnx.Module, seed: int = 0
    ) -> tuple[Tree, Tree]:
        """Grow parameters and optimizer state; arguments and errors as in the contract."""
        self.check(old, new)
        params, opt_state = self._depth(params, opt_state, old=old, new=new, seed=seed)
        head, paths = head_paths(new), parameter_paths(params)
        root, counts_apart = jax.random.key(seed), not counts_together(opt_state)

        def begin(name: tuple[str, ...], leaf: Array) -> Array:
            return initial_value(name, leaf, key=device_stream(root, f"head {'.'.join(name)}", leaf.size))

        def grow(path: tuple[Any, ...], leaf: Array) -> Array:
            name = path_names(path)
            return begin(name, leaf) if name in head else leaf

        def grow_state(path: tuple[Any, ...], leaf: Array) -> Array:
            kind, name = state_kind(path, paths)
            if kind == "whole" or name not in head:
                return leaf
            if kind == "parameter":
                return begin(name, leaf)
            return jnp.zeros_like(leaf) if counts_apart else leaf

        return (
            jax.tree_util.tree_map_with_path(grow, params),
            jax.tree_util.tree_map_with_path(grow_state, opt_state),
        )

    @property
    def _depth(self) -> DepthGrowth:
        return DepthGrowth(Gradual(), Fresh(), self.moments, allow_lossy=True)


def head_paths(model: nnx.Module) -> frozenset[tuple[str, ...]]:
    """Give the paths of the parameters that stand above a model's blocks.

    Raises:
        OptionError: The model does not say which these are.
    """
    names = getattr(model, "ABOVE_BLOCKS", ())
    paths = frozenset(path for path in parameter_paths(split_model(model)[1]) if path[0] in names)
    if not paths:
        raise OptionError(
            f"growth=prefix needs to know what stands above the blocks, and {type(model).__name__} has no ABOVE_BLOCKS "
            "that says: give it one, or choose growth=gradual"
        )
    return paths


def initial_value(name: tuple[str, ...], leaf: Array, *, key: Array) -> Array:
    """Begin a parameter of a norm or a linear layer as Flax does.

    Raises:
        OptionError: It is neither's.

    >>> initial_value(("norm", "scale"), jnp.zeros(2), key=jax.random.key(0)).tolist()
    [1.0, 1.0]
    """
    if name[-1] == "kernel":
        return jax.nn.initializers.lecun_normal()(key, leaf.shape, leaf.dtype)
    if name[-1] not in ("scale", "bias"):
        raise OptionError(
            f"growth=prefix does not know how '{'.'.join(name)}' begins: it is no norm's or linear layer's"
        )
    return jnp.ones_like(leaf) if name[-1] == "scale" else jnp.zeros_like(leaf)
