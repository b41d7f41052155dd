"""Contrast (device): two vectors of one row shall be alike and unlike those of the batch's other rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from curriculum_rec.augmentation import Augmentation, Crop, Mask, OneOf, Reorder, View
from curriculum_rec.data.cooccurrence import SIMILAR
from curriculum_rec.data.examples import USER
from curriculum_rec.data.task import Task
from curriculum_rec.data.times import TIME
from curriculum_rec.data.twins import TWINS
from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.items import normalise
from curriculum_rec.models.queries import user_vectors
from curriculum_rec.objectives.losses import Around, CountsScores, Losses, Objective
from curriculum_rec.ranges import POSITIVE, at_least, check_ranges, one_of

Pair = Literal["augmented", "dropout", "same_target"]
Similarity = Literal["dot", "cosine"]
CL4SREC = OneOf({"crop": Crop(), "mask": Mask(), "reorder": Reorder()})


@dataclass(frozen=True)
class Contrastive(Around):
    """An objective's losses, and to each of a row's targets ``weight`` times the row's contrast.

    A row's contrast is the cross-entropy of its second vector among the vectors of all other rows and itself, given its
    first vector, and the other way round, the mean of both: vectors are those that predict what follows the history,
    and rows are those of the whole batch, of all devices. A step costs two passes more.

    Args:
        objective: The task's loss.
        pair: Which two vectors a row has. ``augmented``: of two changed histories. ``dropout``: of its history under
            two masks of dropout. ``same_target``: of its history, and of another after which the same item came; rows
            with the same last target are then not told apart.
        views: How histories are changed, twice and independently; for ``augmented`` alone.
        weight: What the contrast counts, above 0.
        temperature: What similarities are divided by, above 0.
        similarity: ``dot`` product or ``cosine``.
        n_twins: How many other histories with the same last target are kept for each row, of which every step draws
            one; for ``same_target`` alone.

    Source: ``augmented`` is CL4SRec (Xie et al., 2022), equation 4; ``same_target`` is DuoRec (Qiu et al., 2022),
    equation 13, whose vectors of one row also differ by dropout. They add means over users, we over targets.
    """

    TASK: ClassVar[Task] = "next_item"

    objective: Objective
    pair: Pair = "augmented"
    views: Augmentation | None = CL4SREC
    weight: float = 0.1
    temperature: float = 1.0
    similarity: Similarity = "dot"
    n_twins: int = 4

    def __post_init__(self) -> None:
        ranges = {
            "pair": one_of(*get_args(Pair)),
            "weight": POSITIVE,
            "temperature": POSITIVE,
            "similarity": one_of(*get_args(Similarity)),
            "n_twins": at_least(1),
        }
        check_ranges(self, "objective", ranges)
        if (self.pair == "augmented") == (self.views is None):
            raise OptionError(
                f"objective.pair={self.pair}: objective.views says how histories are changed, which "
                f"{'it needs' if self.views is None else 'has no effect here: set augmentation@objective.views=none'}"
            )

    def __call__(self, model: Any, batch: Batch, rng: BatchRng) -> Losses:
        """Compute the losses, of the task's shape."""
        losses = self.objective(model, batch, rng)
        with jax.named_scope("contrast"):
            contrast = self._contrast(model, batch, rng)
        spread = contrast.reshape(-1, *(1,) * (losses.per_example.ndim - 1))
        per_example = losses.per_example + self.weight * jnp.broadcast_to(spread, losses.per_example.shape)
        real = _is_real(batch)
        mean = jnp.where(real, contrast, 0).sum() / jnp.maximum(real.sum(), 1).astype(contrast.dtype)
        return replace(losses, per_example=per_example, metrics={**losses.metrics, "contrast": mean})

    def _contrast(self, model: Any, batch: Batch, rng: BatchRng) -> Float[Array, " batch"]:
        target = batch["target"]
        last = jnp.take_along_axis(target, jnp.maximum((target > 0).sum(axis=1) - 1, 0)[:, None], axis=1)[:, 0]
        names = last if self.pair == "same_target" else None
        streams = rng.named("first view"), rng.named("second view")
        if self.pair == "same_target":
            views = _inputs(batch), self._twin(batch, rng)
        else:
            views = self._view(model, batch, streams[0]), self._view(model, batch, streams[1])
        first, second = (
            user_vectors(model, view, own, batch.progress) for view, own in zip(views, streams, strict=True)
        )
        if self.similarity == "cosine":
            first, second = normalise(first), normalise(second)
        real, temperature = _is_real(batch), self.temperature
        return contrast(first, second, real, temperature, names=names, axis_name=batch.axis_name)

    def _view(self, model: Any, batch: Batch, rng: BatchRng) -> dict[str, Array]:
        if self.views is None:
            return _inputs(batch)
        arrays = batch.arrays
        view = View(arrays["history"], arrays.get(SIMILAR), arrays.get(TIME))
        view = self.views(view, rng.named("augmentation"), mask=model.n_items + 1)
        whose = {name: arrays[name] for name in (USER,) if name in arrays}
        return {"history": view.items} | whose | ({} if view.time is None else {TIME: view.time})

    def _twin(self, batch: Batch, rng: BatchRng) -> dict[str, Array]:
        if TWINS not in batch.arrays:
            raise OptionError(
                "objective.pair=same_target needs the array 'twins': use the examples that "
                "examples_for(objective, examples) gives"
            )
        twins = batch[TWINS][:, :-1]
        number = (rng.named("twin").bits() % jnp.uint32(twins.shape[2])).astype(jnp.int32)
        return {"history": jnp.take_along_axis(twins, number[:, None, None], axis=2)[:, :, 0]}

    @property
    def needs_similar(self) -> int:
        """How many similar items the augmentation wants to know of each item."""
        return 0 if self.views is None else self.views.needs_similar

    @property
    def asks_of_nobody(self) -> bool:
        """Whether it looks at other users' histories, which come as items alone."""
        return self.pair == "same_target"

    @property
    def needs_twins(self) -> int:
        """How many histories with the same last target it wants to know of each row."""
        return self.n_twins if self.pair == "same_target" else 0

    def scores_per_target(self, n_items: int) -> int:
        """Count those of the objective; the contrast's are not counted."""
        return self.objective.scores_per_target(n_items) if isinstance(self.objective, CountsScores) else 0


