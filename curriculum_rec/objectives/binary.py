"""Binary cross-entropy with sampled negatives, plain and calibrated (device)."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.contract import Recommender
from curriculum_rec.objectives.losses import Losses
from curriculum_rec.objectives.sampling import WithNegatives
from curriculum_rec.ranges import SHARE, at_least, check_ranges


@dataclass(frozen=True)
class BinaryCrossEntropy(WithNegatives):
    """``-log sigmoid(s+) - mean log(1 - sigmoid(s-))``.

    Where a position has no negative, only its target counts. The log gets ``false_negatives_avoided``, the share of the
    candidates that were left out, and ``negative_hardness``, the mean quantile of the negatives' scores among those of
    their candidates, where each position has its own.

    With ``reweight`` above 0 each positive weighs ``p^reweight`` and each negative ``(1 - p)^reweight``, ``p`` being
    the sigmoid of its score: what disagrees with the model is perhaps noise, and weighs less. These weights are
    constants of the gradient.

    Args:
        n_negatives: Negatives a position, or for the whole batch; at least 1.
        negatives: How they are drawn.
        sharing, avoid: As in :class:`WithNegatives`.
        correct: Whether each negative counts ``1 / (n_items q)``, ``q`` being the probability with which it was drawn,
            so that the loss estimates that of uniform negatives.
        reweight: At least 0; 0 lets all weigh the same.

    Source: Kang and McAuley (2018), equation 6, with one uniform negative; ``reweight`` is R-CE of Wang et al. (2021).
    """

    reweight: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "objective", {"reweight": at_least(0)})

    def __call__(self, model: Recommender, batch: Batch, rng: BatchRng) -> Losses:
        """Compute the losses, ``[batch, length]``."""
        compared = self.compare(model, batch, rng)
        penalty = compared.mean(self._weigh(jax.nn.softplus(compared.negative)))
        losses = self._weigh(jax.nn.softplus(-compared.positive)) + penalty
        return Losses(losses, batch["target"] > 0, compared.metrics)

    def _weigh(self, losses: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Multiply by the power of the probability that a label has, which is ``e^-l`` for either label."""
        if self.reweight == 0:
            return losses
        return losses * jax.lax.stop_gradient(jnp.exp(-self.reweight * losses))


@dataclass(frozen=True)
class GeneralisedBCE(WithNegatives):
    """``-(beta log sigmoid(s+) + sum log(1 - sigmoid(s-))) / (n_negatives + 1)``, which does not overrate positives.

    Of ``n_items - 1`` possible negatives only ``n_negatives`` are seen, a share ``a``; the probabilities that plain
    binary cross-entropy learns are therefore too high. ``beta = 1 - t (1 - a)`` takes the share ``t`` of that back.
    What was drawn and left out counts as much as the mean of the other negatives of its position.

    Args:
        n_negatives: Negatives a position, or for the whole batch; at least 1.
        negatives: How they are drawn.
        sharing, avoid: As in :class:`WithNegatives`.
        correct: Whether each negative counts ``1 / (n_items q)``, as in :class:`BinaryCrossEntropy`.
        t: Calibration, in [0, 1]; 0 is plain binary cross-entropy, 1 is fully calibrated.

    Source: Petrov and Macdonald (2023), gSASRec, equations 13 to 15; they take 256 negatives and t = .75.
    """

    n_negatives: int = 256
    t: float = 0.75

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "objective", {"t": SHARE})

    def __call__(self, model: Recommender, batch: Batch, rng: BatchRng) -> Losses:
        """Compute the losses, ``[batch, length]``."""
        compared = self.compare(model, batch, rng)
        positive = self.beta(model.n_items) * jax.nn.softplus(-compared.positive)
        negative = self.n_negatives * compared.mean(jax.nn.softplus(compared.negative))
        return Losses((positive + negative) / (self.n_negatives + 1), batch["target"] > 0, compared.metrics)

    def beta(self, n_items: int) -> float:
        """Give the power of the positive's probability.

        Args:
            n_items: Size of the catalogue.

        >>> GeneralisedBCE(n_negatives=25, t=0.75).beta(101), GeneralisedBCE(t=0.0).beta(1000)
        (0.4375, 1.0)
        """
        sampled = min(1.0, self.n_negatives / max(n_items - 1, 1))
        return 1 - self.t * (1 - sampled)
