"""The item table (device): input vectors of the history and output vectors of the candidates, tied."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int32

from curriculum_rec.errors import OptionError
from curriculum_rec.models.axes import ROWS, STREAM, Axis
from curriculum_rec.models.entity_features import EntityVectors
from curriculum_rec.models.touched import rows_of, whole_table

ROW_MULTIPLE = 128
"""The table's rows are filled up to a multiple of this, so that 1, 2, 4, ... 128 devices can share them equally, and
rows of scores begin where vector units and accelerators' tiles do."""


def n_rows(n_items: int) -> int:
    """Give the rows of a table: padding, the items, one for a hidden item, and what fills it up.

    >>> n_rows(126), n_rows(127)
    (128, 256)
    """
    return -(-(n_items + 2) // ROW_MULTIPLE) * ROW_MULTIPLE


INITIAL = 0.02
"""Standard deviation of the initial vectors' numbers."""


class ItemVectors(nnx.Module):
    """What all item tables share: input vectors of the history and output vectors of the candidates are the same.

    Args:
        n_items: Size of the catalogue.
        cosine_scale: None scores by the inner product; a number scores by that number times the cosine.

    Attributes:
        features: What is added for the features of items, once a model has set it; None adds nothing.
    """

    features: EntityVectors | None = None

    def __init__(self, n_items: int, *, cosine_scale: float | None) -> None:
        if cosine_scale is not None and not cosine_scale > 0:
            raise OptionError(f"model.cosine_scale={cosine_scale}: it must be above 0, or null for the inner product")
        self.n_items = n_items
        self.cosine_scale = cosine_scale

    def rows(self, items: Int32[Array, "*shape"] | None) -> Float[Array, "*rows width"]:
        """Give the vectors of some items, or of all rows."""
        raise NotImplementedError

    def own_axes(self) -> dict[str, tuple[Axis, ...]]:
        """Name the axes of the parameters but for those of features."""
        raise NotImplementedError

    def axes(self) -> dict[str, Any]:
        """Name the axes of the parameters."""
        axes: dict[str, Any] = self.own_axes()
        return axes if self.features is None else axes | {"features": self.features.axes()}

    @jax.named_scope("embedding")
    def embed(self, items: Int32[Array, "*shape"]) -> Float[Array, "*shape width"]:
        """Give the input vectors."""
        vectors = self.rows(items)
        return vectors if self.features is None else vectors + self.features(items).astype(vectors.dtype)

    def all(self) -> Float[Array, "rows width"]:
        """Give the input vectors of all rows of the table."""
        table = self.rows(None)
        return table if self.features is None else table + self.features.all(len(table)).astype(table.dtype)

    def vectors(self, items: Int32[Array, "*shape"] | None = None) -> Float[Array, "*rows width"]:
        """Give the output vectors of some items, or of all rows of the table."""
        chosen = self.all() if items is None else self.embed(items)
        return chosen if self.cosine_scale is None else normalise(chosen)

    def queries(self, hidden: Float[Array, "*shape width"]) -> Float[Array, "*shape width"]:
        """Turn a model's last layer into user vectors, whose inner product with :meth:`vectors` is the score."""
        return hidden if self.cosine_scale is None else self.cosine_scale * normalise(hidden)


class ItemTable(ItemVectors):
    """One vector an item; row 0 is padding, row ``n_items + 1`` may stand for a hidden item, and the rest is filling.

    Args:
        n_items: Size of the catalogue.
        width: Size of a vector.
        cosine_scale: None scores by the inner product; a number scores by that number times the cosine.
        rngs: Random streams for the initial values.
    """

    def __init__(self, n_items: int, width: int, *, cosine_scale: float | None, rngs: nnx.Rngs) -> None:
        super().__init__(n_items, cosine_scale=cosine_scale)
        vectors = INITIAL * jax.random.normal(rngs.params(), (n_items + 1, width))
        self.embedding = nnx.Param(jnp.pad(vectors, ((0, n_rows(n_items) - len(vectors)), (0, 0))))

    def own_axes(self) -> dict[str, tuple[Axis, ...]]:
        """Name the axes of the table, whose rows make vectors of the residual stream."""
        rows, width = self.embedding.shape
        return {"embedding": (Axis(ROWS, rows), Axis(STREAM, width))}

    def rows(self, items: Int32[Array, "*shape"] | None) -> Float[Array, "*rows width"]:
        """Give the vectors of some items, or of all rows."""
        table = self.embedding[...]
        return whole_table(table) if items is None else rows_of(table, items)


def is_candidate(n_rows: int, n_items: int) -> Bool[Array, " rows"]:
    """Say which rows of a table are items: neither padding nor what fills it up.

    >>> is_candidate(4, 2).tolist()
    [False, True, True, False]
    """
    row = jnp.arange(n_rows, dtype=jnp.int32)
    return (row > 0) & (row <= n_items)


def normalise(x: Float[Array, "*shape width"]) -> Float[Array, "*shape width"]:
    """Scale vectors to length 1; a vector of zeros stays zero.

    >>> normalise(jnp.array([3.0, 4.0])).round(3).tolist()
    [0.6000000238418579, 0.800000011920929]
    """
    square = (x * x).sum(axis=-1, keepdims=True, dtype=jnp.float32)
    return x * jax.lax.rsqrt(square + jnp.float32(1e-8)).astype(x.dtype)
