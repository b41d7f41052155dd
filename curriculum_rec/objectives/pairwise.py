"""Bayesian personalised ranking (device): a target against each of its negatives."""

from __future__ import annotations

from dataclasses import dataclass

import jax

from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.contract import Recommender
from curriculum_rec.objectives.losses import Losses
from curriculum_rec.objectives.sampling import WithNegatives


@dataclass(frozen=True)
class BPR(WithNegatives):
    """``mean -log sigmoid(s+ - s-)`` over the negatives; 0 where a position has none.

    Args:
        n_negatives: Negatives a position, or for the whole batch; at least 1.
        negatives: How they are drawn.
        sharing, avoid: As in :class:`WithNegatives`.
        correct: Whether each negative counts ``1 / (n_items q)``, ``q`` being the probability with which it was drawn,
            so that the loss estimates that of uniform negatives.

    Source: Rendle et al. (2009), equation 4, without its prior, which ``optimizer.penalty`` is.
    """

    def __call__(self, model: Recommender, batch: Batch, rng: BatchRng) -> Losses:
        """Compute the losses, ``[batch, length]``."""
        compared = self.compare(model, batch, rng)
        losses = compared.mean(jax.nn.softplus(compared.negative - compared.positive[..., None]))
        return Losses(losses, batch["target"] > 0, compared.metrics)
