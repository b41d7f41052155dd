"""Pointwise attention (device): every key counts by itself, without a softmax among them."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from curriculum_rec.models import attention
from curriculum_rec.models.attention import may_look


def pointwise_attention(
    query: Float[Array, "batch length heads head"],
    key: Float[Array, "batch length heads head"],
    value: Float[Array, "batch length heads head"],
    *,
    bias: Float[Array, "rows one length length"],
) -> Float[Array, "batch length heads head"]:
    """Compute the mean of ``silu(query key^T + bias) value`` over each position's own and the earlier keys.

    A CPU goes block by block and head by head, as softmax attention does there.

    Args:
        query: ``[batch, length, heads, head]``.
        key: Same shape.
        value: Same shape.
        bias: ``[1 or batch, 1, length, length]``, the same for all heads.

    Source: Zhai et al. (2024), equation 2.
    """
    return jax.lax.platform_dependent(query, key, value, bias, cpu=_by_blocks, default=_whole)


def _whole(query: Array, key: Array, value: Array, bias: Array) -> Array:
    length = query.shape[1]
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key, preferred_element_type=jnp.float32)
    weights = jax.nn.silu(scores + jnp.broadcast_to(bias.astype(scores.dtype), scores.shape))
    weights = jnp.where(may_look(length, length, None, causal=True)[None], weights, 0)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", weights.astype(value.dtype), value)
    return mixed * _shares(0, length).astype(mixed.dtype)[None, :, None, None]


def _by_blocks(query: Array, key: Array, value: Array, bias: Array) -> Array:
    length, heads = query.shape[1:3]
    size = -(-length // -(-length // attention.BLOCK))
    one = partial(_block, size=size)
    mixed = [
        jnp.concatenate(
            [one(query[:, :, head], key[:, :, head], value[:, :, head], bias[:, 0], i) for i in range(0, length, size)],
            axis=1,
        )
        for head in range(heads)
    ]
    return jnp.stack(mixed, axis=2)


def _block(query: Array, key: Array, value: Array, bias: Array, start: int, *, size: int) -> Array:
    """Mix for the queries ``start`` to ``start + size`` of one head, ``[batch, size, head]``."""
    stop = min(start + size, query.shape[1])
    scores = jnp.einsum("bqd,bkd->bqk", query[:, start:stop], key[:, :stop], preferred_element_type=jnp.float32)
    scores += jnp.broadcast_to(bias[:, start:stop, :stop].astype(scores.dtype), scores.shape)
    weights = jnp.where(may_look(stop - start, stop, None, causal=True), jax.nn.silu(scores), 0)
    mixed = jnp.einsum("bqk,bkd->bqd", weights.astype(value.dtype), value[:, :stop])
    return mixed * _shares(start, stop).astype(mixed.dtype)[None, :, None]


def _shares(start: int, stop: int) -> Float[Array, " queries"]:
    """Give one over the number of keys that each query sees."""
    return 1 / jnp.arange(start + 1, stop + 1, dtype=jnp.float32)
