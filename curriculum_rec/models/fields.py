"""Features as a model takes them in (device): numbers as they are, codes by a vector each."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int32

from curriculum_rec.data.features.schema import Schema, dense_width
from curriculum_rec.models.batch import Batch

UNROLL_UP_TO = 8
"""Codes of a feature up to which its columns are unrolled."""


class FieldVectors(nnx.Module):
    """A vector for each code of each feature, in one table; a multi-valued feature has the mean of its own.

    The rows of code 0 begin at 0, so that an unknown value says nothing until training has met some.
    Parameters: ``width`` times the sum of the sizes of categorical fields.

    Args:
        schema: The features.
        width: Size of a vector.
        scale: Standard deviation of the initial values.
        rngs: Random streams for these.
    """

    def __init__(self, schema: Schema, width: int, *, scale: float, rngs: nnx.Rngs) -> None:
        fields = [field for field in schema if field.kind != "dense"]
        begins = [sum(field.size for field in fields[:number]) for number in range(len(fields))]
        self.begin = tuple(begin for begin, field in zip(begins, fields, strict=True) for _ in range(field.length))
        self.lengths = tuple(field.length for field in fields)
        self.width = width
        if fields:  # a checkpoint cannot hold an empty array
            vectors = scale * jax.random.normal(rngs.params(), (sum(field.size for field in fields), width))
            self.embedding = nnx.Param(vectors.at[jnp.array(begins, jnp.int32)].set(0))

    @property
    def n_fields(self) -> int:
        """Categorical features."""
        return len(self.lengths)

    def __call__(self, codes: Int32[Array, "batch columns"]) -> Float[Array, "batch fields width"]:
        """Give the vector of every categorical feature."""
        if not self.lengths:
            return jnp.zeros((len(codes), 0, self.width))
        vectors = self.embedding[...][codes + jnp.array(self.begin, jnp.int32)[None, :]]
        parts, begin = [], 0
        for length in self.lengths:
            part = vectors[:, begin : begin + length]
            if length > 1:
                known = (codes[:, begin : begin + length, None] > 0).astype(part.dtype)
                part = (part * known).sum(axis=1, keepdims=True) / jnp.maximum(known.sum(axis=1, keepdims=True), 1)
            parts.append(part)
            begin += length
        return jnp.concatenate(parts, axis=1)

    def total(self, codes: Int32[Array, "rows columns"]) -> Float[Array, "rows width"]:
        """Add the vectors of all features up, column by column: ``[rows, fields, width]`` is never held."""
        vectors, begin = self.embedding[...], 0
        total = jnp.zeros((len(codes), self.width), vectors.dtype)
        for length in self.lengths:
            part, first = codes[:, begin : begin + length], self.begin[begin]
            known = (part > 0).astype(vectors.dtype)
            share = known / jnp.maximum(known.sum(axis=1, keepdims=True), 1) if length > 1 else jnp.ones_like(known)

            def add(total: Array, column: tuple[Array, Array], first: int = first) -> tuple[Array, None]:
                code, share = column
                return total + share[:, None] * vectors[code + first], None

            total = jax.lax.scan(add, total, (part.T, share.T), unroll=length <= UNROLL_UP_TO)[0]
            begin += length
        return total


class FeatureInput(nnx.Module):
    """All features of a row as one vector: the numbers, then the vectors of codes.

    Args:
        schema: The features.
        embedding_width: Size of the vector of a code.
        rngs: Random streams for the initial values.
    """

    def __init__(self, schema: Schema, embedding_width: int, *, rngs: nnx.Rngs) -> None:
        self.vectors = FieldVectors(schema, embedding_width, scale=0.05, rngs=rngs)
        self.width = dense_width(schema) + self.vectors.n_fields * embedding_width

    def __call__(self, batch: Batch) -> Float[Array, "batch width"]:
        """Put the features of each row side by side."""
        vectors = self.vectors(batch["categorical"])
        return jnp.concatenate([batch["dense"].astype(vectors.dtype), vectors.reshape(len(vectors), -1)], axis=1)
