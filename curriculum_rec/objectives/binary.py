"""Binary cross-entropy with sampled negatives (device)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.contract import Recommender
from curriculum_rec.objectives.losses import Losses


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """``-log sigmoid(s+) - mean log(1 - sigmoid(s-))`` with uniform negatives of each position's own.

    A negative that the example itself contains is left out; where that leaves none, only the positive counts.

    With ``reweight`` above 0 each positive weighs ``p^reweight`` and each negative ``(1 - p)^reweight``, ``p`` being
    the sigmoid of its score: what disagrees with the model is perhaps noise, and weighs less. These weights are
    constants of the gradient.

    Args:
        n_negatives: Negatives a position, at least 1.
        reweight: At least 0; 0 lets all weigh the same.

    Source: Kang and McAuley (2018), equation 6, with one negative; ``reweight`` is R-CE of Wang et al. (2021).
    """

    n_negatives: int = 1
    reweight: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.reweight < math.inf:
            raise OptionError(f"objective.reweight={self.reweight}: it must be a number of at least 0")
        if self.n_negatives < 1:
            raise OptionError(f"objective.n_negatives={self.n_negatives}: it must be at least 1")

    def __call__(self, model: Recommender, batch: Batch, rng: BatchRng) -> Losses:
        """Compute the losses, ``[batch, length]``."""
        hidden, target = model(batch, rng), batch["target"]
        bits = rng.named("negatives").bits(target.shape[1], self.n_negatives)
        negatives = (1 + bits % jnp.uint32(model.n_items)).astype(jnp.int32)
        allowed = ~_occurs(negatives, jnp.concatenate([batch["history"][:, :1], target], axis=1))
        positive = (hidden * model.item_vectors(target)).sum(axis=-1, dtype=jnp.float32)
        vectors = model.item_vectors(negatives)
        negative = jnp.einsum("bld,blnd->bln", hidden, vectors, preferred_element_type=jnp.float32)
        count = jnp.maximum(allowed.sum(axis=-1), 1).astype(negative.dtype)
        penalty = jnp.where(allowed, self._weigh(jax.nn.softplus(negative)), 0).sum(axis=-1) / count
        return Losses(self._weigh(jax.nn.softplus(-positive)) + penalty, target > 0)

    def _weigh(self, losses: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Multiply by the power of the probability that a label has, which is ``e^-l`` for either label."""
        if self.reweight == 0:
            return losses
        return losses * jax.lax.stop_gradient(jnp.exp(-self.reweight * losses))

    def scores_per_target(self, n_items: int) -> int:
        """The negatives and the target, whatever the catalogue."""
        del n_items
        return self.n_negatives + 1


def _occurs(candidates: Int32[Array, "batch length n"], items: Int32[Array, "batch all"]) -> Array:
    """Say which candidates stand anywhere in their example; items are scanned one by one to keep memory flat."""
    return jax.lax.fori_loop(
        0,
        items.shape[1],
        lambda i, found: found | (candidates == jax.lax.dynamic_slice_in_dim(items, i, 1, axis=1)[:, :, None]),
        jnp.zeros(candidates.shape, bool),
    )
