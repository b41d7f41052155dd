"""Features as a model takes them in (device): numbers as they are, codes by a vector each."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int32

from curriculum_rec.data.features.schema import Schema, dense_width
from curriculum_rec.models.axes import CODES, EMBEDDING, Axis
from curriculum_rec.models.batch import Batch
from curriculum_rec.models.touched import rows_of

UNROLL_UP_TO = 8
"""Codes of a feature up to which its columns are unrolled."""


class FieldVectors(nnx.Module):
    """A vector for each code of each feature, in one table; several values, or a history, have the mean of theirs.

    The rows of code 0 begin at 0, so that an unknown value says nothing until training has met some.
    Parameters: ``width`` times the sum of the sizes of categorical fields; a history has the rows of its item.

    Args:
        schema: The features.
        width: Size of a vector.
        scale: Standard deviation of the initial values.
        rngs: Random streams for these.
    """

    def __init__(self, schema: Schema, width: int, *, scale: float, rngs: nnx.Rngs) -> None:
        fields = [field for field in schema if field.kind != "dense"]
        begins: list[int] = []
        size = 0
        for field in fields:
            is_own = field.kind != "history"
            begins.append(size if is_own else begins[-1])
            size += field.size if is_own else 0
        self.begin = tuple(begin for begin, field in zip(begins, fields, strict=True) for _ in range(field.length))
        self.lengths = tuple(field.length for field in fields)
        self.is_single = tuple(field.length == 1 and field.kind != "history" for field in fields)
        self.width = width
        if fields:  # a checkpoint cannot hold an empty array
            vectors = scale * jax.random.normal(rngs.params(), (size, width))
            self.embedding = nnx.Param(vectors.at[jnp.array(begins, jnp.int32)].set(0))

    @property
    def n_fields(self) -> int:
        """Categorical features."""
        return len(self.lengths)

    def __call__(self, codes: Int32[Array, "batch columns"]) -> Float[Array, "batch fields width"]:
        """Give the vector of every categorical feature."""
        if not self.lengths:
            return jnp.zeros((len(codes), 0, self.width))
        means = [
            part if is_single else known_mean(part, known)
            for (part, known), is_single in zip(self.parts(codes), self.is_single, strict=True)
        ]
        return jnp.concatenate(means, axis=1)

    def parts(
        self, codes: Int32[Array, "batch columns"]
    ) -> list[tuple[Float[Array, "batch length width"], Bool[Array, "batch length"]]]:
        """Give the vectors of all codes of every feature, and which of them are known."""
        if not self.lengths:
            return []
        vectors = rows_of(self.embedding[...], codes + jnp.array(self.begin, jnp.int32)[None, :])
        ends = list(accumulate(self.lengths))[:-1]
        return list(zip(jnp.split(vectors, ends, axis=1), jnp.split(codes > 0, ends, axis=1), strict=True))

    def total(self, codes: Int32[Array, "rows columns"]) -> Float[Array, "rows width"]:
        """Add the vectors of all features up, column by column: ``[rows, fields, width]`` is never held."""
        vectors, begin = self.embedding[...], 0
        total = jnp.zeros((len(codes), self.width), vectors.dtype)
        for length, is_single in zip(self.lengths, self.is_single, strict=True):
            part, first = codes[:, begin : begin + length], self.begin[begin]
            known = (part > 0).astype(vectors.dtype)
            mean = known / jnp.maximum(known.sum(axis=1, keepdims=True), 1)
            share = jnp.ones_like(known) if is_single else mean

            def add(total: Array, column: tuple[Array, Array], first: int = first) -> tuple[Array, None]:
                code, share = column
                return total + share[:, None] * rows_of(vectors, code + first), None

            total = jax.lax.scan(add, total, (part.T, share.T), unroll=length <= UNROLL_UP_TO)[0]
            begin += length
        return total

    def axes(self, *, codes: str = CODES, units: str = EMBEDDING) -> dict[str, Any]:
        """Name the axes of the table.

        Args:
            codes: Label of its rows.
            units: Label of its columns.
        """
        if not self.lengths:
            return {}
        n_codes, width = self.embedding.shape
        return {"embedding": (Axis(codes, n_codes), Axis(units, width))}


def known_mean(
    vectors: Float[Array, "batch length width"], known: Bool[Array, "batch length"]
) -> Float[Array, "batch one width"]:
    """Give the mean of those vectors whose code is known, zeros where none is."""
    weight = known[:, :, None].astype(vectors.dtype)
    return (vectors * weight).sum(axis=1, keepdims=True) / jnp.maximum(weight.sum(axis=1, keepdims=True), 1)


class FeatureVectors(nnx.Module):
    """All features of a row as vectors of one width: that of each code, and for each number it times a vector.

    Parameters: ``(d + codes) width``, where ``d`` are the numbers and ``codes`` the sizes of categorical features.

    Args:
        schema: The features.
        width: Size of a vector.
        rngs: Random streams for the initial values.

    Source: Rendle (2010), section III: a feature enters a factorisation machine as its value times its vector.
    """

    def __init__(self, schema: Schema, width: int, *, rngs: nnx.Rngs) -> None:
        self.vectors = FieldVectors(schema, width, scale=0.05, rngs=rngs)
        n_dense = dense_width(schema)
        self.numbers = nnx.Param(0.05 * jax.random.normal(rngs.params(), (n_dense, width))) if n_dense else None
        self.n_features = n_dense + self.vectors.n_fields

    def __call__(self, batch: Batch) -> Float[Array, "batch features width"]:
        """Give the vectors of each row, numbers first."""
        vectors = self.vectors(batch["categorical"])
        if self.numbers is None:
            return vectors
        table = self.numbers[...]
        numbers = batch["dense"].astype(table.dtype)[:, :, None] * table[None]
        return jnp.concatenate([numbers, vectors.astype(table.dtype)], axis=1)
