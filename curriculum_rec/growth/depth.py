"""Growth in depth (device): an index into the layer axis of parameters and optimizer state alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from curriculum_rec.errors import OptionError
from curriculum_rec.growth.tree import is_stacked, path_names
from curriculum_rec.models.structure import Tree, split_model

GATE = "gate"
MapName = Literal["stack", "interleave"]


@dataclass(frozen=True)
class DepthGrowth:
    """Options of growth in depth.

    With ``gate=0`` the new blocks' residual gates begin at 0: the grown model computes the same function, for pre-norm
    blocks, and the gates learn how much of the copies to let in. With ``gate=1`` the copies act at once, and the
    function changes.

    Args:
        map: ``stack`` repeats the whole stack (0, 1, 0, 1), ``interleave`` repeats each block (0, 0, 1, 1).
        gate: The new blocks' gates: 0, or 1 for a plain copy of the source's gate.
        moments: Whether optimizer moments and counts of new blocks are a ``copy`` of their source's or ``fresh``.

    Source: stacking after Gong et al. (2019), interleaving after StackRec (Wang et al., 2021), zero gates after ReZero
    (Bachlechner et al., 2021).
    """

    map: MapName = "interleave"
    gate: Literal[0, 1] = 0
    moments: Literal["copy", "fresh"] = "copy"

    def __post_init__(self) -> None:
        for name, allowed in (("map", MapName), ("gate", Literal[0, 1]), ("moments", Literal["copy", "fresh"])):
            if getattr(self, name) not in get_args(allowed):
                choices = ", ".join(map(str, get_args(allowed)))
                raise OptionError(f"growth.{name}={getattr(self, name)}: it must be one of {choices}")

    def check(self, old: nnx.Module, new: nnx.Module) -> None:
        """Refuse what is no growth in depth."""
        before, after = (split_model(model)[1] for model in (old, new))
        depths = stacked_depth(before), stacked_depth(after)
        if depths[0] is None or depths[1] is None:
            raise OptionError("this model has no stacked 'blocks', so it has no depth to grow")
        layer_map(self.map, depths[0], depths[1])
        if self.gate == 0 and not _has_gates(before):
            raise OptionError("growth.gate=0 needs blocks with residual gates, and this model has none: use gate=1")
        if others := _differing(before, after):
            raise OptionError(f"growth in depth alone cannot change {', '.join(others[:5])}")

    def preserves_function(self, old: nnx.Module, new: nnx.Module) -> bool:
        """Say whether the grown model computes what the old one did."""
        del old, new
        return self.gate == 0

    def __call__(
        self, params: Tree, opt_state: Tree, *, old: nnx.Module, new: nnx.Module, seed: int = 0
    ) -> tuple[Tree, Tree]:
        """Grow parameters and optimizer state; arguments and errors as in the contract.

        Raises:
            OptionError: ``moments=fresh`` with an optimizer that counts steps for all layers at once.
        """
        del seed
        self.check(old, new)
        depths = stacked_depth(params), stacked_depth(split_model(new)[1])
        index, is_new = layer_map(self.map, depths[0] or 0, depths[1] or 0)
        if self.moments == "fresh":
            _require_layer_counts(opt_state)

        def grow_parameter(path: tuple[Any, ...], leaf: Array) -> Array:
            if not is_stacked(path):
                return leaf
            grown = leaf[index]
            return _zero_new(grown, is_new) if self.gate == 0 and path_names(path)[-1] == GATE else grown

        counts_by_layer = _has_layer_counts(opt_state)

        def grow_optimizer(path: tuple[Any, ...], leaf: Array) -> Array:
            if not is_stacked(path):
                return leaf
            # A gate set to 0 is a new parameter, whatever happens to the weights behind it.
            new_gate = self.gate == 0 and path_names(path)[-1] == GATE and counts_by_layer
            grown = leaf[index]
            return _zero_new(grown, is_new) if self.moments == "fresh" or new_gate else grown

        return (
            jax.tree_util.tree_map_with_path(grow_parameter, params),
            jax.tree_util.tree_map_with_path(grow_optimizer, opt_state),
        )


def layer_map(kind: MapName, old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Say from which old block each new one is copied, and which of them are new.

    Args:
        kind: The map.
        old: Depth before.
        new: Depth after, at least ``old``.

    Returns:
        int ``[new]`` source of each block, and bool ``[new]``, True but for the first copy of each source.

    Raises:
        OptionError: ``new`` is below ``old``.

    >>> layer_map("stack", 3, 6)[0].tolist(), layer_map("interleave", 3, 6)[0].tolist()
    ([0, 1, 2, 0, 1, 2], [0, 0, 1, 1, 2, 2])
    >>> layer_map("interleave", 2, 4)[1].tolist()
    [False, True, False, True]
    """
    if new < old:
        raise OptionError(f"a model of depth {old} cannot grow to depth {new}: a stage's depth never falls")
    index = np.arange(new) % old if kind == "stack" else np.arange(new) * old // new
    is_new = np.ones(new, bool)
    is_new[np.unique(index, return_index=True)[1]] = False
    return index, is_new


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


def _differing(before: Tree, after: Tree) -> list[str]:
    """Name the leaves that differ in more than the layer axis."""

    def shapes(params: Tree) -> set[tuple[str, tuple[int, ...]]]:
        leaves = jax.tree_util.tree_leaves_with_path(params)
        return {(".".join(path_names(path)), leaf.shape[is_stacked(path) :]) for path, leaf in leaves}

    return sorted({name for name, _ in shapes(before) ^ shapes(after)})


def _has_gates(params: Tree) -> bool:
    paths = (path for path, _ in jax.tree_util.tree_leaves_with_path(params))
    return any(is_stacked(path) and path_names(path)[-1] == GATE for path in paths)


def _zero_new(leaf: Array, is_new: np.ndarray) -> Array:
    return jnp.where(is_new.reshape(-1, *(1,) * (leaf.ndim - 1)), jnp.zeros((), leaf.dtype), leaf)


def _has_layer_counts(opt_state: Tree) -> bool:
    leaves = jax.tree_util.tree_leaves_with_path(opt_state)
    return any(is_stacked(path) and jnp.issubdtype(leaf.dtype, jnp.integer) for path, leaf in leaves)


def _require_layer_counts(opt_state: Tree) -> None:
    if not _has_layer_counts(opt_state):
        raise OptionError(
            "growth.moments=fresh needs an optimizer that counts steps by layer (optimizer=adamw), or the new blocks' "
            "first steps would be several times too long: use it, or moments=copy"
        )
