"""Sampled softmax (device): the target against negatives that the whole batch shares."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.contract import Recommender
from curriculum_rec.objectives.losses import Losses


@dataclass(frozen=True)
class SampledSoftmax:
    """Cross-entropy of the target among itself and uniform negatives, drawn anew for every batch.

    A negative that equals a position's own target is left out there. Uniform sampling needs no correction for the
    sampling probabilities beyond a constant, which a softmax does not see among negatives; ``correct`` adds it to the
    negatives, so that the loss estimates the full softmax.

    Args:
        n_negatives: Negatives for the whole batch, at least 1.
        correct: Whether negatives count as many as they stand for, ``log((n_items - 1) / n_negatives)`` more a score.

    Source: Jean et al. (2015), with the candidates shared by a batch.
    """

    n_negatives: int = 512
    correct: bool = False

    def __post_init__(self) -> None:
        if self.n_negatives < 1:
            raise OptionError(f"objective.n_negatives={self.n_negatives}: it must be at least 1")

    def __call__(self, model: Recommender, batch: Batch, rng: BatchRng) -> Losses:
        """Compute the losses, ``[batch, length]``."""
        hidden, target, n_items = model(batch, rng), batch["target"], model.n_items
        key = rng.named("shared negatives").key()
        negatives = jax.random.randint(key, (self.n_negatives,), 1, n_items + 1, jnp.int32)
        scores = jnp.matmul(hidden, model.item_vectors(negatives).T, preferred_element_type=jnp.float32)
        if self.correct:
            scores += jnp.log(jnp.asarray(max(n_items - 1, 1) / self.n_negatives, scores.dtype))
        collides = negatives[None, None, :] == target[:, :, None]
        scores = jnp.where(collides, jnp.finfo(scores.dtype).min, scores)
        positive = (hidden * model.item_vectors(target)).sum(axis=-1, dtype=jnp.float32)
        normaliser = jnp.logaddexp(jax.nn.logsumexp(scores, axis=-1), positive)
        return Losses(normaliser - positive, target > 0)

    def scores_per_target(self, n_items: int) -> int:
        """The negatives and the target, whatever the catalogue."""
        del n_items
        return self.n_negatives + 1
