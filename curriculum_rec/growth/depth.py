"""Growth in depth (device): an index into the layer axis of parameters and optimizer state alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from curriculum_rec.errors import OptionError
from curriculum_rec.growth.layer_maps import Interleave, LayerMap, copied_again
from curriculum_rec.growth.moments import counts_together, state_kind
from curriculum_rec.growth.new_blocks import Copy, Gated, NewBlocks
from curriculum_rec.growth.tree import is_stacked, path_names
from curriculum_rec.models.residual import branches_of, leaf_roles
from curriculum_rec.models.structure import Tree, split_model
from curriculum_rec.ranges import check_ranges, one_of
from curriculum_rec.streams import device_stream

Moments = Literal["copy", "fresh", "reset_all"]


@dataclass(frozen=True)
class DepthGrowth:
    """Options of growth in depth.

    Every leaf of a new block is copied from its source, and then what the kind of new blocks says is changed; nothing
    else changes. Kinds that preserve the function do so for pre-norm blocks, whose stream passes by their branches.

    Args:
        map: From which old block each new one is copied.
        blocks: What the copy becomes.
        moments: Whether optimizer moments and counts of copied leaves are a ``copy`` of their source's or ``fresh``.
            Leaves that the kind of new blocks sets anew begin afresh in any case; ``reset_all`` begins with a fresh
            optimizer for all parameters, schedules aside.
        allow_lossy: Growth that changes the function is refused unless this is true.
    """

    map: LayerMap = field(default_factory=Interleave)
    blocks: NewBlocks = field(default_factory=Gated)
    moments: Moments = "copy"
    allow_lossy: bool = False

    def __post_init__(self) -> None:
        check_ranges(self, "growth", {"moments": one_of(*get_args(Moments))})

    def check(self, old: nnx.Module, new: nnx.Module) -> None:
        """Refuse what is no growth in depth, or changes the function without leave."""
        before, after = (split_model(model)[1] for model in (old, new))
        depths = require_depths(before, after)
        if depths[1] < depths[0]:
            raise OptionError(
                f"depth {depths[0]} cannot grow to depth {depths[1]}: only growth=shrink takes blocks away"
            )
        self.map(*depths)
        kind, branches = type(self.blocks).__name__, branches_of(old)
        if not branches and not isinstance(self.blocks, Copy):
            raise OptionError(
                f"growth.blocks: {kind} needs to know the parts of a block, and this model's blocks have no BRANCH "
                "that says (models/residual.py): give them one, or choose growth/blocks=copy"
            )
        if others := differing_leaves(before, after):
            raise OptionError(f"growth in depth alone cannot change {', '.join(others[:5])}")
        if not self.allow_lossy and not self.preserves_function(old, new):
            reason = "of post-norm blocks" if self.blocks.preserves and branches else "of this model"
            raise OptionError(
                f"growth.blocks: {kind} changes the function {reason}: choose growth/blocks=gated and pre-norm blocks, "
                "or say growth.allow_lossy=true"
            )

    def preserves_function(self, old: nnx.Module, new: nnx.Module) -> bool:
        """Say whether the grown model computes what the old one did."""
        branches = branches_of(old) + branches_of(new)
        return self.blocks.preserves and bool(branches) and all(branch.norm_position == "pre" for branch in branches)

    def is_new(self, old: int, new: int) -> np.ndarray:
        """Say which blocks of a grown stack are new, bool ``[new]``."""
        return copied_again(self.map(old, new))

    @property
    def resets_optimizer(self) -> bool:
        """Whether the optimizer begins anew."""
        return self.moments == "reset_all"

    def __call__(
        self, params: Tree, opt_state: Tree, *, old: nnx.Module, new: nnx.Module, seed: int = 0
    ) -> tuple[Tree, Tree]:
        """Grow parameters and optimizer state; arguments and errors as in the contract.

        Raises:
            OptionError: ``moments=fresh`` with an optimizer that counts steps for all layers at once.
        """
        self.check(old, new)
        source = self.map(*require_depths(params, split_model(new)[1]))
        is_new, paths = copied_again(source), parameter_paths(params)
        roles = leaf_roles(branches_of(old), tuple(paths))
        counts_by_layer = not counts_together(opt_state)
        if self.moments == "fresh" and not counts_by_layer:
            raise OptionError(
                "growth.moments=fresh needs an optimizer that counts steps by layer (optimizer=adamw), or the new "
                "blocks' first steps would be several times too long: use it, or moments=copy"
            )
        root = jax.random.key(seed)

        def grow_parameter(name: tuple[str, ...], leaf: Array) -> Array:
            copied = leaf[source]
            if name not in roles:
                return copied
            key = device_stream(root, ".".join(name), 0)
            return _choose(is_new, self.blocks(copied, roles[name], key=key), copied)

        def grow_state(path: tuple[Any, ...], leaf: Array) -> Array:
            kind, name = state_kind(path, paths)
            if kind == "whole" or not is_stacked(path):
                return leaf
            if kind == "parameter":
                return grow_parameter(name, leaf)
            # Where one count serves all layers, moments of 0 would make the first steps several times too long.
            is_fresh = self.moments == "fresh" or (roles.get(name) in self.blocks.anew and counts_by_layer)
            copied = leaf[source]
            return _choose(is_new, jnp.zeros_like(copied), copied) if is_fresh else copied

        def grow(path: tuple[Any, ...], leaf: Array) -> Array:
            return grow_parameter(path_names(path), leaf) if is_stacked(path) else leaf

        return (
            jax.tree_util.tree_map_with_path(grow, params),
            jax.tree_util.tree_map_with_path(grow_state, opt_state),
        )


def stacked_depth(params: Tree) -> int | None:
    """Give the number of stacked blocks; None where there are none.

    Raises:
        OptionError: The leaves under ``blocks`` have no common layer axis.
    """
    leaves = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params) if is_stacked(path)]
    if not leaves:
        return None
    if any(leaf.ndim == 0 or leaf.shape[0] != leaves[0].shape[0] for leaf in leaves):
        raise OptionError("the leaves under 'blocks' have no common layer axis: stack the blocks to grow them")
    return int(leaves[0].shape[0])


def require_depths(before: Tree, after: Tree) -> tuple[int, int]:
    """Give the depths of two trees of parameters.

    Raises:
        OptionError: One of them has none.
    """
    depths = stacked_depth(before), stacked_depth(after)
    if depths[0] is None or depths[1] is None:
        raise OptionError("this model has no stacked 'blocks', so it has no depth to change")
    return depths[0], depths[1]


def parameter_paths(params: Tree) -> frozenset[tuple[str, ...]]:
    """Give the paths of all parameters, as plain names."""
    return frozenset(path_names(path) for path, _ in jax.tree_util.tree_leaves_with_path(params))


def differing_leaves(before: Tree, after: Tree) -> list[str]:
    """Name the leaves that differ in more than the layer axis."""

    def shapes(params: Tree) -> set[tuple[str, tuple[int, ...]]]:
        leaves = jax.tree_util.tree_leaves_with_path(params)
        return {(".".join(path_names(path)), leaf.shape[is_stacked(path) :]) for path, leaf in leaves}

    return sorted({name for name, _ in shapes(before) ^ shapes(after)})


def _choose(is_new: np.ndarray, new: Array, old: Array) -> Array:
    return jnp.where(is_new.reshape(-1, *(1,) * (old.ndim - 1)), new, old)
