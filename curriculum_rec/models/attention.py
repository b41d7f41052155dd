"""Causal attention (device)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

TILE = 8
"""Examples whose scores are held at once when histories are long: a tile then stays in a CPU's cache."""
TILE_FROM_LENGTH = 64


def causal_attention(
    query: Float[Array, "batch length heads head"],
    key: Float[Array, "batch length heads head"],
    value: Float[Array, "batch length heads head"],
) -> Float[Array, "batch length heads head"]:
    """Attend from every position to itself and the earlier ones.

    Sequences are filled from the left, so that no position before the last item sees padding and the causal mask is
    the only one needed.

    Args:
        query: ``[batch, length, heads, head]``.
        key: Same shape.
        value: Same shape.

    Source: Vaswani et al. (2017), equation 1.
    """
    batch, length = query.shape[:2]
    if length <= TILE_FROM_LENGTH or batch % TILE:
        return _attend(query, key, value)
    tiles = tuple(array.reshape(batch // TILE, TILE, *array.shape[1:]) for array in (query, key, value))
    # Scores are computed again in the backward pass rather than kept: [batch, heads, length, length] would not fit.
    mixed = jax.lax.map(jax.checkpoint(lambda tile: _attend(*tile)), tiles)
    return mixed.reshape(query.shape)


def _attend(query: Array, key: Array, value: Array) -> Array:
    length, size = query.shape[1], query.shape[-1]
    scores = jnp.einsum("bqhd,bkhd->bhqk", query * jnp.asarray(size**-0.5, query.dtype), key)
    allowed = jnp.tril(jnp.ones((length, length), bool))
    weights = jax.nn.softmax(jnp.where(allowed, scores, jnp.finfo(scores.dtype).min), axis=-1)
    return jnp.einsum("bhqk,bkhd->bqhd", weights, value)
