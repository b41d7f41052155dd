"""Terms that bring the student's scores near the teacher's (device)."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from curriculum_rec.distillation.contract import Lesson, Needs, WeightedTerm
from curriculum_rec.distillation.divergence import Master, Pupil, catalogue_divergence, divergence_and_slopes
from curriculum_rec.objectives.losses import broadcast_weight
from curriculum_rec.ranges import POSITIVE, at_least, check_ranges


@dataclass(frozen=True, kw_only=True)
class Tempered(WeightedTerm):
    """A term whose scores are divided by a temperature first.

    Args:
        temperature: Above 1 it tells more of items with low scores, above 0.
    """

    temperature: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "distil.terms", {"temperature": POSITIVE})

    @property
    def tempered(self) -> bool:
        """It is."""
        return True

    def temperature_in(self, lesson: Lesson) -> Float[Array, ""]:
        """Give the temperature at this moment."""
        return self.temperature * lesson.heat


@dataclass(frozen=True, kw_only=True)
class CatalogueDivergence(Tempered):
    """``T^2 KL(softmax(z / T) ; softmax(s / T))`` over the whole catalogue.

    Args:
        temperature: ``T``, above 0.
        chunk: Positions whose scores are held at once, at least 1; memory grows with it, not the result. None takes 256
            on a CPU and 4096 elsewhere.
        weight: What its losses are multiplied by, above 0.

    Source: Hinton et al. (2015), section 2.
    """

    chunk: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "distil.terms", {"chunk": at_least(1).or_null()})

    @property
    def needs(self) -> Needs:
        """All of the teacher's scores."""
        return Needs(online=True)

    def __call__(self, lesson: Lesson) -> Float[Array, "batch length"]:
        """Give one loss a target."""
        voice, hidden = lesson.heard, lesson.hidden
        weight = jnp.where(lesson.mask, broadcast_weight(lesson.batch.weight, lesson.mask), 0).reshape(-1)
        pupil = Pupil(hidden.reshape(-1, hidden.shape[-1]), lesson.student.item_vectors(), weight, weight > 0)
        master = Master(
            tuple(h.reshape(-1, h.shape[-1]) for h in voice.hidden), voice.vectors, self.temperature_in(lesson)
        )
        chunk = self.chunk or (256 if jax.default_backend() == "cpu" else 4096)
        losses = catalogue_divergence(pupil, master, n_items=voice.n_items, how=voice.how, chunk=chunk)
        return losses.reshape(lesson.mask.shape)


@dataclass(frozen=True, kw_only=True)
class FromCandidates(Tempered):
    """A term of the teacher's best items and of some that are drawn uniformly.

    Args:
        k: The teacher's best items, at least 1.
        n_uniform: Items drawn uniformly besides, in every step for the whole batch, at least 0; those among the best do
            not count twice.
    """

    k: int = 100
    n_uniform: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "distil.terms", {"k": at_least(1), "n_uniform": at_least(0)})

    @property
    def needs(self) -> Needs:
        """The candidates."""
        return Needs(best=self.k, drawn=self.n_uniform)

    def candidates(self, lesson: Lesson) -> tuple[Array, Array, Array]:
        """Give the teacher's and the student's scores ``[batch, length, n]`` and for how many items each stands."""
        items, wanted = lesson.listed("best", self.k)
        scores = lesson.student_scores(items)
        stands_for = jnp.ones_like(wanted)
        if self.n_uniform == 0:
            return wanted, scores, stands_for
        drawn, of_drawn = lesson.listed("drawn", self.n_uniform)
        is_new = ~drawn_among(drawn, items, n_rows=lesson.student.n_items + 1)
        count = jnp.where(is_new, lesson.student.n_items / self.n_uniform, 0).astype(wanted.dtype)
        return tuple(  # type: ignore[return-value]
            jnp.concatenate(pair, axis=-1)
            for pair in ((wanted, of_drawn), (scores, lesson.student_scores(drawn)), (stands_for, count))
        )


@dataclass(frozen=True, kw_only=True)
class CandidateDivergence(FromCandidates):
    """The divergence over some candidates, where each of the uniform ones stands for ``n_items / n_uniform`` items.

    Args:
        k: The teacher's best items, at least 1.
        n_uniform: Items drawn uniformly besides, at least 0.
        temperature: As in :class:`CatalogueDivergence`, which this estimates.
        weight: What its losses are multiplied by, above 0.

    Source: Hinton et al. (2015), with the correction for sampling of Jean et al. (2015).
    """

    def __call__(self, lesson: Lesson) -> Float[Array, "batch length"]:
        """Give one loss a target."""
        wanted, scores, stands_for = self.candidates(lesson)
        return candidate_divergence(wanted, scores, stands_for, temperature=self.temperature_in(lesson))


