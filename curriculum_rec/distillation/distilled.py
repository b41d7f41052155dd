"""The objective of a student (device): the task's losses and what a teacher says, by a schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int32

from curriculum_rec.curriculum.pacing import Clock, Pacing
from curriculum_rec.distillation.contract import Lesson, Needs, Sizes, Term
from curriculum_rec.distillation.entities import Whole
from curriculum_rec.distillation.hearing import ARRAY, Hearing
from curriculum_rec.distillation.schedule import Schedule
from curriculum_rec.distillation.voice import hidden_and_maps
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.negatives.contract import Memory, progress
from curriculum_rec.objectives.losses import Losses, Objective, Remembers, broadcast_weight

PARTS = "distillation"
"""The attribute of a student, and the key of its parameters, under which the terms' trainable parts lie."""

QUANTILE = f"{ARRAY}quantile"
"""Name of the array with the quantile of each example's difficulty."""


@dataclass(frozen=True)
class Span:
    """Where a stage lies in its run.

    Args:
        first_step: Steps of the run before it.
        n_steps: Its greatest length.
        total_steps: Steps of the run.
        steps_per_epoch: Those of a pass over all examples.
    """

    first_step: int
    n_steps: int
    total_steps: int
    steps_per_epoch: int

    def progress(self, of_run: Float[Array, ""]) -> Float[Array, ""]:
        """Turn the fraction of the run that is trained into that of the stage."""
        return jnp.clip((of_run * self.total_steps - self.first_step) / self.n_steps, 0, 1)


@dataclass(frozen=True)
class Distilled:
    """``(1 - a) task + a sum_n weight_n term_n``.

    A term's loss of an example counts at each of its targets. The log gets the schedule's ``a`` as ``distillation``,
    and the mean of every term, unweighted, as ``distillation/NAME``.

    Args:
        task: The task's objective.
        terms: Named losses by which the student follows the teacher.
        schedule: ``a``, and how hot temperatures are.
        hearing: How the teacher is heard.
        span: Where the stage lies in its run.
        axis_name: The mapped axis over which batches are spread; None on one device.
        pacing: Which share of the users is distilled, by their difficulty; None for all.
    """

    task: Objective
    terms: Mapping[str, Term]
    schedule: Schedule
    hearing: Hearing
    span: Span
    axis_name: str | None = None
    pacing: Pacing | None = None

    def __call__(self, model: Any, batch: Batch, rng: BatchRng) -> Losses:
        """Compute the losses, ``[batch, length]``."""
        hidden, maps = hidden_and_maps(model, batch, rng, attention=self.needs.attention)
        student = Reused(model, batch, rng, hidden, maps)
        task = self.task(student, batch, rng)
        done = self.span.progress(progress(batch))
        share = self.schedule.weight_at(done)

        def follow() -> dict[str, Array]:
            return self._terms(student, batch, rng, done)

        if self.schedule.stops:
            shapes = jax.eval_shape(follow)
            nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
            losses = jax.lax.cond(share > 0, follow, lambda: nothing)
        else:
            losses = follow()
        distilled = sum(self.terms[name].weight * loss for name, loss in losses.items())
        followed = self._followed(batch, done)
        if followed is not None:
            distilled = jnp.where(followed, distilled, 0)
        total = (1 - share) * task.per_example + share * distilled
        return Losses(total, task.mask, {**task.metrics, **self._metrics(losses, batch, share, followed)})

    def _terms(self, student: Reused, batch: Batch, rng: BatchRng, done: Array) -> dict[str, Array]:
        mask = batch["target"] > 0
        lesson = self._lesson(student, batch, rng, done)
        parts = getattr(student.model, PARTS, None)
        losses = {}
        for name, term in self.terms.items():
            with jax.named_scope(f"distillation {name}"):
                loss = term(lesson.of_term(name, getattr(parts, name, None))).astype(jnp.float32)
            losses[name] = jnp.where(mask, broadcast_weight(loss, mask), 0)
        return losses

    def _lesson(self, student: Reused, batch: Batch, rng: BatchRng, done: Array) -> Lesson:
        heard = self.hearing(batch, rng)
        everyone = None
        if self.needs.whole_batch and heard.voice is not None:
            everyone = Whole.of(student, student.hidden, heard.voice, batch, axis_name=self.axis_name)
        return Lesson(
            student=student,
            hidden=student.hidden,
            batch=batch,
            rng=rng,
            mask=batch["target"] > 0,
            lists=heard.lists,
            voice=heard.voice,
            part=None,
            progress=done,
            heat=self.schedule.heat_at(done),
            finished=heard.finished,
            everyone=everyone,
            maps=student.maps,
        )

    @property
    def needs(self) -> Needs:
        """What all terms need."""
        return Needs.of(term.needs for term in self.terms.values())

    def _followed(self, batch: Batch, done: Array) -> Bool[Array, "batch one"] | None:
        """Say which users are distilled at this moment."""
        if self.pacing is None:
            return None
        share = self.pacing(done * self.span.n_steps, Clock(self.span.n_steps, self.span.steps_per_epoch))
        return (batch[QUANTILE] < share)[:, None]

    def _metrics(
        self, losses: Mapping[str, Array], batch: Batch, share: Array, followed: Array | None
    ) -> dict[str, Float[Array, ""]]:
        """Average over the targets that count, as the losses are."""
        weight = jnp.where(batch["target"] > 0, broadcast_weight(batch.weight, batch["target"]), 0)
        total = jnp.maximum(weight.sum(), 1e-9)
        metrics = {f"distillation/{name}": (weight * loss).sum() / total for name, loss in losses.items()}
        if followed is not None:
            metrics["distillation/users"] = (weight * followed).sum() / total
        return metrics | {"distillation": share}

    def begin(self, *, n_items: int, item_counts: np.ndarray | None) -> Memory:
        """Give the task's memory and that of the teacher before the first step."""
        task = {}
        if isinstance(self.task, Remembers):
            task = self.task.begin(n_items=n_items, item_counts=item_counts)
        return {**task, **self.hearing.begin()}

    def remember(
        self, memory: Memory, model: Any, batch: Batch, rng: BatchRng, *, step: Array, axis_name: str | None
    ) -> Memory:
        """Bring both up to a step."""
        task = {name: array for name, array in memory.items() if not name.startswith(ARRAY)}
        teacher = {name: array for name, array in memory.items() if name.startswith(ARRAY)}
        if isinstance(self.task, Remembers) and task:
            task = self.task.remember(task, model, batch, rng, step=step, axis_name=axis_name)
        if teacher:
            teacher = self.hearing.remember(teacher, model, batch, step=step, axis_name=axis_name)
        return {**task, **teacher}


