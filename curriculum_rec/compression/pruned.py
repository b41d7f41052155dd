"""Parameters left out (host): small weights, blocks with small gates, the last columns of the item table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import jax
import numpy as np
from jaxtyping import Float32, Int64, UInt8

from curriculum_rec.compression.contract import Form, Scope, with_matrices, with_table
from curriculum_rec.errors import OptionError
from curriculum_rec.growth.depth import stacked_depth
from curriculum_rec.growth.tree import is_stacked, path_names
from curriculum_rec.models.structure import Tree
from curriculum_rec.ranges import INSIDE_ONE, at_least, check_ranges, one_of

GATE = "gate"
"""Name of the learnt factor of a residual branch, of which a block has one or more."""


@dataclass(frozen=True)
class Sparse(Form):
    """The numbers that are not left out, and a bit for each place.

    Attributes:
        values: float32 ``[kept]``, in the order of their places.
        kept: uint8, a bit a place, eight a byte.
        shape: Of the whole.
    """

    values: Float32[np.ndarray, " kept"]
    kept: UInt8[np.ndarray, " bytes"]
    shape: tuple[int, ...]

    def dense(self) -> np.ndarray:
        """Put zeros where nothing was kept."""
        flat = np.zeros(int(np.prod(self.shape)), np.float32)
        flat[np.unpackbits(self.kept, count=len(flat)).astype(bool)] = self.values
        return flat.reshape(self.shape)


@dataclass(frozen=True)
class FirstColumns(Form):
    """The first columns of a table; the others are 0.

    Attributes:
        values: float32 ``[rows, kept]``.
        width: Columns of the whole.
    """

    values: Float32[np.ndarray, "rows kept"]
    width: int

    def dense(self) -> np.ndarray:
        """Fill up with zeros."""
        return np.pad(self.values, ((0, 0), (0, self.width - self.values.shape[1])))


@dataclass(frozen=True)
class Magnitude:
    """Of every matrix, the smallest weights become 0.

    Bytes: ``4 (1 - sparsity) n + n / 8`` for a matrix of ``n`` weights. To train on with what is left, start a run from
    the result with ``optimizer=pruned``, which keeps zeros.

    Args:
        sparsity: Share of a matrix's weights that are left out, in (0, 1).
        scope: ``all`` matrices, or the item ``table`` alone.

    Source: Han et al. (2015), Learning both Weights and Connections; each matrix by itself.
    """

    sparsity: float = 0.8
    scope: Scope = "all"

    def __post_init__(self) -> None:
        check_ranges(self, "method", {"scope": one_of(*get_args(Scope)), "sparsity": INSIDE_ONE})

    def __call__(self, params: Tree, *, seed: int) -> Tree:
        """Compress; arguments and errors as in the contract."""
        del seed
        return with_matrices(params, lambda matrix, _: largest(matrix, 1 - self.sparsity), self.scope)


@dataclass(frozen=True)
class Blocks:
    """The residual blocks with the smallest gates are dropped; the model becomes shallower, and faster.

    Args:
        keep: Blocks that stay, at least 1 and fewer than there are.

    Source: structured pruning by learnt scales, as of Liu et al. (2017), here of whole blocks, by the sum of the
    absolute values of their gates.
    """

    keep: int = 1

    def __post_init__(self) -> None:
        check_ranges(self, "method", {"keep": at_least(1)})

    def __call__(self, params: Tree, *, seed: int) -> Tree:
        """Compress; arguments and errors as in the contract."""
        del seed
        depth = stacked_depth(params)
        if depth is None or self.keep >= depth:
            there = "no stacked blocks" if depth is None else f"{depth} block{'s' * (depth > 1)}"
            raise OptionError(f"method.keep={self.keep}: the model has {there}, so that none can be dropped")
        chosen = strongest_blocks(params, self.keep)

        def change(path: tuple[Any, ...], leaf: np.ndarray) -> np.ndarray:
            return leaf[chosen] if is_stacked(path) else leaf

        return jax.tree_util.tree_map_with_path(change, params)


@dataclass(frozen=True)
class Dimensions:
    """Item vectors keep their first columns; the others count as 0, in histories and in scores.

    Bytes: ``4 rows width``. Made for models trained with ``objective=nested``, which makes the first columns do by
    themselves; other models lose much.

    Args:
        width: Columns that stay, at least 1 and fewer than there are.

    Source: Kusupati et al. (2022), Matryoshka Representation Learning.
    """

    width: int = 32

    def __post_init__(self) -> None:
        check_ranges(self, "method", {"width": at_least(1)})

    def __call__(self, params: Tree, *, seed: int) -> Tree:
        """Compress; arguments and errors as in the contract."""
        del seed
        return with_table(params, partial(first_columns, width=self.width))


def largest(matrix: Float32[np.ndarray, "*shape"], share: float) -> Sparse:
    """Keep the entries of largest magnitude, of equal ones the first.

    Args:
        matrix: float32.
        share: Of the entries, rounded to whole ones, at least one.

    >>> form = largest(np.array([[1.0, -3.0], [2.0, 0.5]], np.float32), 0.5)
    >>> form.values.tolist(), form.dense().tolist()
    ([-3.0, 2.0], [[0.0, -3.0], [2.0, 0.0]])
    """
    flat = matrix.reshape(-1)
    chosen = np.zeros(len(flat), bool)
    chosen[np.argsort(-np.abs(flat), kind="stable")[: max(1, round(share * len(flat)))]] = True
    return Sparse(flat[chosen], np.packbits(chosen), matrix.shape)


def strongest_blocks(params: Tree, keep: int) -> Int64[np.ndarray, " keep"]:
    """Give the numbers of the blocks whose gates are largest, in order; of equal ones, the first.

    Raises:
        OptionError: The blocks have no gates.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    gates = [np.abs(leaf) for path, leaf in leaves if is_stacked(path) and path_names(path)[-1] == GATE]
    if not gates:
        raise OptionError(f"method.keep={keep}: the model's blocks have no gates that say which of them matter")
    return np.sort(np.argsort(-np.sum(gates, axis=0), kind="stable")[:keep])


def first_columns(table: Float32[np.ndarray, "rows width"], *, width: int) -> FirstColumns:
    """Keep the first columns of a table.

    Raises:
        OptionError: It has no more.

    >>> first_columns(np.ones((1, 3), np.float32), width=2).dense().tolist()
    [[1.0, 1.0, 0.0]]
    """
    if width >= table.shape[1]:
        raise OptionError(f"method.width={width}: the item table has only {table.shape[1]} columns: lower it")
    return FirstColumns(np.ascontiguousarray(table[:, :width]), table.shape[1])
