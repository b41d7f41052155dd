"""Items that share rows of smaller tables (host), fitted to a trained table by least squares.

Which items share is a matter of their numbers, not of their likeness. Trained so from the start, tables compensate;
a trained table fits badly unless it is nearly redundant, as the report will say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float32, Int64

from curriculum_rec.compression.contract import Form, with_table
from curriculum_rec.models.structure import Tree
from curriculum_rec.ranges import INSIDE_ONE, at_least, check_ranges
from curriculum_rec.streams import host_stream, name_hash

RIDGE = 1e-6
"""Keeps systems solvable in which rows are used by nobody, or by the same items."""


@dataclass(frozen=True)
class Products(Form):
    """A row is the product, entry by entry, of a row of one table and a row of another.

    Attributes:
        quotient: float32 ``[quotients, width]``.
        remainder: float32 ``[remainders, width]``.
        n_rows: Rows of the whole table.
    """

    quotient: Float32[np.ndarray, "quotients width"]
    remainder: Float32[np.ndarray, "remainders width"]
    n_rows: int

    def dense(self) -> np.ndarray:
        """Multiply the rows that belong together."""
        quotient, remainder = quotient_remainder(self.n_rows, len(self.remainder))
        return self.quotient[quotient] * self.remainder[remainder]


@dataclass(frozen=True)
class Hashed(Form):
    """A row is a weighted sum of several rows of a smaller table.

    Attributes:
        table: float32 ``[buckets, width]``.
        weight: float32 ``[rows, probes]``.
        seed: Decides which rows these are; they are computed, not stored.
    """

    table: Float32[np.ndarray, "buckets width"]
    weight: Float32[np.ndarray, "rows probes"]
    seed: int

    def dense(self) -> np.ndarray:
        """Add up the rows that belong together."""
        probe = probes(*self.weight.shape, n_buckets=len(self.table), seed=self.seed)
        return np.einsum("rp,rpw->rw", self.weight, self.table[probe])


@dataclass(frozen=True)
class QuotientRemainder:
    """Row ``i`` is the product of row ``i div m`` of one table and row ``i mod m`` of another, which no two rows share.

    Bytes: ``4 width (rows / m + m)``.

    Args:
        remainders: ``m``, at least 2; None takes the root of the rows, rounded up, which is smallest.
        rounds: How often the two tables are fitted in turn, at least 1.

    Source: Shi et al. (2020), Compositional Embeddings Using Complementary Partitions, with multiplication.
    """

    remainders: int | None = None
    rounds: int = 30

    def __post_init__(self) -> None:
        check_ranges(self, "method", {"remainders": at_least(2).or_null(), "rounds": at_least(1)})

    def __call__(self, params: Tree, *, seed: int) -> Tree:
        """Compress; arguments and errors as in the contract."""
        return with_table(params, partial(self.fit, seed=seed))

    def fit(self, table: Float32[np.ndarray, "rows width"], *, seed: int) -> Products:
        """Fit both tables by alternating least squares: each column is a matrix ``[quotients, m]`` of rank one."""
        n_rows, width = table.shape
        m = self.remainders or math.isqrt(n_rows - 1) + 1
        n_quotients = -(-n_rows // m)
        whole = np.zeros((n_quotients * m, width))
        whole[:n_rows] = table
        grid = whole.reshape(n_quotients, m, width)
        known = (np.arange(n_quotients * m) < n_rows).reshape(n_quotients, m).astype(np.float64)
        right = host_stream(seed, "quotient and remainder").normal(size=(m, width))
        for _ in range(self.rounds):
            left = np.einsum("qmd,md->qd", grid, right) / (known @ right**2 + RIDGE)
            right = np.einsum("qmd,qd->md", grid, left) / (known.T @ left**2 + RIDGE)
        balance = np.sqrt((np.abs(left).max(axis=0) + RIDGE) / (np.abs(right).max(axis=0) + RIDGE))
        return Products((left / balance).astype(np.float32), (right * balance).astype(np.float32), n_rows)


@dataclass(frozen=True)
class Hashing:
    """Each row is a weighted sum of ``n_probes`` rows of a smaller table, chosen by hashes of its number.

    Bytes: ``4 (n_buckets width + rows n_probes)``.

    Args:
        share: Rows of the smaller table as a share of the item table's, in (0, 1).
        n_probes: Rows that add up, at least 1.
        rounds: How often the table and the weights are fitted in turn, at least 1.

    Source: Svenstrup et al. (2017), Hash Embeddings.
    """

    share: float = 0.25
    n_probes: int = 2
    rounds: int = 10

    def __post_init__(self) -> None:
        check_ranges(self, "method", {"share": INSIDE_ONE, "n_probes": at_least(1), "rounds": at_least(1)})

    def __call__(self, params: Tree, *, seed: int) -> Tree:
        """Compress; arguments and errors as in the contract."""
        return with_table(params, partial(self.fit, seed=seed))

    def fit(self, table: Float32[np.ndarray, "rows width"], *, seed: int) -> Hashed:
        """Fit the small table and the weights in turn."""
        n_rows, width = table.shape
        n_buckets = max(1, round(self.share * n_rows))
        probe = probes(n_rows, self.n_probes, n_buckets=n_buckets, seed=seed)
        target = table.astype(np.float64)
        weight = host_stream(seed, "hashing").normal(size=probe.shape)
        small = np.zeros((n_buckets, width))
        for _ in range(self.rounds):
            small = _fit_table(target, probe, weight, small)
            chosen = small[probe]
            gram = np.einsum("rpw,rqw->rpq", chosen, chosen) + RIDGE * np.eye(self.n_probes)
            weight = np.linalg.solve(gram, np.einsum("rpw,rw->rp", chosen, target)[..., None])[..., 0]
        return Hashed(small.astype(np.float32), weight.astype(np.float32), seed)


def quotient_remainder(n_rows: int, m: int) -> tuple[Int64[np.ndarray, " rows"], Int64[np.ndarray, " rows"]]:
    """Give each row's place in the two tables.

    >>> [place.tolist() for place in quotient_remainder(5, 3)]
    [[0, 0, 0, 1, 1], [0, 1, 2, 0, 1]]
    """
    row = np.arange(n_rows)
    return row // m, row % m


def probes(n_rows: int, n_probes: int, *, n_buckets: int, seed: int) -> Int64[np.ndarray, "rows probes"]:
    """Give the rows of the small table that belong to each row, the same for ever: stored tables depend on them.

    >>> probes(2, 3, n_buckets=10, seed=0).shape
    (2, 3)
    """
    number = np.arange(n_rows * n_probes, dtype=np.uint64).reshape(n_rows, n_probes)
    mixed = number ^ np.uint64((name_hash("hash probes") << 32) ^ seed)
    # The finaliser of SplitMix64 (Steele et al., 2014).
    for shift, multiplier in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(multiplier)
    return ((mixed ^ (mixed >> np.uint64(31))) % np.uint64(n_buckets)).astype(np.int64)


def _fit_table(target: np.ndarray, probe: np.ndarray, weight: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Solve for the small table by conjugate gradients, every column by itself, from where it stands."""

    def back(rows: np.ndarray) -> np.ndarray:
        summed = np.zeros_like(start)
        for place, factor in zip(probe.T, weight.T, strict=True):
            np.add.at(summed, place, factor[:, None] * rows)
        return summed

    def normal(small: np.ndarray) -> np.ndarray:
        return back(np.einsum("rp,rpw->rw", weight, small[probe])) + RIDGE * small

    solution = start
    residual = back(target) - normal(start)
    direction, square = residual, (residual**2).sum(axis=0)
    for _ in range(30):
        image = normal(direction)
        length = square / np.maximum((direction * image).sum(axis=0), np.finfo(np.float64).tiny)
        solution, residual = solution + length * direction, residual - length * image
        before, square = square, (residual**2).sum(axis=0)
        direction = residual + square / np.maximum(before, np.finfo(np.float64).tiny) * direction
    return solution
