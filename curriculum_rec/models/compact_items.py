"""Item tables that are smaller than the catalogue (device): items share rows, and are trained so from the start."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int32

from curriculum_rec.models.axes import ITEM_BUCKETS, PROBES, QUOTIENTS, REMAINDERS, ROWS, STREAM, Axis
from curriculum_rec.models.batch import scramble
from curriculum_rec.models.items import INITIAL, ItemVectors, n_rows
from curriculum_rec.models.touched import rows_of
from curriculum_rec.ranges import ABOVE_0_TO_1, at_least, check_ranges
from curriculum_rec.streams import name_hash


@runtime_checkable
class CompactItems(Protocol):
    """Options of a compact item table."""

    def __call__(self, n_items: int, width: int, *, cosine_scale: float | None, rngs: nnx.Rngs) -> ItemVectors:
        """Build the table."""
        ...


@dataclass(frozen=True)
class QuotientRemainder:
    """Options of a table whose row ``i`` is the product of row ``i div m`` of one and row ``i mod m`` of another.

    Parameters: ``(rows / m + m) width``, the first rounded up, instead of ``rows width``. No two items share both rows.

    Args:
        remainders: ``m``, at least 2; None takes the root of ``rows``, rounded up, which is smallest.

    Source: Shi et al. (2020), "Compositional embeddings using complementary partitions", with multiplication.
    """

    remainders: int | None = None

    def __post_init__(self) -> None:
        check_ranges(self, "model.item_table", {"remainders": at_least(2).or_null()})

    def __call__(
        self, n_items: int, width: int, *, cosine_scale: float | None, rngs: nnx.Rngs
    ) -> QuotientRemainderTable:
        """Build the table."""
        m = self.remainders or math.isqrt(n_rows(n_items) - 1) + 1
        return QuotientRemainderTable(n_items, width, remainders=m, cosine_scale=cosine_scale, rngs=rngs)


@dataclass(frozen=True)
class Hashed:
    """Options of a table whose rows are weighted sums of rows of a smaller one, chosen by hashes of their numbers.

    Parameters: ``share rows width`` for the smaller table and ``n_probes rows`` for the weights, instead of
    ``rows width``.

    Args:
        share: Rows of the smaller table as a share of ``rows``, in (0, 1].
        n_probes: Rows that add up, at least 1.

    Source: Svenstrup et al. (2017), "Hash embeddings for efficient word representations".
    """

    share: float = 0.25
    n_probes: int = 2

    def __post_init__(self) -> None:
        check_ranges(self, "model.item_table", {"share": ABOVE_0_TO_1, "n_probes": at_least(1)})

    def __call__(self, n_items: int, width: int, *, cosine_scale: float | None, rngs: nnx.Rngs) -> HashedTable:
        """Build the table."""
        buckets = max(1, round(self.share * n_rows(n_items)))
        return HashedTable(
            n_items, width, buckets=buckets, n_probes=self.n_probes, cosine_scale=cosine_scale, rngs=rngs
        )


class QuotientRemainderTable(ItemVectors):
    """See :class:`QuotientRemainder`.

    Args:
        n_items: Size of the catalogue.
        width: Size of a vector.
        remainders: Rows of the second table.
        cosine_scale: As in every item table.
        rngs: Random streams for the initial values; products have the spread of a full table's.
    """

    def __init__(
        self, n_items: int, width: int, *, remainders: int, cosine_scale: float | None, rngs: nnx.Rngs
    ) -> None:
        super().__init__(n_items, cosine_scale=cosine_scale)
        quotients = -(-n_rows(n_items) // remainders)
        spread = INITIAL**0.5
        self.quotient = nnx.Param(spread * jax.random.normal(rngs.params(), (quotients, width)))
        self.remainder = nnx.Param(spread * jax.random.normal(rngs.params(), (remainders, width)))

    def rows(self, items: Int32[Array, "*shape"] | None) -> Float[Array, "*rows width"]:
        """Multiply the rows that belong together."""
        quotient, remainder = self.quotient[...], self.remainder[...]
        if items is None:
            grid = quotient[:, None, :] * remainder[None, :, :]
            return grid.reshape(-1, grid.shape[-1])[: n_rows(self.n_items)]
        return rows_of(quotient, items // len(remainder)) * rows_of(remainder, items % len(remainder))

    def own_axes(self) -> dict[str, tuple[Axis, ...]]:
        """Name the axes of both tables, whose products make vectors of the residual stream."""
        (quotients, width), remainders = self.quotient.shape, self.remainder.shape[0]
        return {
            "quotient": (Axis(QUOTIENTS, quotients), Axis(STREAM, width)),
            # With zeros on both sides of a product, neither would ever get a gradient.
            "remainder": (Axis(REMAINDERS, remainders), Axis(STREAM, width, kind="factor")),
        }


class HashedTable(ItemVectors):
    """See :class:`Hashed`.

    Args:
        n_items: Size of the catalogue.
        width: Size of a vector.
        buckets: Rows of the smaller table.
        n_probes: Rows that add up.
        cosine_scale: As in every item table.
        rngs: Random streams for the initial values; sums have the spread of a full table's rows.
    """

    def __init__(
        self,
        n_items: int,
        width: int,
        *,
        buckets: int,
        n_probes: int,
        cosine_scale: float | None,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(n_items, cosine_scale=cosine_scale)
        self.table = nnx.Param(INITIAL / n_probes**0.5 * jax.random.normal(rngs.params(), (buckets, width)))
        self.weight = nnx.Param(jnp.ones((n_rows(n_items), n_probes)))

    def rows(self, items: Int32[Array, "*shape"] | None) -> Float[Array, "*rows width"]:
        """Add up the rows that belong together."""
        table, weight = self.table[...], self.weight[...]
        if items is None:
            items = jnp.arange(len(weight), dtype=jnp.int32)
        chosen = probes(items, weight.shape[1], n_buckets=len(table))
        share = rows_of(weight, items)
        summed = share[..., 0, None] * rows_of(table, chosen[..., 0])
        for probe in range(1, weight.shape[1]):
            summed += share[..., probe, None] * rows_of(table, chosen[..., probe])
        return summed

    def own_axes(self) -> dict[str, tuple[Axis, ...]]:
        """Name the axes of the table, whose sums make vectors of the residual stream, and of the weights."""
        (buckets, width), (rows, n_probes) = self.table.shape, self.weight.shape
        return {
            "table": (Axis(ITEM_BUCKETS, buckets), Axis(STREAM, width)),
            "weight": (Axis(ROWS, rows), Axis(PROBES, n_probes)),
        }


def probes(items: Int32[Array, "*shape"], n_probes: int, *, n_buckets: int) -> Int32[Array, "*shape n_probes"]:
    """Give the rows of the smaller table that belong to items, the same for ever: checkpoints depend on them.

    >>> probes(jnp.array([1, 2]), 2, n_buckets=10).shape
    (2, 2)
    """
    number = items[..., None].astype(jnp.uint32) * jnp.uint32(n_probes)
    number += jnp.arange(n_probes, dtype=jnp.uint32).reshape(*(1,) * items.ndim, -1)
    mixed = scramble(number ^ scramble(jnp.uint32(name_hash("item probes"))))
    return (mixed % jnp.uint32(n_buckets)).astype(jnp.int32)
