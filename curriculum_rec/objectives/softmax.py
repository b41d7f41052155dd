"""Full softmax over the catalogue (device), in chunks: ``[positions, items]`` is never held."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from curriculum_rec.data.task import Task
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.contract import Recommender
from curriculum_rec.models.items import is_candidate
from curriculum_rec.models.spread import n_shards
from curriculum_rec.objectives.item_blocks import block_size, normaliser, send_back
from curriculum_rec.objectives.losses import Losses, broadcast_weight
from curriculum_rec.ranges import at_least, check_ranges

Carry = TypeVar("Carry")


@dataclass(frozen=True)
class Softmax:
    """Cross-entropy of the target among all items.

    Positions that are padding or have weight 0 are not computed at all; their losses are 0.

    Args:
        chunk: Positions whose scores are held at once, at least 1; memory grows with it, not the result. None takes 256
            on a CPU, whose last cache a chunk's scores should not leave, and 4096 elsewhere.
        item_chunk: Items that are scored at once, at least 1; memory falls with it, not the result. None takes all
            where that is at most 2^26 scores a chunk and device, else blocks of 2^24, at the cost of a fourth matrix
            product. Of a table spread over devices, equally many of each.

    Source: the multinomial likelihood of Klenitskiy and Vasilev (2023) for SASRec.
    """

    TASK: ClassVar[Task] = "next_item"

    chunk: int | None = None
    item_chunk: int | None = None

    def __post_init__(self) -> None:
        check_ranges(self, "objective", dict.fromkeys(("chunk", "item_chunk"), at_least(1).or_null()))

    def __call__(self, model: Recommender, batch: Batch, rng: BatchRng) -> Losses:
        """Compute the losses, ``[batch, length]``."""
        hidden, target = model(batch, rng), batch["target"]
        mask = target > 0
        weight = jnp.where(mask, broadcast_weight(batch.weight, target), 0).reshape(-1)
        vectors = model.item_vectors()
        positions = Positions(hidden.reshape(-1, hidden.shape[-1]), target.reshape(-1), weight, weight > 0)
        candidates = Candidates(vectors, is_candidate(len(vectors), model.n_items))
        chunk = self.chunk or (256 if jax.default_backend() == "cpu" else 4096)
        losses = cross_entropy(positions, candidates, chunk=chunk, item_chunk=self.item_chunk)
        return Losses(losses.reshape(target.shape), mask)

    def scores_per_target(self, n_items: int) -> int:
        """All items."""
        return n_items


class Candidates(NamedTuple):
    """What positions are compared with, and how.

    Attributes:
        vectors: ``[items, width]``.
        candidate: bool ``[items]``; the others take no part.
    """

    vectors: Float[Array, "items width"]
    candidate: Bool[Array, " items"]


class Positions(NamedTuple):
    """Positions and what is asked of them.

    Attributes:
        hidden: ``[positions, width]``.
        target: int32 ``[positions]`` in ``[0, items)``.
        weight: float32 ``[positions]``, the weights with which the losses will probably be summed.
        needed: bool ``[positions]``; the others get the loss 0 and send nothing back.
    """

    hidden: Float[Array, "positions width"]
    target: Int32[Array, " positions"]
    weight: Float[Array, " positions"]
    needed: Bool[Array, " positions"]


def cross_entropy(
    positions: Positions, candidates: Candidates, *, chunk: int, item_chunk: int | None = None
) -> Float[Array, " positions"]:
    """Compute ``-log softmax(hidden @ vectors.T)[target]`` chunk by chunk, forward and backward.

    The gradient under ``weight`` is computed together with the losses, three matrix products instead of four. It is
    what a weighted sum or mean of the losses sends back; any other gradient, say of losses weighted anew by their own
    value, is computed from the start, so that the result is right in any case. As many chunks are computed as the
    needed positions fill: where they stand does not matter.

    Args:
        positions: What is asked.
        candidates: What may be the answer.
        chunk: Positions at once.
        item_chunk: Items at once; None decides by their number.

    Returns:
        float32 ``[positions]``.
    """
    chunk = min(chunk, len(positions.target))
    vectors = candidates.vectors
    sizes = Sizes(chunk, block_size(len(vectors), chunk, item_chunk, n_shards(vectors)))
    return _fused(sizes, positions, candidates)


class Sizes(NamedTuple):
    """How much is computed at once: positions, and items."""

    chunk: int
    block: int


@partial(jax.custom_vjp, nondiff_argnums=(0,))
@jax.named_scope("softmax")
def _fused(sizes: Sizes, positions: Positions, candidates: Candidates) -> Array:
    whole = sizes.block >= len(candidates.vectors)

    def one_chunk(index: Array, losses: Array) -> Array:
        asked = _rows(positions, index)
        loss = _chunk_losses(asked, candidates)[0] if whole else _block_losses(asked, candidates, sizes.block)[0]
        return losses.at[index].set(loss, mode="drop")

    return over_chunks(one_chunk, positions.needed, sizes.chunk, jnp.zeros(len(positions.target), jnp.float32))


def over_chunks(one_chunk: Callable[[Array, Carry], Carry], needed: Array, chunk: int, carry: Carry) -> Carry:
    """Fold over the numbers of the needed positions, ``chunk`` at a time; beyond the last stands an impossible one.

    What remains at the end is a half chunk where that suffices.
    """
    n, n_chunks, half = len(needed), -(-len(needed) // chunk), -(-chunk // 2)
    place = jnp.where(needed, jnp.cumsum(needed) - 1, n_chunks * chunk)
    index = jnp.full(n_chunks * chunk, n, jnp.int32).at[place].set(jnp.arange(n, dtype=jnp.int32), mode="drop")
    n_needed = needed.sum(dtype=jnp.int32)
    n_whole = (n_needed + chunk - half - 1) // chunk
    has_half = (n_needed > n_whole * chunk).astype(jnp.int32)
    for size, begin, count in ((chunk, 0, n_whole), (half, n_whole * chunk, has_half)):

        def fold(number: Array, carry: Carry, size: int = size, begin: Array | int = begin) -> Carry:
            return one_chunk(jax.lax.dynamic_slice_in_dim(index, begin + number * size, size), carry)

        carry = jax.lax.fori_loop(0, count, fold, carry)
    return carry


def _rows(positions: Positions, index: Array) -> Positions:
    return Positions(*(array.at[index].get(mode="fill", fill_value=0) for array in positions))


def _chunk_losses(positions: Positions, candidates: Candidates) -> tuple[Array, ...]:
    """Give the losses, and what their gradients need: ``exp(score - highest)``, its sum, the targets' vectors."""
    scores = jnp.where(candidates.candidate, dot(positions.hidden, candidates.vectors.T), -jnp.inf)
    highest = scores.max(axis=-1, keepdims=True)
    likelihood = jnp.exp(scores - highest)
    total = likelihood.sum(axis=-1)
    target_vectors = candidates.vectors[positions.target]
    target_score = (positions.hidden * target_vectors).sum(axis=-1, dtype=jnp.float32)
    return _above_0(jnp.log(total) + highest[:, 0] - target_score), likelihood, total, target_vectors


