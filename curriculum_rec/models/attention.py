"""Attention (device): every position mixes the values of those that it may look at."""

from __future__ import annotations

from functools import cache, partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

BLOCK = 128
"""Most queries whose scores are held together on a CPU; keys that lie after a block are not even multiplied."""

LARGEST_FUSED_HEAD = 128
"""cuDNN's fused kernel takes heads up to this size on every GPU that has it."""


def attention(
    query: Float[Array, "batch length heads head"],
    key: Float[Array, "batch length heads head"],
    value: Float[Array, "batch length heads head"],
    *,
    causal: bool = True,
    bias: Float[Array, "rows biased length length"] | None = None,
    n_keys: Int32[Array, " batch"] | None = None,
) -> Float[Array, "batch length heads head"]:
    """Compute ``softmax(query key^T / sqrt(head) + bias) value``, position by position.

    Sequences are filled from the left, so that no position before the last item sees padding where attention is causal,
    and the causal mask is the only one needed. A CPU goes block by block and head by head, which keeps the scores in
    its cache and skips half of them in long histories; other devices take JAX's own form. On an NVIDIA GPU that is
    cuDNN's fused kernel where it can be: 16-bit numbers, an even length, heads of a multiple of 8 up to 128, no bias.

    Args:
        query: ``[batch, length, heads, head]``.
        key: Same shape.
        value: Same shape.
        causal: Whether a position looks at itself and the earlier ones only.
        bias: ``[1 or batch, 1 or heads, length, length]``, added to the scores; None adds nothing.
        n_keys: int32 ``[batch]``, how many positions of each sequence may be looked at, from the left; None means all.

    Source: Vaswani et al. (2017), equation 1.
    """
    forms = {"cpu": partial(_by_blocks, causal), "default": partial(_whole, causal)}
    return jax.lax.platform_dependent(query, key, value, (bias, n_keys), **forms)


_Look = tuple[Array | None, Array | None]
"""The bias and the number of keys."""


def _whole(causal: bool, query: Array, key: Array, value: Array, look: _Look = (None, None)) -> Array:
    bias, n_keys = look
    fused = _has_fused_kernel() and bias is None and _fits_fused_kernel(query)
    return jax.nn.dot_product_attention(
        query,
        key,
        value,
        bias,
        is_causal=causal,
        key_value_seq_lengths=n_keys,
        implementation="cudnn" if fused else "xla",
    )


@cache
def _has_fused_kernel() -> bool:
    """Whether this machine's accelerator is a GPU of NVIDIA's, of the generation of the A100 or later."""
    if jax.default_backend() != "gpu":
        return False
    capability = str(getattr(jax.devices()[0], "compute_capability", ""))
    return capability.replace(".", "", 1).isdigit() and float(capability) >= 8


def _fits_fused_kernel(query: Array) -> bool:
    length, head = query.shape[1], query.shape[-1]
    suits = length % 2 == 0 and head % 8 == 0 and head <= LARGEST_FUSED_HEAD  # its gradient refuses odd lengths
    return suits and query.dtype in (jnp.bfloat16, jnp.float16)


def _by_blocks(causal: bool, query: Array, key: Array, value: Array, look: _Look = (None, None)) -> Array:
    bias, n_keys = look
    length, heads = query.shape[1:3]
    size = -(-length // -(-length // BLOCK))

    def block(head: int, start: int) -> Array:
        rows, keys = slice(start, start + size), slice(0, start + size if causal else length)
        own = None if bias is None else bias[:, min(head, bias.shape[1] - 1), rows, keys]
        look = own, n_keys
        return _attend(query[:, rows, head], key[:, keys, head], value[:, keys, head], look, causal=causal)

    mixed = [jnp.concatenate([block(head, start) for start in range(0, length, size)], axis=1) for head in range(heads)]
    return jnp.stack(mixed, axis=2)


def attention_map(
    query: Float[Array, "batch length heads head"],
    key: Float[Array, "batch length heads head"],
    *,
    causal: bool = True,
    bias: Float[Array, "rows biased length length"] | None = None,
    n_keys: Int32[Array, " batch"] | None = None,
) -> Float[Array, "batch length length"]:
    """Give what share of a position's look goes to each key, the mean of all heads; each row adds up to 1.

    :func:`attention` holds no such map, which is as large as the square of a history; this is for those who ask for it.

    Args:
        query: ``[batch, length, heads, head]``.
        key: Same shape.
        causal: As in :func:`attention`.
        bias: As in :func:`attention`.
        n_keys: As in :func:`attention`.

    Returns:
        float32 ``[batch, queries, keys]``.
    """
    heads = query.shape[2]

    def of_head(head: int) -> Array:
        own = None if bias is None else bias[:, min(head, bias.shape[1] - 1)]
        return _shares(query[:, :, head], key[:, :, head], (own, n_keys), causal=causal)

    return jnp.stack([of_head(head) for head in range(heads)]).mean(axis=0)


def _attend(query: Array, key: Array, value: Array, look: _Look, *, causal: bool) -> Array:
    """Attend from the last queries of a history to its keys, ``[batch, queries or keys, head]``."""
    weights = _shares(query, key, look, causal=causal)
    return jnp.einsum("bqk,bkd->bqd", weights.astype(value.dtype), value)


def _shares(query: Array, key: Array, look: _Look, *, causal: bool) -> Array:
    """Give how much of each key the last queries of a history take, float32 ``[batch, queries, keys]``."""
    bias, n_keys = look
    query *= jnp.asarray(query.shape[-1] ** -0.5, query.dtype)
    scores = jnp.einsum("bqd,bkd->bqk", query, key, preferred_element_type=jnp.float32)
    if bias is not None:
        scores += jnp.broadcast_to(bias.astype(scores.dtype), scores.shape)
    allowed = may_look(query.shape[1], key.shape[1], n_keys, causal=causal)
    return jax.nn.softmax(jnp.where(allowed, scores, jnp.finfo(scores.dtype).min), axis=-1)


def may_look(n_queries: int, n_keys: int, present: Int32[Array, " batch"] | None, *, causal: bool) -> Array:
    """Say which keys the last queries of a sequence may look at, bool ``[1 or batch, queries, keys]``.

    Args:
        n_queries: Queries, the last of which stands at the last key where attention is causal.
        n_keys: Keys.
        present: int32 ``[batch]``, how many keys there are in truth; None means all.
        causal: Whether later keys are left out.

    >>> may_look(1, 3, jnp.array([2]), causal=False).tolist()
    [[[True, True, False]]]
    """
    allowed = jnp.ones((1, n_queries, n_keys), bool)
    if causal:
        allowed = jnp.tril(allowed, n_keys - n_queries)
    if present is None:
        return allowed
    return allowed & (jnp.arange(n_keys, dtype=jnp.int32)[None, None, :] < present[:, None, None])
