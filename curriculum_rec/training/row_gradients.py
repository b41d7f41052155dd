"""Gradients of single rows of tables (device): taken, gathered from the devices, summed, and added to the tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int32

from curriculum_rec.growth.tree import path_names
from curriculum_rec.models.structure import Tree
from curriculum_rec.models.touched import TouchedTable

Path = tuple[str, ...]
TABLES: tuple[Path, ...] = (("items", "embedding"), ("users", "embedding"))
"""How paths of tables end whose rows are looked up."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RowGradient:
    """The gradient, or the step, of some rows of a table; that of the others is 0.

    Attributes:
        rows: int32 ``[n]``; numbers beyond the table stand for nothing.
        values: float32 ``[n, width]``.
    """

    rows: Int32[Array, " n"]
    values: Float[Array, "n width"]


BEYOND = 2**30
"""A number beyond any table."""

Rows = dict[str, RowGradient]
"""Row gradients by the names of their tables, such as ``items.embedding``."""


def is_rows(node: object) -> bool:
    """Whether a node of a tree is a gradient of single rows."""
    return isinstance(node, RowGradient)


def table_names(params: Tree) -> tuple[str, ...]:
    """Name the tables among parameters whose rows are looked up.

    >>> table_names({"items": {"embedding": jnp.ones((4, 2))}, "norm": {"scale": jnp.ones(2)}})
    ('items.embedding',)
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return tuple(".".join(path_names(path)) for path, leaf in leaves if _is_table(path_names(path), leaf))


def _is_table(path: Path, leaf: Any) -> bool:
    return path[-2:] in TABLES and getattr(leaf, "ndim", 0) == 2


def value_and_gradient(
    weighted_sum: Callable[[Tree], tuple[Array, Tree]], params: Tree, tables: tuple[str, ...], frozen: frozenset[Path]
) -> tuple[tuple[Array, Tree], Tree, Rows]:
    """Differentiate a loss, for tables row by row.

    Args:
        weighted_sum: From parameters to the loss and anything besides.
        params: The parameters.
        tables: Names of those that are differentiated by rows.
        frozen: Paths of what gets no gradient.

    Returns:
        What the function gives; the gradient, with None in place of tables; and the tables' row gradients.
    """
    if not tables:
        value, gradient = jax.value_and_grad(weighted_sum, has_aux=True)(params)
        return value, gradient, {}
    leaves = {".".join(path_names(path)): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    still = {name: leaves[name] for name in tables if tuple(name.split(".")) in frozen}
    moving = {name: leaves[name] for name in tables if name not in still}
    dense = put_in(params, dict.fromkeys(tables))

    def run(dense: Tree, slots: Mapping[str, list[Array]] | None) -> tuple[Array, tuple[Tree, dict[str, list[Array]]]]:
        touched = {name: TouchedTable(table, None if slots is None else slots[name]) for name, table in moving.items()}
        silent = {name: TouchedTable(table).without_gradient() for name, table in still.items()}
        value, besides = weighted_sum(put_in(dense, {**touched, **silent}))
        return value, (besides, {name: table.looked_up or [] for name, table in touched.items()})

    lookups = jax.eval_shape(lambda dense: run(dense, None)[1][1], dense)
    slots = {
        name: [jnp.zeros((*rows.shape, moving[name].shape[1]), jnp.float32) for rows in each]
        for name, each in lookups.items()
    }
    (value, (besides, looked_up)), (gradient, of_slots) = jax.value_and_grad(run, argnums=(0, 1), has_aux=True)(
        dense, slots
    )
    rows = {name: _joined(looked_up[name], of_slots[name], table) for name, table in moving.items()}
    rows |= {name: _joined([], [], table) for name, table in still.items()}
    return (value, besides), gradient, rows


def _joined(rows: list[Array], values: list[Array], table: Array) -> RowGradient:
    width = table.shape[1]
    return RowGradient(
        jnp.concatenate([jnp.zeros(0, jnp.int32), *(each.reshape(-1).astype(jnp.int32) for each in rows)]),
        jnp.concatenate([jnp.zeros((0, width), jnp.float32), *(each.reshape(-1, width) for each in values)]),
    )


def put_in(params: Tree, parts: Mapping[str, Any]) -> Tree:
    """Put something else in place of parameters that are named, wherever they are nested.

    >>> put_in({"items": {"embedding": None}, "norm": 1}, {"items.embedding": 2})
    {'items': {'embedding': 2}, 'norm': 1}
    """
    result = dict(params)
    for name, part in parts.items():
        first, _, rest = name.partition(".")
        result[first] = put_in(result[first], {rest: part}) if rest else part
    return result


def leaf_at(params: Tree, name: str) -> Array:
    """Give a parameter by its name.

    >>> leaf_at({"items": {"embedding": jnp.zeros((3, 2))}}, "items.embedding").shape
    (3, 2)
    """
    for part in name.split("."):
        params = params[part]
    return params


def padded(rows: Rows, sizes: Mapping[str, int]) -> Rows:
    """Fill row gradients up to given numbers of rows, with numbers beyond any table."""
    return {
        name: RowGradient(
            jnp.pad(each.rows, (0, sizes[name] - len(each.rows)), constant_values=BEYOND),
            jnp.pad(each.values, ((0, sizes[name] - len(each.rows)), (0, 0))),
        )
        for name, each in rows.items()
    }


def gathered(rows: Rows, axis_name: str | None, *, after: Array) -> Rows:
    """Bring the row gradients of all devices together.

    Args:
        rows: This device's.
        axis_name: The mapped axis; None on one device.
        after: A scalar that has been reduced over the devices. Exchanges that do not depend on each other may meet in
            another order on another device, and each would take the other's numbers for its own.
    """
    if axis_name is None:
        return rows
    result, done = {}, after
    for name, each in rows.items():
        values = each.values + 0 * done
        # One exchange: a row's number travels as the bits of one more column.
        number = jax.lax.bitcast_convert_type(each.rows, jnp.float32)
        told = jax.lax.all_gather(jnp.concatenate([number[:, None], values], axis=1), axis_name, tiled=True)
        result[name] = RowGradient(jax.lax.bitcast_convert_type(told[:, 0], jnp.int32), told[:, 1:])
        done = told[0, 1] if len(told) else done
    return result


def summed(gradient: RowGradient, n_rows: int) -> RowGradient:
    """Add up what belongs to the same row.

    Args:
        gradient: Rows in any order, any number of times.
        n_rows: Length of the table.

    Returns:
        As many rows, different ones in ascending order, then such as lie beyond the table.

    >>> total = summed(RowGradient(jnp.array([2, 0, 2]), jnp.array([[1.0], [5.0], [3.0]])), 4)
    >>> total.rows.tolist(), total.values.tolist()
    ([0, 2, 6], [[5.0], [4.0], [0.0]])
    """
    n = len(gradient.rows)
    if n == 0:
        return gradient
    order = jnp.argsort(gradient.rows)
    rows = jnp.minimum(gradient.rows[order], n_rows)
    place = jnp.cumsum(jnp.concatenate([jnp.zeros(1, jnp.int32), (rows[1:] != rows[:-1]).astype(jnp.int32)]))
    values = jax.ops.segment_sum(gradient.values[order], place, n, indices_are_sorted=True)
    numbers = n_rows + jnp.arange(n, dtype=jnp.int32)  # beyond the table, and all different
    numbers = numbers.at[place].min(rows, indices_are_sorted=True)
    return RowGradient(numbers, values)


def take_rows(leaf: Array, rows: Array) -> Array:
    """Give some rows of an array, zeros where there is no such row."""
    return leaf.at[rows].get(mode="fill", fill_value=0, indices_are_sorted=True, unique_indices=True)


def set_rows(leaf: Array, rows: Array, values: Array) -> Array:
    """Replace rows that are ascending and different; such as lie beyond the array are left out."""
    return leaf.at[rows].set(values, mode="drop", indices_are_sorted=True, unique_indices=True)


def apply_updates(params: Tree, updates: Tree) -> Tree:
    """Add an optimizer's steps to the parameters, to single rows where they are such."""

    def add(update: Any, leaf: Array) -> Array:
        if not is_rows(update):
            return leaf + update.astype(leaf.dtype)
        values = update.values.astype(leaf.dtype)
        return leaf.at[update.rows].add(values, mode="drop", indices_are_sorted=True, unique_indices=True)

    if not any(map(is_rows, jax.tree.leaves(updates, is_leaf=is_rows))):
        return optax.apply_updates(params, updates)
    return jax.tree.map(add, updates, params, is_leaf=is_rows)


def gradient_norm(gradient: Tree) -> Float[Array, ""]:
    """Give the Euclidean norm of a gradient, in which every row occurs once."""
    return optax.tree.norm(jax.tree.map(lambda node: node.values if is_rows(node) else node, gradient, is_leaf=is_rows))