@dataclass(frozen=True)
class DuoRec(Contrastive):
    """:class:`Contrastive` with the choices of DuoRec; options mean what they mean there."""

    pair: Pair = "same_target"
    views: Augmentation | None = None


def contrast(
    first: Float[Array, "batch width"],
    second: Float[Array, "batch width"],
    real: Bool[Array, " batch"],
    temperature: float,
    *,
    names: Int32[Array, " batch"] | None = None,
    axis_name: str | None = None,
) -> Float[Array, " batch"]:
    """Compute each row's contrast.

    Args:
        first: One vector a row.
        second: Another.
        real: Which rows take part; what is said of others means nothing.
        temperature: What products are divided by.
        names: Rows of one name are not told apart; None lets every row be its own.
        axis_name: The mapped axis over which a batch is spread; None on one device.

    Source: Xie et al. (2022), equation 4: every vector of other rows, of either kind, is a negative.
    """
    n = len(first)
    offset = 0 if axis_name is None else n * jax.lax.axis_index(axis_name)
    row = offset + jnp.arange(n, dtype=jnp.int32)
    everywhere = [_gather(array, axis_name) for array in (first, second, real, row)]
    all_first, all_second, all_real, all_row = everywhere
    told_apart = (row[:, None] != all_row[None, :]) & all_real[None, :]
    if names is not None:
        told_apart &= names[:, None] != _gather(names, axis_name)[None, :]

    def one_way(own: Array, other: Array, all_own: Array, all_other: Array) -> Array:
        score = (own * other).sum(axis=1, dtype=jnp.float32) / temperature
        scores = jnp.concatenate([own @ all_own.T, own @ all_other.T], axis=1).astype(jnp.float32) / temperature
        negative = jnp.concatenate([told_apart, told_apart], axis=1)
        scores = jnp.where(negative, scores, jnp.finfo(scores.dtype).min)
        return jnp.logaddexp(jax.nn.logsumexp(scores, axis=1), score) - score

    there = one_way(first, second, all_first, all_second)
    back = one_way(second, first, all_second, all_first)
    return jnp.where(real, (there + back) / 2, 0)


def _gather(array: Array, axis_name: str | None) -> Array:
    """Bring the rows of all devices together; gradients go back to the device that each row came from."""
    return array if axis_name is None else jax.lax.all_gather(array, axis_name, tiled=True)


def _is_real(batch: Batch) -> Bool[Array, " batch"]:
    """Say which rows are examples and not only fill the batch up."""
    weight = batch.weight if batch.weight.ndim == 1 else batch.weight.max(axis=1)
    return (weight > 0) & (batch["history"][:, 0] > 0)


def _inputs(batch: Batch) -> dict[str, Array]:
    return {name: batch[name] for name in ("history", TIME, USER) if name in batch.arrays}
