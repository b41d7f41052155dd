"""Growth in width (device): parameters and optimizer state of a model whose axes say what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from curriculum_rec.errors import OptionError
from curriculum_rec.growth.leaves import Along, along, grow_average, grow_moment, grow_value
from curriculum_rec.growth.moments import state_kind
from curriculum_rec.growth.tree import is_stacked, path_names
from curriculum_rec.growth.units import UnitMap
from curriculum_rec.models.axes import LAYER, Axes, LeafAxis, axis_sizes, flat_axes
from curriculum_rec.models.contract import HasAxes
from curriculum_rec.models.structure import Tree, split_model
from curriculum_rec.streams import device_stream

Moments = Literal["copy", "fresh", "reset_all"]
"""What becomes of an optimizer's averages: they follow the parameters exactly, those of parameters that change their
shape begin afresh, or all do."""

Path = tuple[str, ...]


def axes_of(model: nnx.Module) -> Axes:
    """Ask a model for the meaning of its axes.

    Raises:
        OptionError: It does not say, or what it says does not fit its parameters.
    """
    name = type(model).__name__
    if not isinstance(model, HasAxes):
        raise OptionError(
            f"{name} does not say what the axes of its parameters mean, so it cannot grow in width: give it a method "
            "axes()"
        )
    axes = model.axes()
    params = dict(_by_path(split_model(model)[1]))
    named = flat_axes(axes)
    for path in sorted(params.keys() | named.keys()):
        sizes = tuple(axis.size for axis in named[path]) if path in named else None
        shape = params[path].shape if path in params else None
        if sizes != shape:
            raise OptionError(f"{name}.axes() gives sizes {sizes} for '{'.'.join(path)}', whose shape is {shape}")
    return axes


def growing_labels(old: nnx.Module, new: nnx.Module) -> dict[str, tuple[int, int]]:
    """Give the numbers of units before and after, for those units of which there are more or fewer.

    Raises:
        OptionError: The models differ in more than the numbers of units.
    """
    before, after = axes_of(old), axes_of(new)
    meanings = _meanings(before), _meanings(after)
    if meanings[0] != meanings[1]:
        paths = sorted(meanings[0].keys() | meanings[1].keys())
        what = [".".join(path) for path in paths if meanings[0].get(path) != meanings[1].get(path)]
        raise OptionError(
            f"growth changes sizes alone, and these parameters of the new {type(new).__name__} are others: "
            f"{', '.join(what[:5])}"
        )
    sizes = axis_sizes(before), axis_sizes(after)
    return {label: (n, sizes[1][label]) for label, n in sizes[0].items() if n != sizes[1][label]}


@dataclass(frozen=True)
class Widening:
    """A growth in width that has been decided.

    Attributes:
        axes: What the axes of the old parameters mean.
        maps: Where units come from, by label.
        seed: Decides what is random.
    """

    axes: Axes
    maps: Mapping[str, UnitMap]
    seed: int

    def __call__(self, params: Tree, opt_state: Tree, *, moments: Moments) -> tuple[Tree, Tree]:
        """Grow parameters and an optimizer's state, as one program.

        Args:
            params: The parameters.
            opt_state: The optimizer's state.
            moments: What becomes of averages of gradients.

        Raises:
            OptionError: Averages cannot begin afresh beside a count of steps that goes on.
        """

        @jax.jit
        def grow(params: Tree, opt_state: Tree) -> tuple[Tree, Tree]:
            grown = self.parameters(params)
            return grown, self.optimizer_state(opt_state, grown, moments=moments)

        grown: tuple[Tree, Tree] = grow(params, opt_state)
        return grown

    def parameters(self, params: Tree) -> Tree:
        """Grow parameters."""
        key = jax.random.key(self.seed)

        def grow(path: tuple[Any, ...], leaf: Array) -> Array:
            names = path_names(path)
            if not self._changes(names):
                return leaf
            own = device_stream(key, f"growth of {'.'.join(names)}", leaf.size)
            return grow_value(leaf, self._along[names], key=own, stacked=is_stacked(path))

        return jax.tree_util.tree_map_with_path(grow, params)

    def optimizer_state(self, opt_state: Tree, grown: Tree, *, moments: Moments) -> Tree:
        """Grow an optimizer's state; ``grown`` are the parameters after growth."""
        parameters = dict(_by_path(grown))
        paths = frozenset(parameters)
        if moments != "copy":
            require_own_counts(opt_state, paths)

        def grow(path: tuple[Any, ...], leaf: Array) -> Array:
            kind, names = state_kind(path, paths)
            afresh = moments == "reset_all" or (moments == "fresh" and self._changes(names))
            if kind == "whole":
                return leaf
            if kind == "parameter":
                return grow_average(leaf, parameters[names], self._along[names], stacked=is_stacked(path))
            if afresh:
                return jnp.zeros(parameters[names].shape[: leaf.ndim], leaf.dtype)
            if kind in ("count", "row"):
                return leaf
            power: Literal[1, 2] = 1 if kind == "first" else 2
            return grow_moment(leaf, self._along[names], power=power, stacked=is_stacked(path))

        return jax.tree_util.tree_map_with_path(grow, opt_state)

    @cached_property
    def _along(self) -> dict[Path, tuple[Along | None, ...]]:
        return {
            path: tuple(along(axis, self.maps) for axis in axes if not is_layer(axis))
            for path, axes in flat_axes(self.axes).items()
        }

    def _changes(self, names: Path) -> bool:
        return any(each is not None for each in self._along.get(names, ()))