def _block_losses(positions: Positions, candidates: Candidates, size: int) -> tuple[Array, ...]:
    """Give the losses, highest scores, sums of ``exp(score - highest)`` and the targets' vectors, block by block."""
    highest, total = normaliser(positions.hidden, *candidates, size)
    target_vectors = candidates.vectors[positions.target]
    target_score = (positions.hidden * target_vectors).sum(axis=-1, dtype=jnp.float32)
    return _above_0(jnp.log(total) + highest - target_score), highest, total, target_vectors


def _above_0(losses: Float[Array, " chunk"]) -> Float[Array, " chunk"]:
    """Undo what rounding takes from a loss near 0, since the target's score is added up in another order."""
    return jnp.maximum(losses, 0)


@jax.named_scope("softmax")
def _weighted(sizes: Sizes, positions: Positions, candidates: Candidates) -> tuple[Array, Array, Array]:
    """Give the losses and the gradients of their weighted sum, for hidden and for vectors."""
    if sizes.block < len(candidates.vectors):
        return _weighted_by_blocks(sizes, positions, candidates)
    hidden, vectors = positions.hidden, candidates.vectors
    dtype = hidden.dtype

    def one_chunk(index: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        losses, hidden_gradient, vector_gradient = carry
        asked = _rows(positions, index)
        loss, likelihood, total, target_vectors = _chunk_losses(asked, candidates)
        # Normalising the small factors instead of the scores saves a pass over [chunk, items].
        scale, likelihood = (asked.weight / total)[:, None], likelihood.astype(dtype)
        from_all = scale * dot(likelihood, vectors) - asked.weight[:, None] * target_vectors
        return (
            losses.at[index].set(loss, mode="drop"),
            hidden_gradient.at[index].set(from_all.astype(dtype), mode="drop"),
            vector_gradient + dot((scale * asked.hidden).astype(dtype).T, likelihood),
        )

    start = jnp.zeros(len(hidden), jnp.float32), jnp.zeros_like(hidden), jnp.zeros(vectors.shape[::-1], jnp.float32)
    losses, hidden_gradient, vector_gradient = over_chunks(one_chunk, positions.needed, sizes.chunk, start)
    from_targets = jnp.where(positions.needed, positions.weight, 0)[:, None] * hidden
    return losses, hidden_gradient, vector_gradient.T.at[positions.target].add(-from_targets).astype(vectors.dtype)


def _weighted_by_blocks(sizes: Sizes, positions: Positions, candidates: Candidates) -> tuple[Array, Array, Array]:
    """As :func:`_weighted`, items block by block; the gradient for vectors is the only array of their number."""
    hidden, vectors = positions.hidden, candidates.vectors
    dtype = hidden.dtype

    def one_chunk(index: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        losses, hidden_gradient, vector_gradient = carry
        asked = _rows(positions, index)
        loss, highest, total, target_vectors = _block_losses(asked, candidates, sizes.block)
        from_all, vector_gradient = send_back(
            asked.hidden,
            *candidates,
            sizes.block,
            highest=highest,
            scale=asked.weight / total,
            gradient=vector_gradient,
        )
        from_all -= asked.weight[:, None] * target_vectors
        return (
            losses.at[index].set(loss, mode="drop"),
            hidden_gradient.at[index].set(from_all.astype(dtype), mode="drop"),
            vector_gradient,
        )

    start = jnp.zeros(len(hidden), jnp.float32), jnp.zeros_like(hidden), jnp.zeros(vectors.shape, jnp.float32)
    losses, hidden_gradient, vector_gradient = over_chunks(one_chunk, positions.needed, sizes.chunk, start)
    from_targets = jnp.where(positions.needed, positions.weight, 0)[:, None] * hidden
    return losses, hidden_gradient, vector_gradient.at[positions.target].add(-from_targets).astype(vectors.dtype)


def dot(a: Array, b: Array) -> Array:
    """Multiply matrices and sum in float32."""
    return jnp.matmul(a, b, preferred_element_type=jnp.float32)


def foreseen(cotangent: Float[Array, " positions"], weight: Float[Array, " positions"]) -> tuple[Array, Array]:
    """Say by what factor losses count otherwise than was foreseen, and whether one factor says it.

    Args:
        cotangent: What each loss counts.
        weight: What it was foreseen to count.
    """
    scale = jnp.vdot(cotangent, weight) / jnp.maximum(jnp.vdot(weight, weight), jnp.finfo(weight.dtype).tiny)
    return scale, (jnp.abs(cotangent - scale * weight) <= 1e-6 * jnp.abs(cotangent).max()).all()


def _fused_forward(sizes: Sizes, positions: Positions, candidates: Candidates) -> tuple[Array, tuple[Any, ...]]:
    losses, *gradients = _weighted(sizes, positions, candidates)
    return losses, (*gradients, positions, candidates)


def _fused_backward(sizes: Sizes, residuals: tuple[Any, ...], cotangent: Array) -> tuple[Positions, Candidates]:
    hidden_gradient, vector_gradient, positions, candidates = residuals
    cotangent, weight = (jnp.where(positions.needed, array, 0) for array in (cotangent, positions.weight))
    scale, as_foreseen = foreseen(cotangent, weight)
    for_hidden, for_vectors = jax.lax.cond(
        as_foreseen,
        lambda: tuple(scale.astype(gradient.dtype) * gradient for gradient in (hidden_gradient, vector_gradient)),
        lambda: _weighted(sizes, positions._replace(weight=cotangent), candidates)[1:],
    )
    return Positions(for_hidden, *[None] * 3), Candidates(for_vectors, None)  # type: ignore[arg-type]


_fused.defvjp(_fused_forward, _fused_backward)
