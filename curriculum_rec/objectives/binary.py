"""Binary cross-entropy with sampled negatives (device)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from curriculum_rec.data.task import Task
from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.contract import Recommender
from curriculum_rec.negatives import Asked, Drawn, Negatives, PerPosition, Uniform
from curriculum_rec.objectives.losses import Losses, broadcast_weight
from curriculum_rec.objectives.sampling import WithNegatives
from curriculum_rec.ranges import at_least, check_ranges


@dataclass(frozen=True)
class BinaryCrossEntropy(WithNegatives):
    """``-log sigmoid(s+) - mean log(1 - sigmoid(s-))`` with negatives of each position's own.

    An item of the user's training history is no negative, even where the example shows only the end of that history;
    where a position has no negative, only its target counts. The log gets ``false_negatives_avoided``, the share of the
    candidates that were such items, and ``negative_hardness``, the mean quantile of the negatives' scores among those
    of their candidates.

    With ``reweight`` above 0 each positive weighs ``p^reweight`` and each negative ``(1 - p)^reweight``, ``p`` being
    the sigmoid of its score: what disagrees with the model is perhaps noise, and weighs less. These weights are
    constants of the gradient.

    Args:
        n_negatives: Negatives a position, at least 1.
        negatives: How they are drawn, for each position by itself.
        reweight: At least 0; 0 lets all weigh the same.

    Source: Kang and McAuley (2018), equation 6, with one uniform negative; ``reweight`` is R-CE of Wang et al. (2021).
    """

    TASK: ClassVar[Task] = "next_item"

    n_negatives: int = 1
    negatives: Negatives = Uniform()
    reweight: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "objective", {"reweight": at_least(0)})
        if not isinstance(self.negatives, PerPosition):
            raise OptionError(
                f"objective.negatives={type(self.negatives).__name__}: BinaryCrossEntropy takes negatives that every "
                "position draws for itself, such as Uniform, Popularity or Hardest"
            )

    @property
    def needs_positives(self) -> bool:
        """No item of the user's own is drawn."""
        return True

    def __call__(self, model: Recommender, batch: Batch, rng: BatchRng) -> Losses:
        """Compute the losses, ``[batch, length]``."""
        hidden, target = model(batch, rng), batch["target"]
        positive = (hidden * model.item_vectors(target)).sum(axis=-1, dtype=jnp.float32)
        drawn = self._draw(Asked(model, hidden, positive, batch), rng.named("negatives"))
        vectors = model.item_vectors(drawn.items)
        negative = jnp.einsum("bld,blnd->bln", hidden, vectors, preferred_element_type=jnp.float32)
        if drawn.mix is not None:
            negative = drawn.mix * positive[..., None] + (1 - drawn.mix) * negative
        count = jnp.maximum(drawn.allowed.sum(axis=-1), 1).astype(negative.dtype)
        penalty = jnp.where(drawn.allowed, self._weigh(jax.nn.softplus(negative)), 0).sum(axis=-1) / count
        return Losses(self._weigh(jax.nn.softplus(-positive)) + penalty, target > 0, _metrics(drawn, batch))

    def _weigh(self, losses: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Multiply by the power of the probability that a label has, which is ``e^-l`` for either label."""
        if self.reweight == 0:
            return losses
        return losses * jax.lax.stop_gradient(jnp.exp(-self.reweight * losses))

    def scores_per_target(self, n_items: int) -> int:
        """The negatives and the target, whatever the catalogue; a candidate without a gradient is a third of one."""
        del n_items
        return 1 + self.n_negatives + self.n_negatives * self._drawing.scored // 3

    @property
    def _drawing(self) -> PerPosition:
        return cast("PerPosition", self.negatives)  # __post_init__ refuses others

    @jax.named_scope("negatives")
    def _draw(self, asked: Asked, rng: BatchRng) -> Drawn:
        return self._drawing.per_position(asked, self.n_negatives, rng)


def _metrics(drawn: Drawn, batch: Batch) -> dict[str, Float[Array, ""]]:
    """Average over the targets that count, as the losses are."""
    weight = jnp.where(batch["target"] > 0, broadcast_weight(batch.weight, batch["target"]), 0)
    total = jnp.maximum(weight.sum(), 1e-9)
    named = {"false_negatives_avoided": drawn.avoided, "negative_hardness": drawn.hardness}
    return {name: (weight * values).sum() / total for name, values in named.items() if values is not None}
