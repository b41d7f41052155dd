"""The highest entries of rows (device)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32


def top_of_rows(
    scores: Float[Array, "rows columns"], k: int, *, block: int = 128
) -> tuple[Float[Array, "rows k"], Int32[Array, "rows k"]]:
    """Find the ``k`` highest of every row, of equal ones the first, as ``jax.lax.top_k`` does, but faster on a CPU.

    They lie in the ``k`` blocks of columns with the highest maxima: before an entry of any other block stand the
    highest entries of those.

    Args:
        scores: ``[rows, columns]``.
        k: At most ``columns``.
        block: Columns of a block.

    Returns:
        Values and columns, highest first.
    """
    n_rows, n_columns = scores.shape
    padded = jnp.pad(scores, ((0, 0), (0, -n_columns % block)), constant_values=-jnp.inf)
    blocks = padded.reshape(n_rows, -1, block)
    if blocks.shape[1] <= k:
        score, column = jax.lax.top_k(scores, k)
        return score, column
    chosen = jnp.sort(jax.lax.top_k(blocks.max(axis=2), k)[1], axis=1)
    candidates = jnp.take_along_axis(blocks, chosen[:, :, None], axis=1).reshape(n_rows, -1)
    score, place = jax.lax.top_k(candidates, k)
    column = jnp.take_along_axis(chosen, place // block, axis=1) * block + place % block
    return score, column.astype(jnp.int32)
