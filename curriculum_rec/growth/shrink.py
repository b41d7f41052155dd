"""Shrinking in depth (device): blocks are taken away, for students that begin with a larger model's weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Int

from curriculum_rec.errors import OptionError
from curriculum_rec.growth.depth import differing_leaves, parameter_paths, require_depths
from curriculum_rec.growth.moments import state_kind
from curriculum_rec.growth.tree import is_stacked, path_names
from curriculum_rec.models.residual import branches_of, leaf_roles
from curriculum_rec.models.structure import Tree, split_model
from curriculum_rec.ranges import check_ranges, one_of

By = Literal["gate", "depth"]


@dataclass(frozen=True)
class Shrink:
    """Options of shrinking in depth; with it, a stage's depth may fall, and may not rise.

    The function changes, by how much depends on the blocks; a stage should train long enough to mend it.

    Args:
        by: ``gate`` takes the blocks away whose gates are smallest, by the mean of their absolute values, of equal ones
            the lower first; ``depth`` takes the deepest, those that progressive dropping drops most often.
    """

    by: By = "gate"
    shrinks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_ranges(self, "growth", {"by": one_of(*get_args(By))})

    def check(self, old: nnx.Module, new: nnx.Module) -> None:
        """Refuse what is no shrinking in depth."""
        before, after = (split_model(model)[1] for model in (old, new))
        depths = require_depths(before, after)
        if depths[1] >= depths[0]:
            raise OptionError(f"growth=shrink cannot lead from depth {depths[0]} to {depths[1]}: it takes blocks away")
        if self.by == "gate" and not branches_of(old):
            raise OptionError(
                "growth.by=gate needs to know a block's gates, and this model's blocks have no BRANCH that says "
                "(models/residual.py): give them one, or say growth.by=depth"
            )
        if others := differing_leaves(before, after):
            raise OptionError(f"shrinking in depth alone cannot change {', '.join(others[:5])}")

    def preserves_function(self, old: nnx.Module, new: nnx.Module) -> bool:
        """Say whether the smaller model computes what the old one did; it never does."""
        del old, new
        return False

    def __call__(
        self, params: Tree, opt_state: Tree, *, old: nnx.Module, new: nnx.Module, seed: int = 0
    ) -> tuple[Tree, Tree]:
        """Shrink parameters and optimizer state; arguments and errors as in the contract."""
        del seed
        self.check(old, new)
        kept, paths = self._kept(params, old, split_model(new)[1]), parameter_paths(params)

        def shrink(path: tuple[Any, ...], leaf: Array) -> Array:
            return leaf[kept] if is_stacked(path) else leaf

        def shrink_state(path: tuple[Any, ...], leaf: Array) -> Array:
            return leaf if state_kind(path, paths)[0] == "whole" else shrink(path, leaf)

        return (
            jax.tree_util.tree_map_with_path(shrink, params),
            jax.tree_util.tree_map_with_path(shrink_state, opt_state),
        )

    def _kept(self, params: Tree, old: nnx.Module, after: Tree) -> Int[Array, " new"]:
        """Give the blocks that stay, in order."""
        before, depth = require_depths(params, after)
        if self.by == "depth":
            return jnp.arange(depth)
        leaves = {path_names(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
        roles = leaf_roles(branches_of(old), tuple(leaves))
        gates = [jnp.abs(leaves[name]).reshape(before, -1) for name, role in roles.items() if role == "gate"]
        return jnp.sort(jnp.argsort(jnp.concatenate(gates, axis=1).mean(axis=1))[before - depth :])
