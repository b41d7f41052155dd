"""Softmax over items block by block (device), for catalogues whose scores of even a few positions are too many to hold.

The normaliser is found in a first pass over the blocks, by a running maximum; a second pass makes the scores again and
sends their gradient back: four matrix products instead of the three that suffice where all scores are held. Of a table
that is spread over devices each goes through its own rows, and what they find is put together once.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from curriculum_rec.models.spread import n_shards, over_shards

SCORES_AT_ONCE = 2**26
"""Most scores that a device holds for one chunk of positions, 256 MiB; where there would be more, items come in
blocks."""
BLOCK_SCORES = 2**24
"""Scores of a block on a device, 64 MiB."""


def block_size(n_rows: int, chunk: int, wanted: int | None, shards: int = 1) -> int:
    """Say how many items are scored at once, equally many of every shard.

    Args:
        n_rows: Rows of the table.
        chunk: Positions at once.
        wanted: What a person wants; None takes all rows unless a device's scores are too many.
        shards: Over how many devices the rows are spread.

    >>> block_size(12_160, 256, None), block_size(1_000_064, 256, None), block_size(12_160, 256, 500)
    (12160, 65536, 500)
    >>> block_size(1_000_064, 256, None, 2), block_size(1_000_064, 256, None, 4), block_size(12_160, 256, 500, 8)
    (131072, 1000064, 504)
    """
    own = n_rows // shards
    if wanted is not None:
        size = -(-wanted // shards)
    else:
        size = own if chunk * own <= SCORES_AT_ONCE else max(BLOCK_SCORES // chunk, 1)
    return shards * min(own, size)


def normaliser(
    hidden: Float[Array, "chunk width"],
    vectors: Float[Array, "items width"],
    candidate: Bool[Array, " items"],
    size: int,
) -> tuple[Float[Array, " chunk"], Float[Array, " chunk"]]:
    """Give the highest score of each position, and the sum of ``exp(score - highest)`` over all candidates.

    Args:
        hidden: User vectors.
        vectors: Item vectors.
        candidate: Which items take part.
        size: Items at once, as :func:`block_size` says.
    """
    shards = n_shards(vectors)
    of_shard = size // shards

    def find(vectors: Array, candidate: Array) -> tuple[Array, Array]:
        def fold(number: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            highest, total = carry
            _, scores, _ = _scores(hidden, vectors, candidate, number, of_shard)
            higher = jnp.maximum(highest, scores.max(axis=-1))
            return higher, total * jnp.exp(highest - higher) + jnp.exp(scores - higher[:, None]).sum(axis=-1)

        lowest = jnp.full(len(hidden), jnp.finfo(jnp.float32).min, jnp.float32)
        result: tuple[Array, Array] = jax.lax.fori_loop(
            0, -(-len(vectors) // of_shard), fold, (lowest, jnp.zeros(len(hidden), jnp.float32))
        )
        return result

    def join(found: tuple[Array, Array]) -> tuple[Array, Array]:
        highest, total = found
        overall = highest.max(axis=0)
        return overall, (total * jnp.exp(highest - overall[None])).sum(axis=0)

    return over_shards(find, vectors, candidate, shards=shards, join=join)


def send_back(
    hidden: Float[Array, "chunk width"],
    vectors: Float[Array, "items width"],
    candidate: Bool[Array, " items"],
    size: int,
    *,
    highest: Float[Array, " chunk"],
    scale: Float[Array, " chunk"],
    gradient: Float[Array, "items width"],
) -> tuple[Float[Array, "chunk width"], Float[Array, "items width"]]:
    """Give the gradient of ``sum scale exp(score - highest)`` for hidden, and add that for vectors to ``gradient``."""
    shards = n_shards(vectors)
    of_shard = size // shards
    scaled = (scale[:, None] * hidden).astype(hidden.dtype)

    def send(vectors: Array, candidate: Array, gradient: Array) -> tuple[Array, Array]:
        def fold(number: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            for_hidden, for_vectors = carry
            begin, scores, block = _scores(hidden, vectors, candidate, number, of_shard)
            likelihood = jnp.exp(scores - highest[:, None]).astype(hidden.dtype)
            for_block = jnp.matmul(likelihood.T, scaled, preferred_element_type=jnp.float32)
            before = jax.lax.dynamic_slice_in_dim(for_vectors, begin, of_shard)
            for_vectors = jax.lax.dynamic_update_slice_in_dim(for_vectors, before + for_block, begin, 0)
            return for_hidden + jnp.matmul(likelihood, block, preferred_element_type=jnp.float32), for_vectors

        start = jnp.zeros(hidden.shape, jnp.float32), gradient
        result: tuple[Array, Array] = jax.lax.fori_loop(0, -(-len(vectors) // of_shard), fold, start)
        return result

    def join(found: tuple[Array, Array]) -> tuple[Array, Array]:
        return found[0].sum(axis=0), found[1].reshape(gradient.shape)

    for_hidden, gradient = over_shards(send, vectors, candidate, gradient, shards=shards, join=join)
    return scale[:, None] * for_hidden, gradient


def _scores(hidden: Array, vectors: Array, candidate: Array, number: Array, size: int) -> tuple[Array, Array, Array]:
    """Score one block; the last one begins early enough to be whole, and leaves out what the one before it had."""
    begin = jnp.minimum(number * size, len(vectors) - size)
    block = jax.lax.dynamic_slice_in_dim(vectors, begin, size)
    own = jax.lax.dynamic_slice_in_dim(candidate, begin, size) & (begin + jnp.arange(size) >= number * size)
    scores = jnp.matmul(hidden, block.T, preferred_element_type=jnp.float32)
    return begin, jnp.where(own[None, :], scores, -jnp.inf), block
