"""Causal attention (device)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

BLOCK = 128
"""Most queries whose scores are held together on a CPU; keys that lie after a block are not even multiplied."""


def causal_attention(
    query: Float[Array, "batch length heads head"],
    key: Float[Array, "batch length heads head"],
    value: Float[Array, "batch length heads head"],
) -> Float[Array, "batch length heads head"]:
    """Attend from every position to itself and the earlier ones.

    Sequences are filled from the left, so that no position before the last item sees padding and the causal mask is
    the only one needed. A CPU goes block by block and head by head, which keeps the scores in its cache and skips half
    of them in long histories; other devices take JAX's own form, in which XLA finds its fused kernels.

    Args:
        query: ``[batch, length, heads, head]``.
        key: Same shape.
        value: Same shape.

    Source: Vaswani et al. (2017), equation 1.
    """
    return jax.lax.platform_dependent(query, key, value, cpu=_by_blocks, default=_whole)


def _whole(query: Array, key: Array, value: Array) -> Array:
    return jax.nn.dot_product_attention(query, key, value, is_causal=True)


def _by_blocks(query: Array, key: Array, value: Array) -> Array:
    length, heads = query.shape[1:3]
    size = -(-length // -(-length // BLOCK))
    mixed = [
        jnp.concatenate(
            [
                _attend(query[:, i : i + size, head], key[:, : i + size, head], value[:, : i + size, head])
                for i in range(0, length, size)
            ],
            axis=1,
        )
        for head in range(heads)
    ]
    return jnp.stack(mixed, axis=2)


def _attend(query: Array, key: Array, value: Array) -> Array:
    """Attend from the last queries of a history to all its keys, ``[batch, queries or keys, head]``."""
    n_queries, n_keys = query.shape[1], key.shape[1]
    query *= jnp.asarray(query.shape[-1] ** -0.5, query.dtype)
    scores = jnp.einsum("bqd,bkd->bqk", query, key, preferred_element_type=jnp.float32)
    allowed = jnp.tril(jnp.ones((n_queries, n_keys), bool), n_keys - n_queries)
    weights = jax.nn.softmax(jnp.where(allowed, scores, jnp.finfo(scores.dtype).min), axis=-1)
    return jnp.einsum("bqk,bkd->bqd", weights.astype(value.dtype), value)