class Reused:
    """A model whose user vectors of one batch are computed already; of any other they are computed as ever.

    Args:
        model: The model.
        batch: The batch.
        rng: The randomness of those vectors.
        hidden: ``[batch, length, width]``.
        maps: How its positions look at each other, ``[depth, batch, length, keys]``, if anybody asks.
    """

    def __init__(
        self,
        model: Any,
        batch: Batch,
        rng: BatchRng,
        hidden: Float[Array, "batch length width"],
        maps: Float[Array, "depth batch length keys"] | None = None,
    ) -> None:
        self.model, self.hidden, self.maps = model, hidden, maps
        self._arrays, self._rng = batch.arrays, rng

    def __call__(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch length width"]:
        """Give the vectors."""
        known = batch.arrays is self._arrays and rng is self._rng
        return self.hidden if known else self.model(batch, rng)

    def item_vectors(self, items: Int32[Array, "*shape"] | None = None) -> Float[Array, "*rows width"]:
        """Give the model's item vectors."""
        return self.model.item_vectors(items)

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        return self.model.n_items

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)


class Parts(nnx.Module):
    """The trainable parts of terms, each under its term's name."""

    def __init__(self, parts: Mapping[str, nnx.Module]) -> None:
        for name, part in parts.items():
            setattr(self, name, part)


def make_parts(terms: Mapping[str, Term], sizes: Sizes, *, seed: int) -> Parts | None:
    """Build the trainable parts of terms; None if none has any.

    Args:
        terms: Named terms.
        sizes: What the parts must fit.
        seed: Decides the initial values.
    """
    built = {name: term.part(sizes, nnx.Rngs(seed)) for name, term in terms.items()}
    parts = {name: part for name, part in built.items() if part is not None}
    return Parts(parts) if parts else None


def without_parts(params: Mapping[str, Any]) -> dict[str, Any]:
    """Leave the trainable parts of terms out of a student's parameters.

    >>> without_parts({"items": 1, "distillation": 2})
    {'items': 1}
    """
    return {name: branch for name, branch in params.items() if name != PARTS}
