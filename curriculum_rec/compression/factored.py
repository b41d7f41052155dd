"""The item table as a product of two thin matrices (host)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from curriculum_rec.compression.contract import Form, with_table
from curriculum_rec.errors import OptionError
from curriculum_rec.models.structure import Tree
from curriculum_rec.ranges import INSIDE_ONE, at_least, check_ranges


@dataclass(frozen=True)
class Factors(Form):
    """A product.

    Attributes:
        left: float32 ``[rows, rank]``.
        right: float32 ``[rank, width]``.
    """

    left: Float32[np.ndarray, "rows rank"]
    right: Float32[np.ndarray, "rank width"]

    def dense(self) -> np.ndarray:
        """Multiply."""
        return self.left @ self.right


@dataclass(frozen=True)
class LowRank:
    """The item table's best approximation of a rank, by its singular values.

    Bytes: ``4 rank (rows + width)``.

    Args:
        rank: Singular values kept, at least 1; exactly one of this and ``energy`` is given.
        energy: Share of the sum of squared singular values that those kept make up at least, in (0, 1).

    Source: Eckart and Young (1936): the squared error is the sum of the squared singular values left out.
    """

    rank: int | None = None
    energy: float | None = 0.9

    def __post_init__(self) -> None:
        if (self.rank is None) == (self.energy is None):
            raise OptionError(
                f"method.rank={_show(self.rank)} and method.energy={_show(self.energy)}: give exactly one of them, "
                "null for the other"
            )
        check_ranges(self, "method", {"rank": at_least(1).or_null(), "energy": INSIDE_ONE.or_null()})

    def __call__(self, params: Tree, *, seed: int) -> Tree:
        """Compress; arguments and errors as in the contract."""
        del seed
        return with_table(params, self.factorise)

    def factorise(self, table: Float32[np.ndarray, "rows width"]) -> Factors:
        """Cut the singular values of a table."""
        left, values, right = np.linalg.svd(table.astype(np.float64), full_matrices=False)
        rank = self.rank or rank_for_energy(values, self.energy or 1.0)
        if rank > len(values):
            raise OptionError(f"method.rank={rank}: the item table has {len(values)} singular values: lower it")
        kept = left[:, :rank] * values[:rank]
        return Factors(kept.astype(np.float32), right[:rank].astype(np.float32))


def rank_for_energy(values: np.ndarray, energy: float) -> int:
    """Say how many singular values make up a share of the sum of their squares.

    Args:
        values: Singular values, falling.
        energy: The share.

    >>> rank_for_energy(np.array([3.0, 2.0, 1.0]), 0.9), rank_for_energy(np.array([3.0, 2.0, 1.0]), 0.93)
    (2, 3)
    """
    share = np.cumsum(values**2) / max(float((values**2).sum()), np.finfo(np.float64).tiny)
    return min(int(np.searchsorted(share, energy)) + 1, len(values))


def _show(value: float | None) -> str:
    return "null" if value is None else str(value)
