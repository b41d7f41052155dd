"""Where items stand (device): positions counted from the end, turned vectors, biases by distance."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int32

from curriculum_rec.models.axes import HEADS, POSITIONS, Axis

Positions = Literal["learnt", "rotary", "relative"]
"""How a Transformer knows where items stand: a learnt vector for every place counted from the end; queries and keys
that are turned by their place; or a learnt bias of the scores for every distance, head by head."""

ROTARY_BASE = 10_000.0


def recency_positions(history: Int32[Array, "batch length"], max_length: int) -> Int32[Array, "batch length"]:
    """Number positions from the end, so that the last item always has position ``max_length - 1``.

    >>> recency_positions(jnp.array([[5, 6, 0]]), 10).tolist()
    [[8, 9, 0]]
    """
    length = (history > 0).sum(axis=1, keepdims=True, dtype=jnp.int32)
    index = jnp.arange(history.shape[1], dtype=jnp.int32)[None, :]
    return jnp.where(index < length, max_length - length + index, 0)


def rotate(x: Float[Array, "batch length heads head"]) -> Float[Array, "batch length heads head"]:
    """Turn every pair of entries by an angle that grows with the position, so that products feel distances alone.

    Args:
        x: Queries or keys; entry i makes a pair with entry ``head / 2 + i``.

    Source: Su et al. (2021), RoFormer, equation 34, in the arrangement of GPT-NeoX.
    """
    length, half = x.shape[1], x.shape[-1] // 2
    speed = ROTARY_BASE ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angle = jnp.arange(length, dtype=jnp.float32)[:, None] * speed[None, :]
    cos, sin = (f(angle).astype(x.dtype)[None, :, None, :] for f in (jnp.cos, jnp.sin))
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


class RelativeBias(nnx.Module):
    """A learnt bias of attention scores for every distance, head by head.

    The tables end with distance 0, so that longer histories, whose new entries come first, keep what was learnt.

    Args:
        n_heads: Attention heads.
        max_length: Positions of the longest sequence.
        both_ways: Whether positions also look at later ones, whose distances have a table of their own.
        rngs: Random streams for the initial values.

    Source: Shaw et al. (2018); as a bias of scores Raffel et al. (2020), here without their buckets of distances.
    """

    def __init__(self, n_heads: int, max_length: int, *, both_ways: bool, rngs: nnx.Rngs) -> None:
        def table() -> nnx.Param[Array]:
            return nnx.Param(0.02 * jax.random.normal(rngs.params(), (n_heads, max_length)))

        self.before = table()
        self.after = table() if both_ways else None
        self.sizes = n_heads, max_length

    def __call__(self, length: int) -> Float[Array, "one heads length length"]:
        """Give the biases of a sequence's scores, ``[1, heads, queries, keys]``."""
        position = jnp.arange(length, dtype=jnp.int32)
        distance = position[:, None] - position[None, :]
        last = self.sizes[1] - 1
        bias = self.before[...][:, last - jnp.maximum(distance, 0)]
        if self.after is not None:
            later = self.after[...][:, last - jnp.maximum(-distance, 0)]
            bias = jnp.where(distance[None] >= 0, bias, later)
        return bias[None]

    def axes(self, heads: str = HEADS) -> dict[str, Any]:
        """Name the axes of the tables, whose first has a label of the model's own."""
        axes = Axis(heads, self.sizes[0]), Axis(POSITIONS, self.sizes[1])
        return {"before": axes} if self.after is None else {"before": axes, "after": axes}
