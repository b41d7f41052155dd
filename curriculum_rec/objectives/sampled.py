"""Sampled softmax (device): the target against negatives, which a batch shares or every position draws for itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.contract import Recommender
from curriculum_rec.negatives import Avoid
from curriculum_rec.objectives.losses import Losses
from curriculum_rec.objectives.sampling import Sharing, WithNegatives


@dataclass(frozen=True)
class SampledSoftmax(WithNegatives):
    """Cross-entropy of the target among itself and negatives, drawn anew for every batch.

    Uniform sampling needs no correction for the sampling probabilities beyond a constant, which a softmax does not see
    among negatives; ``correct`` makes the loss estimate the full softmax by any negatives.

    Args:
        n_negatives: Negatives for the whole batch, or a position; at least 1.
        negatives: How they are drawn.
        sharing: Whether a ``batch`` draws once for all its positions, or every ``position`` its own.
        avoid: What is left out where it was drawn: a position's own ``target``, or all ``known`` items of its user's
            training history.
        correct: Whether each negative counts as many items as it stands for, ``-log(n_negatives q)`` more a score,
            ``q`` being the probability with which it was drawn.

    Source: Jean et al. (2015), with the candidates shared by a batch; Klenitskiy and Vasilev (2023) draw them for each
    position.
    """

    n_negatives: int = 512
    sharing: Sharing = "batch"
    avoid: Avoid = "target"

    CORRECTS_UNIFORM: ClassVar[bool] = True

    def __call__(self, model: Recommender, batch: Batch, rng: BatchRng) -> Losses:
        """Compute the losses, ``[batch, length]``."""
        compared = self.compare(model, batch, rng)
        scores, positive = compared.negative, compared.positive
        if compared.log_q is not None:
            scores -= compared.log_q + jnp.log(jnp.float32(self.n_negatives))
        scores = jnp.where(compared.allowed, scores, jnp.finfo(scores.dtype).min)
        normaliser = jnp.logaddexp(jax.nn.logsumexp(scores, axis=-1), positive)
        return Losses(normaliser - positive, batch["target"] > 0, compared.metrics)
