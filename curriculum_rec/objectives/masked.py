"""Masked items (device): a model that looks both ways learns to guess what was hidden from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from curriculum_rec.data.task import Task
from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.contract import FillsMasks
from curriculum_rec.models.entity_features import reads_users, users_of
from curriculum_rec.models.time_features import gaps_of
from curriculum_rec.objectives.losses import Around, CountsScores, Losses, Objective
from curriculum_rec.objectives.nested import Nested
from curriculum_rec.objectives.softmax import Softmax
from curriculum_rec.ranges import ABOVE_0_TO_1, SHARE, check_ranges


@dataclass(frozen=True)
class MaskedItem(Around):
    """An objective's losses of the items that are masked out of a history, each guessed from both sides.

    The sequence is the first item of the history and all targets, so that losses are those of the same targets as with
    any other objective: a curriculum by target lets masked targets count or not, and the first item is never masked. At
    least one target a row is. Which ones is drawn anew in every step, the same on any number of devices. A target that
    is not masked does not count, and what is reported as its loss is the mean of those that are in its row.

    Args:
        objective: The loss of a guess, for example ``Softmax``, ``SampledSoftmax`` or ``BinaryCrossEntropy``.
        share: Probability with which a target is masked, in (0, 1].
        last: Share of the rows, in [0, 1], of which the last target alone is masked: the question that a
            recommendation asks.

    Source: Sun et al. (2019), BERT4Rec, section 3.6; their program also masks the last item alone in one row of eleven.
    """

    TASK: ClassVar[Task] = "next_item"

    objective: Objective = Softmax()
    share: float = 0.2
    last: float = 0.1

    def __post_init__(self) -> None:
        check_ranges(self, "objective", {"share": ABOVE_0_TO_1, "last": SHARE})
        if isinstance(self.objective, Nested | MaskedItem):
            raise OptionError(
                f"objective.objective={type(self.objective).__name__}: masked items want the loss of a guess; put "
                "objective=nested around objective=masked_item"
            )

    def __call__(self, model: Any, batch: Batch, rng: BatchRng) -> Losses:
        """Compute the losses, ``[batch, length]``.

        Raises:
            OptionError: The model cannot guess masked items.
        """
        if not isinstance(model, FillsMasks):
            raise OptionError(
                f"objective=masked_item: {type(model).__name__} looks at earlier items alone and guesses no masked "
                "ones: choose model=bert4rec"
            )
        target = batch["target"]
        masked = draw_masks(target, rng.named("masked items"), share=self.share, last=self.last)
        asked = replace(batch, arrays={**batch.arrays, "target": jnp.where(masked, target, 0)})
        losses = self.objective(_Masking(model, target, masked), asked, rng)
        counted = masked if losses.mask is None else masked & losses.mask
        return replace(losses, per_example=_fill_rows(losses.per_example, counted), mask=counted)

    def scores_per_target(self, n_items: int) -> int:
        """Count those of the objective, which only masked targets take."""
        return self.objective.scores_per_target(n_items) if isinstance(self.objective, CountsScores) else 0


def draw_masks(
    target: Int32[Array, "batch length"], rng: BatchRng, *, share: float, last: float
) -> Bool[Array, "batch length"]:
    """Draw which targets are masked.

    Args:
        target: The targets, 0 where there is none.
        rng: The stream of this use.
        share: Probability with which a target is masked; at least one of a row is.
        last: Probability with which the last target of a row is masked and no other.
    """
    present = target > 0
    place = jnp.arange(target.shape[1], dtype=jnp.int32)[None, :]
    bits = jnp.where(present, rng.bits(target.shape[1]), jnp.uint32(2**32 - 1))
    drawn = (bits < _threshold(share)) | (place == bits.argmin(axis=1, keepdims=True))
    only_last = place == present.sum(axis=1, keepdims=True) - 1
    asks_last = (rng.named("last alone").bits() < _threshold(last))[:, None]
    return jnp.where(asks_last, only_last, drawn) & present


def _threshold(share: float) -> Array:
    return jnp.uint32(min(int(share * 2**32), 2**32 - 1))


def _fill_rows(losses: Float[Array, "batch length"], counted: Bool[Array, "batch length"]) -> Array:
    """Let losses that do not count be the mean of those of their row that do."""
    mean = jnp.where(counted, losses, 0).sum(axis=1) / jnp.maximum(counted.sum(axis=1), 1).astype(losses.dtype)
    return jnp.where(counted, losses, mean[:, None])


@dataclass(frozen=True)
class _Masking:
    """A model as objectives know it, whose vector at each position guesses the target there, which may be masked."""

    model: Any
    target: Array
    masked: Array

    def __call__(self, batch: Batch, rng: BatchRng | None = None) -> Array:
        first = batch["history"][:, :1]
        items = jnp.concatenate([first, self.target], axis=1)
        masked = jnp.concatenate([jnp.zeros_like(first, bool), self.masked], axis=1)
        known = {"users": users_of(batch)} if reads_users(self.model) else {}
        gaps = gaps_of(getattr(self.model, "time_features", None), batch, asks_behind=True)
        known |= {} if gaps is None else {"gaps": gaps}
        return self.model.fill(items, masked, rng, progress=batch.progress, **known)[:, 1:]

    def item_vectors(self, items: Array | None = None) -> Array:
        vectors: Array = self.model.item_vectors(items)
        return vectors

    @property
    def n_items(self) -> int:
        n: int = self.model.n_items
        return n
