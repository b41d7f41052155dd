"""A batch in front of a student and a teacher whose vectors are given, for tests of single terms."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from curriculum_rec.distillation.contract import Lesson, Needs
from curriculum_rec.distillation.entities import Whole
from curriculum_rec.distillation.hearing import GROUPS, ask
from curriculum_rec.distillation.voice import Voice
from curriculum_rec.models.batch import Batch, BatchRng

BATCH, LENGTH, N_ITEMS = 4, 3, 12
LENGTHS = np.array([3, 2, 1, 3])


@dataclass
class Fixed:
    """User vectors and item vectors that are given."""

    hidden: jax.Array
    table: jax.Array

    def __call__(self, batch, rng=None):
        return self.hidden

    def item_vectors(self, items=None):
        return self.table if items is None else self.table[items]

    @property
    def n_items(self):
        return N_ITEMS


def fixed_model(width=5, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    return Fixed(
        jnp.asarray(scale * rng.standard_normal((BATCH, LENGTH, width), np.float32)),
        jnp.asarray(rng.standard_normal((16, width), np.float32)),  # more rows than items, as real tables have
    )


def make_batch(weight=None):
    items = np.random.default_rng(9).integers(1, N_ITEMS + 1, (BATCH, LENGTH + 1)).astype(np.int32)
    present = np.arange(LENGTH) < LENGTHS[:, None]
    arrays = {"history": jnp.asarray(items[:, :-1] * present), "target": jnp.asarray(items[:, 1:] * present)}
    return Batch(arrays, jnp.ones(BATCH) if weight is None else jnp.asarray(weight, jnp.float32))


def make_rng(seed=0):
    return BatchRng.for_rows(jax.random.key(seed), jnp.arange(BATCH, dtype=jnp.int32))


def voice_of(*models, how="mean"):
    return Voice(tuple(m.hidden for m in models), tuple(m.table for m in models), N_ITEMS, how)


def make_lesson(
    term, student, voice, *, batch=None, part=None, progress=0.0, heat=1.0, finished=True, groups=None, seed=0
):
    batch = batch or make_batch()
    batch = Batch(batch.arrays, batch.weight, teacher=None if groups is None else {GROUPS: groups})
    needs = Needs.of([term.needs])
    everyone = Whole.of(student, student.hidden, voice, batch, axis_name=None) if needs.whole_batch else None
    return Lesson(
        student=student,
        hidden=student.hidden,
        batch=batch,
        rng=make_rng(seed),
        mask=batch["target"] > 0,
        lists=ask(voice, batch, make_rng(seed), needs),
        voice=voice,
        part=part,
        progress=jnp.float32(progress),
        heat=jnp.float32(heat),
        finished=jnp.asarray(finished),
        everyone=everyone,
    )


def scores_of(model):
    """Scores of the items, float64 ``[batch, length, n_items]``."""
    table = np.asarray(model.table, np.float64)[1 : N_ITEMS + 1]
    return np.asarray(model.hidden, np.float64) @ table.T


def total_loss(term, student, voice, **options):
    """Sum a term's losses where there are targets."""
    lesson = make_lesson(term, student, voice, **options)
    losses = term(lesson)
    losses = losses[:, None] * jnp.ones((1, LENGTH)) if losses.ndim == 1 else losses
    return jnp.where(lesson.mask, losses, 0).sum()


def gradients(term, student, voice, **options):
    """Give the gradients of the summed losses for the student's user vectors and its table."""

    def loss(hidden, table):
        return total_loss(term, Fixed(hidden, table), voice, **options)

    return jax.jit(jax.grad(loss, (0, 1)))(student.hidden, student.table)


def losses_of(term, student, voice, **options):
    """Compute a term's losses in one program."""

    def losses(hidden, table):
        return term(make_lesson(term, Fixed(hidden, table), voice, **options))

    return jax.jit(losses)(student.hidden, student.table)
