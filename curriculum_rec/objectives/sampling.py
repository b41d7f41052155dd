"""What objectives with sampled negatives share (device): their options, and the scores of targets and negatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from curriculum_rec.data.task import Task
from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.contract import Recommender
from curriculum_rec.negatives import (
    Asked,
    Avoid,
    Drawn,
    KnowsProbabilities,
    Negatives,
    PerPosition,
    Shared,
    Uniform,
)
from curriculum_rec.negatives.contract import Memory
from curriculum_rec.negatives.in_batch import POOL
from curriculum_rec.negatives.known import is_known, known_items
from curriculum_rec.objectives.losses import broadcast_weight
from curriculum_rec.ranges import at_least, check_ranges, one_of

Sharing = Literal["position", "batch"]
"""Who has negatives in common: every position draws its own, or a batch draws once for all of them."""


@dataclass(frozen=True)
class Compared:
    """Targets, negatives and their scores.

    Attributes:
        positive: float32 ``[batch, length]``, the targets' scores.
        negative: float32 ``[batch, length, n]``, the negatives'.
        allowed: bool of the same shape, False for what is no negative after all.
        log_q: float32, the logarithm of the probability with which each was drawn, of a shape that broadcasts to it;
            None where the loss is not corrected by it.
        n_items: Size of the catalogue.
        metrics: Scalars for the log.
    """

    positive: Float[Array, "batch length"]
    negative: Float[Array, "batch length n"]
    allowed: Bool[Array, "batch length n"]
    log_q: Float[Array, "#batch #length n"] | None
    n_items: int
    metrics: dict[str, Float[Array, ""]]

    def mean(self, losses: Float[Array, "batch length n"]) -> Float[Array, "batch length"]:
        """Average what is said of negatives over those that are some; 0 where there are none.

        Corrected, each counts ``1 / (n_items q)``, so that the mean estimates that over uniform negatives.
        """
        count = jnp.maximum(self.allowed.sum(axis=-1), 1).astype(losses.dtype)
        if self.log_q is not None:
            losses = losses * jnp.exp(-self.log_q - jnp.log(jnp.float32(self.n_items)))
        return jnp.where(self.allowed, losses, 0).sum(axis=-1) / count


@dataclass(frozen=True)
class WithNegatives:
    """An objective whose negatives are a component of their own.

    Args:
        n_negatives: Negatives a position, or for the whole batch; at least 1.
        negatives: How they are drawn.
        sharing: Whether every ``position`` draws its own, or a ``batch`` draws once for all; the latter is cheaper, and
            only rules that do not look at a position's scores can do it.
        avoid: What is no negative where it was drawn: a position's own ``target``, or all ``known`` items of its user's
            training history.
        correct: Whether the loss is corrected by the probabilities with which negatives were drawn, as each objective
            says.
    """

    TASK: ClassVar[Task] = "next_item"

    n_negatives: int = 1
    negatives: Negatives = Uniform()
    sharing: Sharing = "position"
    avoid: Avoid = "known"
    correct: bool = False

    CORRECTS_UNIFORM: ClassVar[bool] = False
    """Whether a correction changes anything where all items are drawn alike."""

    def __post_init__(self) -> None:
        ranges = {
            "n_negatives": at_least(1),
            "sharing": one_of(*get_args(Sharing)),
            "avoid": one_of(*get_args(Avoid)),
        }
        check_ranges(self, "objective", ranges)
        self._check_sharing()
        self._check_correction()

    def _check_sharing(self) -> None:
        rule = type(self.negatives).__name__
        if self.sharing == "batch" and not isinstance(self.negatives, Shared):
            raise OptionError(
                f"objective.negatives={rule} chooses for each position by itself, which a batch cannot share: set "
                "objective.sharing=position, or take Uniform, Popularity or InBatch"
            )
        if self.sharing == "position" and not isinstance(self.negatives, PerPosition):
            raise OptionError(
                f"objective.negatives={rule} draws for a whole batch alone: set objective.sharing=batch, or give it a "
                "method per_position"
            )

    def _check_correction(self) -> None:
        rule, name = type(self.negatives).__name__, type(self).__name__
        if self.correct and not isinstance(self.negatives, KnowsProbabilities):
            raise OptionError(
                f"objective.correct=true with objective.negatives={rule}: with what probability it draws an item is "
                "not known, as it depends on what else was drawn; set objective.correct=false, or take Uniform, "
                "Popularity or InBatch"
            )
        if self.correct and isinstance(self.negatives, Uniform) and not self.CORRECTS_UNIFORM:
            raise OptionError(
                f"objective.correct=true has no effect on {name} with negatives that are uniform already: leave it out"
            )

    @property
    def needs_positives(self) -> bool:
        """Whether no item of the user's own is a negative."""
        return self.avoid == "known"

    def begin(self, *, n_items: int, item_counts: np.ndarray | None) -> Memory:
        """Give the negatives' memory before the first step."""
        n = self.n_negatives if self.sharing == "batch" else max(self.n_negatives, POOL)
        return self.negatives.begin(n, n_items=n_items, item_counts=item_counts)

    def remember(
        self, memory: Memory, model: Any, batch: Batch, rng: BatchRng, *, step: Array, axis_name: str | None
    ) -> Memory:
        """Bring the negatives' memory up to a step."""
        return self.negatives.remember(memory, model, batch, rng, step=step, axis_name=axis_name)

    def scores_per_target(self, n_items: int) -> int:
        """The negatives and the target, whatever the catalogue; a candidate without a gradient is a third of one."""
        del n_items
        scored = cast("PerPosition", self.negatives).scored if self.sharing == "position" else 0
        return 1 + self.n_negatives + self.n_negatives * scored // 3

    def compare(self, model: Recommender, batch: Batch, rng: BatchRng) -> Compared:
        """Score the targets and their negatives."""
        hidden = model(batch, rng)
        positive = (hidden * model.item_vectors(batch["target"])).sum(axis=-1, dtype=jnp.float32)
        asked = Asked(model, hidden, positive, batch, self.avoid)
        return self._with_shared(asked, rng) if self.sharing == "batch" else self._with_own(asked, rng)

    def _with_shared(self, asked: Asked, rng: BatchRng) -> Compared:
        rule = cast("Shared", self.negatives)  # __post_init__ refuses others
        model, target = asked.model, asked.batch["target"]
        with jax.named_scope("negatives"):
            drawn = rule.shared(asked.batch, self.n_negatives, rng.named("shared negatives"), n_items=model.n_items)
        scores = jnp.matmul(asked.hidden, model.item_vectors(drawn.items).T, preferred_element_type=jnp.float32)
        left_out = (drawn.items[None, None, :] == target[:, :, None]) | (drawn.items == 0)[None, None, :]
        if self.avoid == "known":
            candidates = jnp.broadcast_to(drawn.items, (len(target), self.n_negatives))
            left_out |= is_known(known_items(asked.batch), candidates)[:, None, :]
        log_q = drawn.log_q[None, None, :] if self.correct else None
        return Compared(asked.positive, scores, ~left_out, log_q, model.n_items, {})

    def _with_own(self, asked: Asked, rng: BatchRng) -> Compared:
        rule, model = cast("PerPosition", self.negatives), asked.model
        with jax.named_scope("negatives"):
            drawn = rule.per_position(asked, self.n_negatives, rng.named("negatives"))
        vectors = model.item_vectors(drawn.items)
        negative = jnp.einsum("bld,blnd->bln", asked.hidden, vectors, preferred_element_type=jnp.float32)
        if drawn.mix is not None:
            negative = drawn.mix * asked.positive[..., None] + (1 - drawn.mix) * negative
        log_q = None
        if self.correct:
            knowing = cast("KnowsProbabilities", self.negatives)
            log_q = knowing.log_q(asked.batch, drawn.items, n_items=model.n_items)
        metrics = _metrics(drawn, asked.batch)
        return Compared(asked.positive, negative, drawn.allowed, log_q, model.n_items, metrics)


def _metrics(drawn: Drawn, batch: Batch) -> dict[str, Float[Array, ""]]:
    """Average over the targets that count, as the losses are."""
    weight = jnp.where(batch["target"] > 0, broadcast_weight(batch.weight, batch["target"]), 0)
    total = jnp.maximum(weight.sum(), 1e-9)
    named = {"false_negatives_avoided": drawn.avoided, "negative_hardness": drawn.hardness}
    return {name: (weight * values).sum() / total for name, values in named.items() if values is not None}
