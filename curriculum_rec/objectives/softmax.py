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
            weight if batch.weight_is_final else None,
            chunk=self.chunk,
        )
        return Losses(losses.reshape(target.shape), mask)


def cross_entropy(
    hidden: Float[Array, "positions width"],
    vectors: Float[Array, "items width"],
    target: Int32[Array, " positions"],
    weight: Float[Array, " positions"] | None,
    *,
    chunk: int,
) -> Float[Array, " positions"]:
    """Compute ``-log softmax(hidden @ vectors.T)[target]`` chunk by chunk, forward and backward.

    With ``weight`` the gradient is computed together with the losses, three matrix products instead of four. It is
    then right for a cotangent that is any multiple of ``weight``, which is what a weighted sum or mean sends back.

    Args:
        hidden: ``[positions, width]``.
        vectors: ``[items, width]``.
        target: int32 ``[positions]`` in ``[0, items)``.
        weight: ``[positions]`` the weights that the losses will be summed with, or None if they are not known yet.
        chunk: Positions at once.

    Returns:
        float32 ``[positions]``.
    """
    positions = len(target)
    chunk = min(chunk, positions)
    missing = -positions % chunk
    hidden = jnp.pad(hidden, ((0, missing), (0, 0))).reshape(-1, chunk, hidden.shape[-1])
    target = jnp.pad(target, (0, missing)).reshape(-1, chunk)
    if weight is None:
        one_chunk = jax.checkpoint(lambda pair: _chunk_losses(pair[0], pair[1], vectors)[0])
        losses = jax.lax.map(one_chunk, (hidden, target))
    else:
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


def _fused_forward(hidden: Array, vectors: Array, target: Array, weight: Array) -> tuple[Array, tuple[Array, ...]]:
    def one_chunk(vector_gradient: Array, chunk: tuple[Array, Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        hidden, target, weight = chunk
        losses, scores, normaliser = _chunk_losses(hidden, target, vectors)
        items = jnp.arange(len(vectors), dtype=target.dtype)
        probability = jnp.exp(scores - normaliser[:, None])
        is_target = (items[None, :] == target[:, None]).astype(probability.dtype)
        error = (probability - is_target) * weight[:, None]
        return vector_gradient + error.T @ hidden, (losses, error @ vectors)

    vector_gradient, (losses, hidden_gradient) = jax.lax.scan(
        one_chunk, jnp.zeros_like(vectors), (hidden, target, weight)
    )
    return losses, (hidden_gradient, vector_gradient, weight)


def _fused_backward(residuals: tuple[Array, ...], cotangent: Array) -> tuple[Array, Array, None, None]:
    hidden_gradient, vector_gradient, weight = residuals
    scale = jnp.vdot(cotangent, weight) / jnp.maximum(jnp.vdot(weight, weight), jnp.finfo(weight.dtype).tiny)
    return scale * hidden_gradient, scale * vector_gradient, None, None


_fused.defvjp(_fused_forward, _fused_backward)
