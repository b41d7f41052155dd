"""Optimizers that touch few rows (device): of a table's rows only those move that a step looked up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from curriculum_rec.errors import OptionError
from curriculum_rec.growth.moments import state_kind
from curriculum_rec.growth.tree import path_names
from curriculum_rec.models.structure import Tree
from curriculum_rec.training.optimizers.contract import OptimizerFactory
from curriculum_rec.training.optimizers.options import Optimizer
from curriculum_rec.training.row_gradients import (
    RowGradient,
    is_rows,
    set_rows,
    table_names,
    take_rows,
)


class TouchingTransformation(optax.GradientTransformation):
    """A transformation that takes and gives :class:`RowGradient` for tables, which a step makes only for such a one."""


@dataclass(frozen=True)
class TouchedRows:
    """An optimizer of which only those rows of item and user tables notice a step that the step looked up.

    Its cost does not depend on the size of the catalogue. A row's part of the optimizer's state stands still between
    two steps that look it up, and so do weight decay and penalties. What follows of the optimizer inside:

    - ``sgd`` without momentum, ``adagrad`` and ``rowwise_adagrad``, all without weight decay: the same steps as without
      this, since a row without a gradient would not move.
    - ``adamw``: lazy Adam. Moments decay, and the row moves, only in steps that look it up; bias is corrected by the
      row's own count of such steps, so that a rare row's first step is as long as a frequent one's. Where all rows are
      looked up in every step it is Adam.
    - ``sgd`` with momentum and ``lion``: lazy likewise.

    Clipping takes the norm over the rows that were looked up, which is that of the whole gradient. Objectives that
    score all items touch every row, and are refused.

    Args:
        optimizer: What updates the rows that are looked up, and everything else in every step. It may keep no average
            of weights, which would move every row, and no norm over a whole table.

    Source: lazy updates after TensorFlow's ``LazyAdam`` and PyTorch's ``SparseAdam``, whose count of steps is common to
    all rows; one a row is ours.
    """

    optimizer: OptimizerFactory

    def __post_init__(self) -> None:
        inner = self.optimizer
        if not (isinstance(inner, Optimizer) and inner.BY_ROW):
            raise OptionError(
                f"optimizer.optimizer={type(inner).__name__}: rows of a table can be updated by themselves under sgd, "
                "adagrad, rowwise_adagrad, adamw and lion alone"
            )
        if getattr(inner, "weight_average", None) is not None:
            raise OptionError(
                "optimizer.optimizer.weight_average: an average of the weights moves every row in every step, which "
                "touched rows are to avoid; set it to null"
            )

    def __call__(self, total_steps: int, scale: optax.Schedule | None = None) -> optax.GradientTransformation:
        """Build the transformation; arguments as in the contract."""
        return touching(self.optimizer(total_steps, scale))

    def learning_rate_schedule(self, total_steps: int, scale: optax.Schedule | None = None) -> optax.Schedule:
        """Give the learning rate of the optimizer inside."""
        return self.optimizer.learning_rate_schedule(total_steps, scale)


def touching(inner: optax.GradientTransformation) -> TouchingTransformation:
    """Let a transformation that treats rows alike see only those that were looked up.

    They are gathered into small tables, with their part of the state; the transformation sees these and nothing else;
    what it makes of the state is put back. Of tables, the state counts steps for each row.

    Args:
        inner: Treats every row of a table by itself.
    """

    def init(params: Tree) -> Tree:
        tables = table_names(params)
        if not tables:
            raise OptionError(
                "optimizer: touched rows are those of a table items.embedding or users.embedding, and this model has "
                "none: use the optimizer inside"
            )
        lengths = {name: len(leaf) for name, leaf in _named(params).items() if name in tables}

        def begin(path: tuple[Any, ...], leaf: Any) -> Array:
            kind, owner = state_kind(path, paths)
            counts = kind == "count" and leaf.ndim == 0 and ".".join(owner) in lengths
            return jnp.zeros(lengths[".".join(owner)], leaf.dtype) if counts else leaf

        paths = frozenset(map(path_names, (path for path, _ in jax.tree_util.tree_leaves_with_path(params))))
        return jax.tree_util.tree_map_with_path(begin, inner.init(params))

    def update(updates: Tree, state: Tree, params: Tree | None = None) -> tuple[Tree, Tree]:
        paths = frozenset(map(path_names, (path for path, _ in jax.tree_util.tree_leaves_with_path(params))))
        rows = {name: node.rows for name, node in _named(updates).items() if is_rows(node)}
        if not rows:
            raise OptionError(
                "optimizer: touched rows must be the outermost optimizer, and the step make row gradients"
            )

        def owner(path: tuple[Any, ...]) -> str:
            return ".".join(state_kind(path, paths)[1])

        def take(path: tuple[Any, ...], leaf: Array) -> Array:
            return take_rows(leaf, rows[name]) if (name := owner(path)) in rows else leaf

        def put(path: tuple[Any, ...], leaf: Array, new: Array) -> Array:
            return set_rows(leaf, rows[name], new) if (name := owner(path)) in rows else new

        small = jax.tree.map(lambda node: node.values if is_rows(node) else node, updates, is_leaf=is_rows)
        few = jax.tree_util.tree_map_with_path(
            lambda path, leaf: take_rows(leaf, rows[name]) if (name := ".".join(path_names(path))) in rows else leaf,
            params,
        )
        steps, new = inner.update(small, jax.tree_util.tree_map_with_path(take, state), few)
        steps = jax.tree.map(
            lambda node, step: RowGradient(node.rows, step) if is_rows(node) else step, updates, steps, is_leaf=is_rows
        )
        return steps, jax.tree_util.tree_map_with_path(put, state, new)

    return TouchingTransformation(init, update)


def tables_touched(optimizer: optax.GradientTransformation, params: Tree) -> tuple[str, ...]:
    """Name the tables whose gradient an optimizer takes row by row."""
    return table_names(params) if isinstance(optimizer, TouchingTransformation) else ()


def _named(tree: Tree) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_rows)
    return {".".join(path_names(path)): leaf for path, leaf in leaves}
