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
from curriculum_rec.models.axes import LAYER, Axes, Axis, axis_sizes
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
    named = _flat(axes)
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
    if _without_sizes(before) != _without_sizes(after):
        differing = _flat(before).keys() ^ _flat(after).keys()
        what = ", ".join(".".join(path) for path in sorted(differing)[:5]) or "the meaning of an axis"
        raise OptionError(f"growth cannot turn a {type(old).__name__} into this {type(new).__name__}: {what} differs")
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
        """Grow an optimizer's state.

        Args:
            opt_state: The state.
            grown: The parameters after growth.
            moments: What becomes of averages of gradients.

        Raises:
            OptionError: Averages cannot begin afresh beside a count of steps that goes on.
        """
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
            if kind == "count":
                return jnp.zeros_like(leaf) if afresh else leaf
            if afresh:
                return jnp.zeros(parameters[names].shape, leaf.dtype)
            power: Literal[1, 2] = 1 if kind == "first" else 2
            return grow_moment(leaf, self._along[names], power=power, stacked=is_stacked(path))

        return jax.tree_util.tree_map_with_path(grow, opt_state)

    @cached_property
    def _along(self) -> dict[Path, tuple[Along | None, ...]]:
        return {
            path: tuple(along(axis, self.maps) for axis in axes if not _is_layer(axis))
            for path, axes in _flat(self.axes).items()
        }

    def _changes(self, names: Path) -> bool:
        return any(each is not None for each in self._along.get(names, ()))


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


def _flat(axes: Axes, above: Path = ()) -> dict[Path, tuple[Any, ...]]:
    found: dict[Path, tuple[Any, ...]] = {}
    for name, below in axes.items():
        found |= _flat(below, (*above, name)) if isinstance(below, Mapping) else {(*above, name): below}
    return found


def _by_path(params: Tree) -> list[tuple[Path, Any]]:
    return [(path_names(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(params)]


def _is_layer(axis: Any) -> bool:
    return isinstance(axis, Axis) and axis.label == LAYER


def _without_sizes(axes: Any) -> Any:
    if isinstance(axes, Axis):
        return axes.label, axes.role, axes.kind
    if isinstance(axes, Mapping):
        return {name: _without_sizes(below) for name, below in axes.items()}
    parts = getattr(axes, "factors", getattr(axes, "parts", axes))
    return tuple(_without_sizes(part) for part in parts)
