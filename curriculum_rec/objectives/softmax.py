"""Full softmax over the catalogue (device), in chunks: ``[positions, items]`` is never held."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.contract import Recommender
from curriculum_rec.objectives.losses import Losses, broadcast_weight


@dataclass(frozen=True)
class Softmax:
    """Cross-entropy of the target among all items.

    Args:
        chunk: Positions whose scores are held at once, at least 1; memory grows with it, not the result.

    Source: the multinomial likelihood of Klenitskiy and Vasilev (2023) for SASRec.
    """

    chunk: int = 512

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise OptionError(f"objective.chunk={self.chunk}: it must be at least 1")

    def __call__(self, model: Recommender, batch: Batch, rng: BatchRng) -> Losses:
        """Compute the losses, ``[batch, length]``."""
        hidden, target = model(batch, rng), batch["target"]
        mask = target > 0
        weight = jnp.where(mask, broadcast_weight(batch.weight, target), 0).reshape(-1)
        vectors = model.item_vectors()[1:]  # padding is no candidate
        losses = cross_entropy(
            hidden.reshape(-1, hidden.shape[-1]),
            vectors,
            jnp.maximum(target.reshape(-1) - 1, 0),
            weight,
            chunk=self.chunk,
        )
        return Losses(losses.reshape(target.shape), mask)


def cross_entropy(
    hidden: Float[Array, "positions width"],
    vectors: Float[Array, "items width"],
    target: Int32[Array, " positions"],
    weight: Float[Array, " positions"],
    *,
    chunk: int,
) -> Float[Array, " positions"]:
    """Compute ``-log softmax(hidden @ vectors.T)[target]`` chunk by chunk, forward and backward.

    The gradient under ``weight`` is computed together with the losses, three matrix products instead of four. It is
    what a weighted sum or mean of the losses sends back; any other gradient, say of losses weighted anew by their own
    value, is computed from the start, so that the result is right in any case.

    Args:
        hidden: ``[positions, width]``.
        vectors: ``[items, width]``.
        target: int32 ``[positions]`` in ``[0, items)``.
        weight: ``[positions]``, the weights with which the losses will probably be summed.
        chunk: Positions at once.

    Returns:
        float32 ``[positions]``.
    """
    positions = len(target)
    chunk = min(chunk, positions)
    missing = -positions % chunk
    hidden = jnp.pad(hidden, ((0, missing), (0, 0))).reshape(-1, chunk, hidden.shape[-1])
    target = jnp.pad(target, (0, missing)).reshape(-1, chunk)
    losses = _fused(hidden, vectors, target, jnp.pad(weight, (0, missing)).reshape(-1, chunk))
    return losses.reshape(-1)[:positions]


def _chunk_losses(hidden: Array, target: Array, vectors: Array) -> tuple[Array, Array, Array]:
    scores = hidden @ vectors.T
    normaliser = jax.nn.logsumexp(scores, axis=-1)
    return normaliser - jnp.take_along_axis(scores, target[:, None], axis=-1)[:, 0], scores, normaliser


@jax.custom_vjp
def _fused(hidden: Array, vectors: Array, target: Array, weight: Array) -> Array:
    del weight
    return jax.lax.map(lambda pair: _chunk_losses(pair[0], pair[1], vectors)[0], (hidden, target))


def _weighted(hidden: Array, vectors: Array, target: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Give the losses and the gradients of their weighted sum, for hidden and for vectors."""

    def one_chunk(vector_gradient: Array, chunk: tuple[Array, Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        hidden, target, weight = chunk
        losses, scores, normaliser = _chunk_losses(hidden, target, vectors)
        items = jnp.arange(len(vectors), dtype=target.dtype)
        is_target = (items[None, :] == target[:, None]).astype(scores.dtype)
        error = (jnp.exp(scores - normaliser[:, None]) - is_target) * weight[:, None]
        return vector_gradient + error.T @ hidden, (losses, error @ vectors)

    vector_gradient, (losses, hidden_gradient) = jax.lax.scan(
        one_chunk, jnp.zeros_like(vectors), (hidden, target, weight)
    )
    return losses, hidden_gradient, vector_gradient


def _fused_forward(hidden: Array, vectors: Array, target: Array, weight: Array) -> tuple[Array, tuple[Array, ...]]:
    losses, *gradients = _weighted(hidden, vectors, target, weight)
    return losses, (*gradients, hidden, vectors, target, weight)


def _fused_backward(residuals: tuple[Array, ...], cotangent: Array) -> tuple[Array, Array, None, None]:
    hidden_gradient, vector_gradient, hidden, vectors, target, weight = residuals
    scale = jnp.vdot(cotangent, weight) / jnp.maximum(jnp.vdot(weight, weight), jnp.finfo(weight.dtype).tiny)
    as_foreseen = (jnp.abs(cotangent - scale * weight) <= 1e-6 * jnp.abs(cotangent).max()).all()
    return (
        *jax.lax.cond(
            as_foreseen,
            lambda: (scale * hidden_gradient, scale * vector_gradient),
            lambda: _weighted(hidden, vectors, target, cotangent)[1:],
        ),
        None,
        None,
    )


_fused.defvjp(_fused_forward, _fused_backward)
