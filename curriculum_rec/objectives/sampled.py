"""Sampled softmax (device): the target against negatives that the whole batch shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast, get_args

import jax
import jax.numpy as jnp

from curriculum_rec.data.task import Task
from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.contract import Recommender
from curriculum_rec.negatives import Negatives, Shared, SharedDraw, Uniform
from curriculum_rec.negatives.known import is_known, known_items
from curriculum_rec.objectives.losses import Losses
from curriculum_rec.objectives.sampling import WithNegatives
from curriculum_rec.ranges import check_ranges, one_of

Avoid = Literal["target", "known"]


@dataclass(frozen=True)
class SampledSoftmax(WithNegatives):
    """Cross-entropy of the target among itself and negatives, drawn anew for every batch.

    Uniform sampling needs no correction for the sampling probabilities beyond a constant, which a softmax does not see
    among negatives; ``correct`` makes the loss estimate the full softmax by any negatives.

    Args:
        n_negatives: Negatives for the whole batch, at least 1.
        correct: Whether each negative counts as many items as it stands for, ``-log(n_negatives q)`` more a score,
            ``q`` being the probability with which it was drawn.
        negatives: How they are drawn, once for the whole batch.
        avoid: What is left out where it was drawn: a position's own ``target``, or all ``known`` items of its user's
            training history.

    Source: Jean et al. (2015), with the candidates shared by a batch.
    """

    TASK: ClassVar[Task] = "next_item"

    n_negatives: int = 512
    correct: bool = False
    negatives: Negatives = Uniform()
    avoid: Avoid = "target"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.negatives, Shared):
            raise OptionError(
                f"objective.negatives={type(self.negatives).__name__}: SampledSoftmax shares its negatives in the "
                "batch, so they can be Uniform, Popularity or InBatch; objective=bce takes the others"
            )
        check_ranges(self, "objective", {"avoid": one_of(*get_args(Avoid))})

    @property
    def needs_positives(self) -> bool:
        """Whether no item of the user's own is a negative."""
        return self.avoid == "known"

    def __call__(self, model: Recommender, batch: Batch, rng: BatchRng) -> Losses:
        """Compute the losses, ``[batch, length]``."""
        hidden, target = model(batch, rng), batch["target"]
        drawn = self._draw(model, batch, rng.named("shared negatives"))
        scores = jnp.matmul(hidden, model.item_vectors(drawn.items).T, preferred_element_type=jnp.float32)
        if self.correct:
            scores -= (drawn.log_q + jnp.log(jnp.float32(self.n_negatives)))[None, None, :]
        left_out = (drawn.items[None, None, :] == target[:, :, None]) | (drawn.items == 0)[None, None, :]
        if self.avoid == "known":
            candidates = jnp.broadcast_to(drawn.items, (len(target), self.n_negatives))
            left_out |= is_known(known_items(batch), candidates)[:, None, :]
        scores = jnp.where(left_out, jnp.finfo(scores.dtype).min, scores)
        positive = (hidden * model.item_vectors(target)).sum(axis=-1, dtype=jnp.float32)
        normaliser = jnp.logaddexp(jax.nn.logsumexp(scores, axis=-1), positive)
        return Losses(normaliser - positive, target > 0)

    def scores_per_target(self, n_items: int) -> int:
        """The negatives and the target, whatever the catalogue."""
        del n_items
        return self.n_negatives + 1

    @jax.named_scope("negatives")
    def _draw(self, model: Recommender, batch: Batch, rng: BatchRng) -> SharedDraw:
        negatives = cast("Shared", self.negatives)  # __post_init__ refuses others
        return negatives.shared(batch, self.n_negatives, rng, n_items=model.n_items)
