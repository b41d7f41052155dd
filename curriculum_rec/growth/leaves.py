"""Growth of one parameter along its axes (device), and of what an optimizer remembers of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from curriculum_rec.growth.units import UnitMap
from curriculum_rec.models.axes import NORMS, Axis, LeafAxis

KEPT, RANDOM, ZERO, MEAN = 0, 1, 2, 3
"""How an entry along an axis begins: as an old one, at random, at 0, at the mean of the old ones. Of two axes, the
greater decides."""


@dataclass(frozen=True)
class Along:
    """What happens along one axis of one parameter.

    Attributes:
        n_old: Entries before.
        source: int32 ``[new]``, the old entry of each.
        value: float32 ``[new]``, what its value is multiplied by.
        gradient: float32 ``[new]``, what its gradient is multiplied by; 0 where there was none.
        begins: int ``[new]``, as the constants above.
        noise: float32 ``[new]``, standard deviation of what is added, in terms of the parameter's own.
        next_block: bool ``[new]``, whether the source is taken from the block above.
        scale: Standard deviation of random entries, in the same terms; 0 where there are none.
    """

    n_old: int
    source: np.ndarray
    value: np.ndarray
    gradient: np.ndarray
    begins: np.ndarray
    noise: np.ndarray
    next_block: np.ndarray
    scale: float = 0.0


def along(axis: LeafAxis, maps: Mapping[str, UnitMap]) -> Along | None:
    """Say what happens along an axis; None where nothing does.

    Args:
        axis: What the axis is before growth.
        maps: Where units come from, by label; units without a map stay as they are.
    """
    if not any(factor.label in maps for part in axis.parts for factor in part.factors):
        return None
    return _join([reduce(_product, [_along_units(factor, maps) for factor in part.factors]) for part in axis.parts])


def _along_units(axis: Axis, maps: Mapping[str, UnitMap]) -> Along:
    if axis.label not in maps:
        return _unchanged(axis.size)
    grown = maps[axis.label]
    there = (~grown.is_new).astype(np.float32)
    value, gradient = (there, grown.share) if axis.role == "produces" else (grown.share, there)
    if axis.kind == "attention":
        # Both sides of a score take the root of what keeps "sum of products / root of their number" as it was.
        root = np.float32(np.sqrt(len(grown) / grown.n_old))
        value = np.sqrt(there * grown.share * root)
        gradient = value / root
    elif axis.kind in NORMS and grown.is_new.any() and not grown.masked:
        longer = np.float32(np.sqrt(grown.n_old / len(grown)))  # by this a norm makes a vector with new zeros longer
        value, gradient = value * longer, gradient / longer
    produced = axis.role == "produces"
    copies = grown.is_copy & produced
    new = ZERO if axis.role == grown.zero_where and not grown.masked else RANDOM
    if axis.kind == "factor":
        new = RANDOM
    if axis.kind in NORMS:
        new = MEAN  # with a gain of 0, new units of the stream would never get a gradient
    return Along(
        grown.n_old,
        grown.source,
        value,
        gradient,
        np.where(grown.is_new, new, KEPT),
        np.where(copies, np.float32(grown.noise), np.float32(0)),
        copies & grown.next_block,
        grown.scale if grown.is_new.any() else 0.0,
    )


def _unchanged(size: int) -> Along:
    one, zero = np.ones(size, np.float32), np.zeros(size, np.float32)
    return Along(size, np.arange(size, dtype=np.int32), one, one, np.full(size, KEPT), zero, np.zeros(size, bool))


def _product(a: Along, b: Along) -> Along:
    """Combine factors, the last running fastest."""
    return Along(
        a.n_old * b.n_old,
        (a.source[:, None] * np.int32(b.n_old) + b.source).ravel(),
        np.outer(a.value, b.value).ravel(),
        np.outer(a.gradient, b.gradient).ravel(),
        np.maximum(a.begins[:, None], b.begins).ravel(),
        np.maximum(a.noise[:, None], b.noise).ravel(),
        (a.next_block[:, None] | b.next_block).ravel(),
        max(a.scale, b.scale),
    )


def _join(parts: Sequence[Along]) -> Along:
    """Put axes one after the other."""

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    first = np.cumsum([0, *(part.n_old for part in parts)])
    return Along(
        int(first[-1]),
        np.concatenate([part.source + n for part, n in zip(parts, first[:-1].astype(np.int32), strict=True)]),
        joined("value"),
        joined("gradient"),
        joined("begins"),
        joined("noise"),
        joined("next_block"),
        max(part.scale for part in parts),
    )


def grow_value(leaf: Array, axes: Sequence[Along | None], *, key: Array, stacked: bool) -> Array:
    """Grow a parameter.

    Args:
        leaf: The parameter.
        axes: What happens along each of its axes but the layer axis.
        key: For what is random.
        stacked: Whether it has a layer axis, the first.
    """
    grown = _gather(leaf, axes, "value", stacked=stacked)
    inner = tuple(range(stacked, leaf.ndim))
    spread = leaf.std(inner, keepdims=True)
    noise = _combine([None if each is None else each.noise for each in axes], stacked=stacked)
    if noise is not None and noise.any():
        grown += spread * noise * jax.random.normal(jax.random.fold_in(key, 1), grown.shape, grown.dtype)
    begins = _combine([None if each is None else each.begins for each in axes], stacked=stacked)
    if begins is None or not begins.any():
        return grown
    scale = max(each.scale for each in axes if each is not None)
    if len(axes) == 1:  # biases begin at 0, as those of a fresh model do
        begins = np.where(begins == RANDOM, ZERO, begins)
    fresh = scale * spread * jax.random.normal(key, grown.shape, grown.dtype) if (begins == RANDOM).any() else grown
    mean = grown.mean(inner, keepdims=True, where=jnp.broadcast_to(begins == KEPT, grown.shape))
    grown = jnp.where(begins == RANDOM, fresh, grown)
    grown = jnp.where(begins == ZERO, jnp.zeros((), grown.dtype), grown)
    return jnp.where(begins == MEAN, mean, grown)


def grow_average(leaf: Array, grown: Array, axes: Sequence[Along | None], *, stacked: bool) -> Array:
    """Grow an average of a parameter over time.

    Args:
        leaf: The average.
        grown: The parameter after growth, whose new entries the average begins with.
        axes: As in :func:`grow_value`.
        stacked: As in :func:`grow_value`.
    """
    begins = _combine([None if each is None else each.begins for each in axes], stacked=stacked)
    average = _gather(leaf, axes, "value", stacked=stacked)
    return average if begins is None or not begins.any() else jnp.where(begins == KEPT, average, grown)


def grow_moment(leaf: Array, axes: Sequence[Along | None], *, power: Literal[1, 2], stacked: bool) -> Array:
    """Grow an average of gradients or of their squares, as the grown model's gradients would have made it.

    Entries that never had a gradient begin at 0 or, of squares, at the mean of their parameter's: with 0, and a count
    of steps that is far on, Adam's first steps for them would be up to 6.6 times too long.

    Args:
        leaf: The average.
        axes: As in :func:`grow_value`.
        power: 1 for gradients, 2 for squares.
        stacked: As in :func:`grow_value`.
    """
    grown = _gather(leaf, axes, "gradient", stacked=stacked, power=power)
    without = _combine([None if each is None else each.gradient == 0 for each in axes], stacked=stacked)
    if power == 1 or without is None or not without.any():
        return grown
    return jnp.where(without, leaf.mean(tuple(range(stacked, leaf.ndim)), keepdims=True), grown)


def _gather(
    leaf: Array,
    axes: Sequence[Along | None],
    factor: Literal["value", "gradient"],
    *,
    stacked: bool,
    power: int = 1,
) -> Array:
    """Take every entry from its source, times its factor along every axis."""
    for number, each in enumerate(axes, start=int(stacked)):
        if each is None:
            continue
        own = jnp.take(leaf, each.source, axis=number)
        if stacked and factor == "value" and each.next_block.any():
            above = jnp.take(jnp.concatenate([leaf[1:], leaf[-1:]]), each.source, axis=number)
            own = jnp.where(_laid(each.next_block, number, leaf.ndim), above, own)
        factors = getattr(each, factor) ** power
        leaf = own if (factors == 1).all() else own * _laid(factors, number, leaf.ndim).astype(leaf.dtype)
    return leaf


def _combine(along_each: Sequence[np.ndarray | None], *, stacked: bool) -> np.ndarray | None:
    """Lay arrays along their axes and take, for every entry, the greatest; None where there is none."""
    n_axes = len(along_each) + stacked
    laid = [_laid(each, n, n_axes) for n, each in enumerate(along_each, start=int(stacked)) if each is not None]
    return reduce(np.maximum, laid) if laid else None


def _laid(values: np.ndarray, axis: int, n_axes: int) -> np.ndarray:
    return values.reshape(*(1,) * axis, -1, *(1,) * (n_axes - axis - 1))