@dataclass(frozen=True, kw_only=True)
class SoftBinary(FromCandidates):
    """Binary cross-entropy of ``sigmoid(s / T)`` with the labels ``sigmoid(z / T)``, averaged over candidates.

    Args:
        k: The teacher's best items, at least 1.
        n_uniform: Items drawn uniformly besides, at least 0.
        temperature: ``T``, above 0.
        weight: What its losses are multiplied by, above 0.

    Source: the soft labels of Hinton et al. (2015) for click models.
    """

    def __call__(self, lesson: Lesson) -> Float[Array, "batch length"]:
        """Give one loss a target."""
        wanted, scores, stands_for = self.candidates(lesson)
        losses = soft_binary(wanted, scores, temperature=self.temperature_in(lesson))
        counts = stands_for > 0
        return jnp.where(counts, losses, 0).sum(axis=-1) / counts.sum(axis=-1).astype(losses.dtype)


def drawn_among(drawn: Int32[Array, " n"], items: Int32[Array, "*shape k"], *, n_rows: int) -> Bool[Array, "*shape n"]:
    """Say which of the drawn items are in each list, without comparing every pair.

    Args:
        drawn: Items, some of them perhaps more than once.
        items: The lists; an item beyond ``n_rows`` is in none.
        n_rows: More than any drawn item.

    >>> drawn_among(jnp.array([3, 1, 3]), jnp.array([[2, 3], [4, 5]]), n_rows=6).tolist()
    [[True, False, True], [False, False, False]]
    """
    n = len(drawn)
    first = jnp.full(n_rows, n, jnp.int32).at[drawn].min(jnp.arange(n, dtype=jnp.int32))
    lists = items.reshape(-1, items.shape[-1])
    place = first.at[lists].get(mode="fill", fill_value=n)
    row = jnp.arange(len(lists), dtype=jnp.int32)[:, None]
    found = jnp.zeros((len(lists), n), bool).at[row, place].set(True, mode="drop")
    return found[:, first[drawn]].reshape(*items.shape[:-1], n)


def candidate_divergence(
    wanted: Float[Array, "*shape n"],
    scores: Float[Array, "*shape n"],
    stands_for: Float[Array, "*shape n"],
    *,
    temperature: Float[Array, ""] | float = 1.0,
) -> Float[Array, "*shape"]:
    """Compute ``T^2 KL`` of the softmax of candidates, each counting for some items; only scores have a gradient.

    The gradient comes with the losses, some rows at a time, which is faster than what autodiff makes of the formula.

    Args:
        wanted: The teacher's scores.
        scores: The student's.
        stands_for: For how many items each candidate stands, at least 0; 0 leaves it out.
        temperature: ``T``, above 0.

    >>> z = jnp.log(jnp.array([1.0, 3.0]))
    >>> float(candidate_divergence(z, z + 5, jnp.ones(2)))
    0.0
    >>> round(float(candidate_divergence(z, 0 * z, jnp.ones(2))), 4)  # 1/4 log(1/2) + 3/4 log(3/2)
    0.1308
    """
    n = scores.shape[-1]
    rows = scores.shape[-2] if scores.ndim > 1 else 1
    blocks = (array.reshape(-1, rows, n) for array in (wanted, scores, stands_for))
    return _divergences(*blocks, jnp.asarray(temperature, jnp.float32)).reshape(scores.shape[:-1])


@jax.custom_vjp
def _divergences(wanted: Array, scores: Array, stands_for: Array, temperature: Array) -> Array:
    return jax.lax.map(lambda block: _with_slopes(block, temperature)[0], (wanted, scores, stands_for))


def _with_slopes(block: tuple[Array, Array, Array], temperature: Array) -> tuple[Array, Array]:
    """Give the divergences of a block of rows, and their derivatives by the student's scores."""
    wanted, scores, stands_for = block
    log_count = jnp.where(stands_for > 0, jnp.log(jnp.maximum(stands_for, 1e-9)), -1e9)
    log_teacher = jax.nn.log_softmax(wanted / temperature + log_count, axis=-1)
    log_student = jax.nn.log_softmax(scores / temperature + log_count, axis=-1)
    return divergence_and_slopes(log_teacher, log_student, temperature)


def _forward(wanted: Array, scores: Array, stands_for: Array, temperature: Array) -> tuple[Array, Array]:
    return jax.lax.map(lambda block: _with_slopes(block, temperature), (wanted, scores, stands_for))


def _backward(slopes: Array, cotangent: Array) -> tuple[None, Array, None, None]:
    return None, cotangent[..., None] * slopes, None, None


_divergences.defvjp(_forward, _backward)


def soft_binary(
    wanted: Float[Array, "*shape"], scores: Float[Array, "*shape"], *, temperature: Float[Array, ""] | float = 1.0
) -> Float[Array, "*shape"]:
    """Compute the cross-entropy of ``sigmoid(scores / T)`` with the label ``sigmoid(wanted / T)``.

    Args:
        wanted: The teacher's scores.
        scores: The student's.
        temperature: ``T``, above 0.

    >>> round(float(soft_binary(jnp.float32(0), jnp.float32(0))), 4)  # log 2
    0.6931
    """
    label, score = jax.nn.sigmoid(wanted / temperature), scores / temperature
    return jax.nn.softplus(score) - label * score
