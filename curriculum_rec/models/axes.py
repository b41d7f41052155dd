"""What the axes of a model's parameters mean (device), so that growth in width needs no knowledge of the model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from curriculum_rec.errors import OptionError

Role = Literal["produces", "consumes"]
"""Whether a parameter makes the values of units, or takes them up."""

Kind = Literal["plain", "layer_norm", "rms_norm", "attention", "factor"]
"""What is special about units: they are scaled by a norm of either kind, whose gain the parameter is; they are summed
over in attention scores, which are divided by the root of their number; or their values are products, of which another
parameter is the first factor and this one a further one."""

NORMS: tuple[Kind, ...] = ("layer_norm", "rms_norm")

STREAM, HIDDEN, HEADS, HEAD = "stream", "hidden", "heads", "head"
ROWS, POSITIONS, LAYER = "rows", "positions", "layer"
EMBEDDING, RANK = "embedding", "rank"
OURS = (STREAM, HIDDEN, HEADS, HEAD, EMBEDDING, RANK)
"""Labels of units of which this package's models may have more or fewer.

A label may have a name after a blank, ``hidden 0`` or ``embedding age``: units of the same kind, counted apart."""

ROTARY, INNER, INNER_HEADS, BUCKETS = "rotary", "inner", "inner_heads", "buckets"
SINGLE, FEATURES, CODES, CLASSES, AGES, GAPS = "single", "features", "codes", "classes", "ages", "gaps"
QUOTIENTS, REMAINDERS, ITEM_BUCKETS, PROBES = "quotients", "remainders", "item_buckets", "probes"
FIELDS, CROSSES = "fields", "crosses"
OF_FEATURES = tuple(f"{whose} {what}" for whose in ("item", "user") for what in ("rows", "numbers", "codes"))
OF_TABLES = (QUOTIENTS, REMAINDERS, ITEM_BUCKETS, PROBES)
OF_ROWS = (FEATURES, CODES, CLASSES, FIELDS, CROSSES)
FIXED = (ROTARY, INNER, INNER_HEADS, BUCKETS, SINGLE, AGES, GAPS, *OF_ROWS, *OF_FEATURES, *OF_TABLES)
"""Labels of units of which every model keeps as many as it has: of them no growth would preserve the function, or
their number is the data's."""


@dataclass(frozen=True)
class Axis:
    """An axis along which there is one entry a unit.

    Attributes:
        label: Which units; the same label stands for the same units everywhere in a model.
        size: How many.
        role: What the parameter does with their values.
        kind: What is special about them here.
    """

    label: str
    size: int
    role: Role = "produces"
    kind: Kind = "plain"

    @property
    def factors(self) -> tuple[Axis, ...]:
        """The axis itself."""
        return (self,)

    @property
    def parts(self) -> tuple[Axis | Product, ...]:
        """The axis itself."""
        return (self,)


@dataclass(frozen=True)
class Product:
    """An axis with one entry a combination, the last factor running fastest: heads times the units of each."""

    factors: tuple[Axis, ...]

    @property
    def size(self) -> int:
        """Number of combinations."""
        return math.prod(factor.size for factor in self.factors)

    @property
    def parts(self) -> tuple[Axis | Product, ...]:
        """The product itself."""
        return (self,)


@dataclass(frozen=True)
class Joined:
    """Several axes one after the other: a matrix that makes queries, keys and values at once."""

    parts: tuple[Axis | Product, ...]

    @property
    def size(self) -> int:
        """Sum of the parts' sizes."""
        return sum(part.size for part in self.parts)


LeafAxis = Axis | Product | Joined
Axes = Mapping[str, Any]
"""Nested like the parameters; a tuple of axes, or of products or joins of axes, for each."""


def kind_of(label: str) -> str:
    """Say what kind of units a label stands for.

    >>> kind_of("embedding user.age"), kind_of("stream")
    ('embedding', 'stream')
    """
    return label.partition(" ")[0]


def is_fixed(label: str) -> bool:
    """Say whether every model keeps as many of some units as it has.

    >>> is_fixed("item rows"), is_fixed("codes user.age"), is_fixed("embedding user.age")
    (True, True, False)
    """
    return label in FIXED or kind_of(label) in FIXED


def consumed(axis: LeafAxis) -> LeafAxis:
    """Give the same units where a parameter takes them up.

    >>> consumed(Axis("hidden", 3)).role
    'consumes'
    """
    if isinstance(axis, Joined):
        return Joined(tuple(_consumed_part(part) for part in axis.parts))
    return _consumed_part(axis)


def linear_axes(units_in: LeafAxis, units_out: LeafAxis) -> dict[str, tuple[LeafAxis, ...]]:
    """Name the axes of a linear layer with a bias.

    >>> linear_axes(Axis("stream", 2), Axis("hidden", 8))["bias"]
    (Axis(label='hidden', size=8, role='produces', kind='plain'),)
    """
    return {"kernel": (consumed(units_in), units_out), "bias": (units_out,)}


def stacked_axes(axes: Axes, depth: int) -> dict[str, Any]:
    """Put the layer axis before those of every parameter of one block.

    >>> stacked_axes({"gate": ()}, 4)["gate"][0].size
    4
    """
    return {
        name: stacked_axes(below, depth) if isinstance(below, Mapping) else (Axis(LAYER, depth), *below)
        for name, below in axes.items()
    }


def axis_sizes(axes: Axes) -> dict[str, int]:
    """Give the number of units behind every label.

    Raises:
        OptionError: Two axes of one label have different sizes.

    >>> axis_sizes({"up": linear_axes(Axis("stream", 2), Axis("hidden", 8))})
    {'stream': 2, 'hidden': 8}
    """
    sizes: dict[str, int] = {}
    for axis in _single_axes(axes):
        if sizes.setdefault(axis.label, axis.size) != axis.size:
            raise OptionError(
                f"the model says that there are {sizes[axis.label]} and {axis.size} units of '{axis.label}': give "
                "axes of different units different labels"
            )
    return sizes


def norm_kinds(axes: Axes, label: str) -> set[Kind]:
    """Say which norms there are over some units.

    >>> norm_kinds({"scale": (Axis("stream", 2, kind="rms_norm"),)}, "stream")
    {'rms_norm'}
    """
    return {axis.kind for axis in _single_axes(axes) if axis.label == label and axis.kind in NORMS}


def flat_axes(axes: Axes, above: tuple[str, ...] = ()) -> dict[tuple[str, ...], tuple[LeafAxis, ...]]:
    """Give the axes of every parameter by its path.

    >>> flat_axes({"norm": {"scale": (Axis("stream", 2),)}}).keys()
    dict_keys([('norm', 'scale')])
    """
    found: dict[tuple[str, ...], tuple[LeafAxis, ...]] = {}
    for name, below in axes.items():
        path = (*above, name)
        found |= flat_axes(below, path) if isinstance(below, Mapping) else {path: below}
    return found


def _consumed_part(part: Axis | Product) -> Axis | Product:
    if isinstance(part, Axis):
        return replace(part, role="consumes")
    return Product(tuple(replace(factor, role="consumes") for factor in part.factors))


def _single_axes(axes: Axes) -> Iterator[Axis]:
    for each in flat_axes(axes).values():
        yield from (factor for axis in each for part in axis.parts for factor in part.factors)