def begin_afresh(opt_state: Tree, grown: Tree) -> Tree:
    """Set the averages of gradients and the counts of steps to 0 and averages of weights to the weights.

    Args:
        opt_state: An optimizer's state before growth; what belongs to no parameter, such as a schedule's step, goes on.
        grown: The parameters after growth.

    Raises:
        OptionError: Averages cannot begin afresh beside a count of steps that goes on.
    """
    parameters = dict(_by_path(grown))
    paths = frozenset(parameters)
    require_own_counts(opt_state, paths)

    def begin(path: tuple[Any, ...], leaf: Array) -> Array:
        kind, names = state_kind(path, paths)
        if kind == "whole":
            return leaf
        return parameters[names] if kind == "parameter" else jnp.zeros(parameters[names].shape[: leaf.ndim], leaf.dtype)

    return jax.tree_util.tree_map_with_path(begin, opt_state)


def require_own_counts(opt_state: Tree, parameters: frozenset[Path]) -> None:
    """Refuse an optimizer whose averages share one count of steps, which cannot begin afresh with some of them.

    Raises:
        OptionError: It is one.
    """
    leaves = [path for path, _ in jax.tree_util.tree_leaves_with_path(opt_state)]
    whole = {path_names(path) for path in leaves if state_kind(path, parameters)[0] == "whole"}
    for path in leaves:
        kind, names = state_kind(path, parameters)
        if kind in ("first", "second") and (*path_names(path)[: -len(names) - 1], "count") in whole:
            raise OptionError(
                "growth.moments needs an optimizer that counts steps parameter by parameter to begin any afresh, or "
                "their first steps would be several times too long: use optimizer=adamw, or moments=copy"
            )


def _by_path(params: Tree) -> list[tuple[Path, Any]]:
    return [(path_names(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(params)]


def is_layer(axis: LeafAxis) -> bool:
    """Whether an axis is that of the stacked blocks."""
    return axis.parts[0].factors[0].label == LAYER


def _meanings(axes: Axes) -> dict[Path, Any]:
    """Give the axes of every parameter without their sizes."""
    return {
        path: [
            [[(factor.label, factor.role, factor.kind) for factor in part.factors] for part in axis.parts]
            for axis in each
        ]
        for path, each in flat_axes(axes).items()
    }
