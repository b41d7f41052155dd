"""Terms that have the student rank items as the teacher does (device)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from curriculum_rec.distillation.contract import Lesson, Needs, WeightedTerm
from curriculum_rec.distillation.logits import Tempered, soft_binary
from curriculum_rec.models.batch import BatchRng
from curriculum_rec.negatives.contract import draw_numbers
from curriculum_rec.ranges import POSITIVE, SHARE, at_least, check_ranges, one_of

Guide = Literal["teacher", "student"]


@dataclass(frozen=True, kw_only=True)
class FromBest(WeightedTerm):
    """A term of the teacher's best items.

    Args:
        k: How many, at least 1.
    """

    k: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "distil.terms", {"k": at_least(1)})

    @property
    def needs(self) -> Needs:
        """The best items."""
        return Needs(best=self.k)


@dataclass(frozen=True, kw_only=True)
class RankingDistillation(FromBest):
    """``-sum_r w_r log sigmoid(s_r)`` over the teacher's best items, ``r`` being the teacher's rank.

    ``w_r`` falls as ``e^(-r / steepness)``. From ``dynamic_from`` on it is multiplied by
    ``max(0, tanh(mu (rank - r)))`` with the student's own rank, estimated from ``n_uniform`` items: what the student
    ranks well enough is left alone.

    Args:
        k: The teacher's best items, at least 1.
        steepness: Above 0; the higher, the more of the weight goes to low ranks.
        mu: Above 0; how soon a rank that is too low counts fully.
        n_uniform: Items that the student's ranks are estimated from, at least 1.
        dynamic_from: Fraction of the stage after which the student's ranks count, in [0, 1].
        weight: What its losses are multiplied by, above 0.

    Source: Tang and Wang (2018), equations 6 to 9.
    """

    steepness: float = 1.0
    mu: float = 0.1
    n_uniform: int = 100
    dynamic_from: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        ranges = {"steepness": POSITIVE, "mu": POSITIVE, "dynamic_from": SHARE, "n_uniform": at_least(1)}
        check_ranges(self, "distil.terms", ranges)

    def __call__(self, lesson: Lesson) -> Float[Array, "batch length"]:
        """Give one loss a target."""
        items, drawn = lesson.listed("best", self.k).items, lesson.draw_uniformly(self.n_uniform)
        scores = lesson.student_scores(items)
        same = items[..., None] == drawn[None, None, None, :]
        dynamic = dynamic_weights(
            scores, lesson.student_scores(drawn), same, n_items=lesson.student.n_items, mu=self.mu
        )
        dynamic = jnp.where(lesson.progress >= self.dynamic_from, dynamic, 1)
        weights = static_weights(self.k, self.steepness)[None, None, :] * jax.lax.stop_gradient(dynamic)
        return (weights * jax.nn.softplus(-scores)).sum(axis=-1)


@dataclass(frozen=True, kw_only=True)
class CollaborativeDistillation(FromBest, Tempered):
    """Binary cross-entropy with the teacher's soft labels on items drawn by rank, ``p ~ e^(-rank / (spread k))``.

    Of the ``k`` best items ``n_drawn`` are drawn, with replacement; the rank is the teacher's or, under the guide
    ``student``, that which the student gives the same items. The label is ``sigmoid(z / temperature)``.

    Args:
        k: The teacher's best items that are drawn from, at least 1. (The paper draws from all; items far behind are
            drawn hardly ever.)
        n_drawn: Draws a target, at least 1.
        spread: Above 0; the higher, the more even are the draws.
        guide: Whose ranks decide, ``teacher`` or ``student``.
        temperature: Of the labels alone, above 0.
        weight: What its losses are multiplied by, above 0.

    Source: Lee et al. (2019), section IV.
    """

    k: int = 100
    n_drawn: int = 10
    spread: float = 0.1
    guide: Guide = "teacher"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(
            self, "distil.terms", {"spread": POSITIVE, "n_drawn": at_least(1), "guide": one_of(*get_args(Guide))}
        )

    def __call__(self, lesson: Lesson) -> Float[Array, "batch length"]:
        """Give one loss a target."""
        items, wanted = lesson.listed("best", self.k)
        place = draw_ranks(lesson.rng, lesson.mask.shape[1], self.n_drawn, k=self.k, spread=self.spread * self.k)
        if self.guide == "student":
            by_student = jnp.argsort(-jax.lax.stop_gradient(lesson.student_scores(items)), axis=-1)
            place = jnp.take_along_axis(by_student, place, axis=-1)
        items, wanted = (jnp.take_along_axis(array, place, axis=-1) for array in (items, wanted))
        scores = lesson.student_scores(items)
        temperature = self.temperature_in(lesson)
        return soft_binary(wanted / temperature, scores).mean(axis=-1)


@dataclass(frozen=True, kw_only=True)
class RelaxedRanking(FromBest):
    """``-sum_k [s_k - log(sum_{i>=k} e^(s_i) + sum_{j in L} e^(s_j))]``: the order of the best, all above the rest.

    Args:
        k: The teacher's best items, the first ``k`` and no draw among more, at least 1.
        n_uniform: ``L``, items drawn uniformly for the batch; those among a target's best are left out. At least 0.
        weight: What its losses are multiplied by, above 0.

    Source: Kang et al. (2020), equation 9, with the authors' later choice of the best items.
    """

    k: int = 40
    n_uniform: int = 40
    weight: float = 0.001

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "distil.terms", {"n_uniform": at_least(0)})

    def __call__(self, lesson: Lesson) -> Float[Array, "batch length"]:
        """Give one loss a target."""
        return relaxed_ranking(*best_and_rest(lesson, self.k, self.n_uniform))


@dataclass(frozen=True, kw_only=True)
class PairwiseMargin(FromBest):
    """``softplus(margin - (s_a - s_b))``, averaged over all pairs of the best of which the teacher puts ``a`` first.

    Args:
        k: The teacher's best items, at least 2.
        margin: At least 0.
        weight: What its losses are multiplied by, above 0.

    Source: the pairwise logistic loss of Burges et al. (2005) with the teacher's order.
    """

    margin: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "distil.terms", {"k": at_least(2), "margin": at_least(0)})

    def __call__(self, lesson: Lesson) -> Float[Array, "batch length"]:
        """Give one loss a target."""
        return pairwise_margin(lesson.student_scores(lesson.listed("best", self.k).items), margin=self.margin)


def best_and_rest(
    lesson: Lesson, k: int, n_uniform: int
) -> tuple[Float[Array, "batch length k"], Float[Array, "batch length n"], Bool[Array, "batch length n"]]:
    """Give the student's scores of the teacher's best and of uniform items, and which of these are not among them."""
    items = lesson.listed("best", k).items
    drawn = lesson.draw_uniformly(n_uniform)
    is_rest = ~(items[..., None, :] == drawn[None, None, :, None]).any(axis=-1)
    return lesson.student_scores(items), lesson.student_scores(drawn), is_rest


def static_weights(k: int, steepness: float) -> Float[Array, " k"]:
    """Give weights of ranks 1 to ``k``, proportional to ``e^(-rank / steepness)``, of the sum 1.

    >>> static_weights(2, 1e9).tolist()
    [0.5, 0.5]
    """
    return jax.nn.softmax(-jnp.arange(1, k + 1, dtype=jnp.float32) / steepness)


def dynamic_weights(
    scores: Float[Array, "*shape k"],
    sample: Float[Array, "*shape n"],
    same: Bool[Array, "*shape k n"] | None = None,
    *,
    n_items: int,
    mu: float,
) -> Float[Array, "*shape k"]:
    """Give ``max(0, tanh(mu (rank - r)))``, ``r`` being the teacher's rank, from 1, and ``rank`` the student's.

    Args:
        scores: The student's, of the teacher's best items, best first.
        sample: The student's, of items drawn uniformly, which its ranks are estimated from.
        same: Where a drawn item is the best one itself, which is not above itself whatever the rounding; None: nowhere.
        n_items: Size of the catalogue.
        mu: Above 0.

    >>> dynamic_weights(jnp.array([2.0, -9.0]), jnp.array([0.0, 1.0]), n_items=101, mu=1.0).tolist()
    [0.0, 1.0]
    """
    is_above = sample[..., None, :] > scores[..., :, None]
    above = (is_above if same is None else is_above & ~same).sum(axis=-1)
    rank = 1 + jnp.floor((n_items - 1) * above.astype(jnp.float32) / sample.shape[-1])
    of_teacher = jnp.arange(1, scores.shape[-1] + 1, dtype=jnp.float32).reshape(*(1,) * (rank.ndim - 1), -1)
    return jnp.maximum(jnp.tanh(mu * (rank - of_teacher)), 0)


def relaxed_ranking(
    best: Float[Array, "*shape k"],
    rest: Float[Array, "*shape n"],
    is_rest: Bool[Array, "*shape n"] | None = None,
    is_best: Bool[Array, "*shape k"] | None = None,
) -> Float[Array, "*shape"]:
    """Compute ``-sum_k [s_k - log(sum_{i>=k} e^(s_i) + sum_j e^(s_j))]`` without ever taking a bare exponential.

    Args:
        best: Scores in the order that is wanted.
        rest: Scores that belong below all of these.
        is_rest: False leaves one out; None leaves out none.
        is_best: The same for ``best``; those that are left out stand last.

    >>> round(float(relaxed_ranking(jnp.zeros(2), jnp.zeros(0))), 4)  # log 2
    0.6931
    """
    lowest = jnp.finfo(best.dtype).min
    known = best if is_best is None else jnp.where(is_best, best, lowest)
    total = jax.lax.cumlogsumexp(known, axis=best.ndim - 1, reverse=True)
    if rest.shape[-1]:
        rest = rest if is_rest is None else jnp.where(is_rest, rest, lowest)
        total = jnp.logaddexp(total, jax.nn.logsumexp(rest, axis=-1, keepdims=True))
    losses = total - known
    return (losses if is_best is None else jnp.where(is_best, losses, 0)).sum(axis=-1)


def pairwise_margin(scores: Float[Array, "*shape k"], *, margin: float = 0.0) -> Float[Array, "*shape"]:
    """Average ``softplus(margin - (s_a - s_b))`` over all ``a < b``.

    >>> round(float(pairwise_margin(jnp.zeros(3))), 4)  # log 2
    0.6931
    """
    first, second = jnp.triu_indices(scores.shape[-1], 1)
    return jax.nn.softplus(margin - (scores[..., first] - scores[..., second])).mean(axis=-1)


def draw_ranks(rng: BatchRng, *shape: int, k: int, spread: float) -> Array:
    """Draw ranks from 0 to ``k - 1``, int32 ``[batch, *shape]``, proportional to ``e^(-rank / spread)``.

    Args:
        rng: The stream.
        *shape: Draws for every example.
        k: Number of ranks.
        spread: Above 0.
    """
    number = draw_numbers(rng, *shape)
    # The inverse of 1 - e^(-(rank + 1) / spread), cut off at k.
    covered = -jnp.expm1(jnp.float32(-k / spread))
    return jnp.clip(jnp.floor(-spread * jnp.log1p(-number * covered)), 0, k - 1).astype(jnp.int32)
