"""Negatives chosen by their scores among uniform candidates (device).

Every negative has candidates of its own. They are scored without a gradient, which flows through the chosen one alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import BatchRng
from curriculum_rec.models.touched import without_gradient
from curriculum_rec.negatives.contract import Asked, Drawn, WithoutMemory, draw_numbers, draw_uniformly, ramp
from curriculum_rec.ranges import POSITIVE, SHARE, at_least, check_ranges, one_of

VECTORS_AT_ONCE = 8192
"""Candidates whose vectors a CPU holds at once, 2 MiB for vectors of 64 numbers."""


@dataclass(frozen=True)
class Scored:
    """Candidates and their scores.

    Attributes:
        scores: float32 ``[batch, length, n, candidates]``, without a gradient.
        allowed: bool of the same shape, False for the user's own items and for what the guard drops.
        positive: float32 ``[batch, length, 1, 1]``, the targets' scores, without a gradient.
        progress: Steps trained as a fraction of the run.
    """

    scores: Float[Array, "batch length n candidates"]
    allowed: Bool[Array, "batch length n candidates"]
    positive: Float[Array, "batch length 1 1"]
    progress: Float[Array, ""]


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        index: int32 ``[batch, length, n]``, its place among the candidates.
        mix: float32 of the same shape, how much of the target is mixed into it; None for nothing.
    """

    index: Int32[Array, "batch length n"]
    mix: Float[Array, "batch length n"] | None = None


@dataclass(frozen=True, kw_only=True)
class FromCandidates(WithoutMemory):
    """What all rules share that choose among uniform candidates; each says only :meth:`choose`.

    The user's own items are never chosen. The guard against unknown positives drops further candidates; a position
    whose candidates are all dropped goes without this negative.

    Args:
        candidates: Candidates of one negative, at least 1.
        margin: Candidates that score above the target by more than this are dropped, at least 0; None drops none.
        top_share: Share of the candidates with the highest scores that are dropped, rounded down, in
            [1 / candidates, 1); None drops none.
    """

    candidates: int = 32
    margin: float | None = None
    top_share: float | None = None

    def __post_init__(self) -> None:
        check_ranges(self, "objective.negatives", {"candidates": at_least(1), "margin": at_least(0).or_null()})
        if self.top_share is not None and not 1 / self.candidates <= self.top_share < 1:
            raise OptionError(
                f"objective.negatives.top_share={self.top_share}: it must lie in [1 / candidates, 1), here "
                f"[{1 / self.candidates:.4g}, 1), or be null"
            )

    @property
    def scored(self) -> int:
        """All candidates."""
        return self.candidates

    def per_position(self, asked: Asked, n: int, rng: BatchRng) -> Drawn:
        """Draw candidates, score them and choose."""
        items = draw_uniformly(rng, asked.hidden.shape[1], n, self.candidates, n_items=asked.model.n_items)
        known = asked.left_out(items)
        scores = score(asked, items)
        positive = jax.lax.stop_gradient(asked.positive)[:, :, None, None]
        allowed = self._guarded(scores, ~known, positive)
        choice = self.choose(Scored(scores, allowed, positive, asked.progress), rng)
        chosen_score, chosen_allowed = _take(scores, choice.index), _take(allowed, choice.index)
        quantile = quantile_of(chosen_score, scores, ~known)
        return Drawn(
            items=_take(items, choice.index),
            allowed=chosen_allowed,
            avoided=known.mean(axis=(2, 3), dtype=jnp.float32),
            hardness=jnp.where(chosen_allowed, quantile, 0.5).mean(axis=-1),
            mix=choice.mix,
        )

    def choose(self, scored: Scored, rng: BatchRng) -> Choice:
        """Choose one candidate of each negative; one that is not allowed only where none is."""
        raise NotImplementedError

    def _guarded(self, scores: Array, allowed: Array, positive: Array) -> Array:
        guarded = allowed
        if self.margin is not None:
            guarded &= scores <= positive + self.margin
        if self.top_share is not None:
            guarded &= rank(-scores, allowed) >= int(self.top_share * self.candidates + 1e-6)
        return guarded


Schedule = Literal["constant", "growing", "shrinking"]


@dataclass(frozen=True, kw_only=True)
class Hardest(FromCandidates):
    """The candidate with the highest score, or any of the ``top``.

    With ``schedule=growing`` only the first ``1 + round((candidates - 1) share)`` candidates take part, the share going
    linearly from ``start`` to 1: uniform negatives become hard ones. ``shrinking`` is the same schedule backwards in
    time, its control. Candidates beyond are masked: shapes, and so the compiled program, stay the same.

    Args:
        top: One of so many with the highest scores is taken, each as likely as any other; from 1 to ``candidates``.
        schedule: ``constant`` (all candidates from the first step), ``growing`` or ``shrinking``.
        start: Share at first, in [0, 1].
        full_at: Fraction of the run from which on all take part, above 0.

    Source: Zhang et al. (2013), dynamic negative sampling; the two numbers as Shi et al. (2023), DNS(M, N).
    """

    top: int = 1
    schedule: Schedule = "constant"
    start: float = 0.0
    full_at: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.top <= self.candidates:
            raise OptionError(
                f"objective.negatives.top={self.top}: it must lie between 1 and candidates={self.candidates}"
            )
        check_ranges(
            self, "objective.negatives", {"schedule": one_of(*get_args(Schedule)), "start": SHARE, "full_at": POSITIVE}
        )

    def pool(self, progress: Float[Array, ""]) -> Int32[Array, ""]:
        """Give the number of candidates that take part, from 1 to ``candidates``."""
        if self.schedule == "constant":
            return jnp.int32(self.candidates)
        clock = progress if self.schedule == "growing" else 1 - progress
        share = ramp(clock, self.start, 1.0, self.full_at)
        return 1 + jnp.round((self.candidates - 1) * share).astype(jnp.int32)

    def choose(self, scored: Scored, rng: BatchRng) -> Choice:
        """Take the highest score, or one of the highest."""
        place = jnp.arange(self.candidates, dtype=jnp.int32)[None, None, None, :]
        eligible = scored.allowed & (place < self.pool(scored.progress))
        if self.top == 1:
            return Choice(_argmax(jnp.where(eligible, scored.scores, -jnp.inf)))
        n_eligible = jnp.minimum(eligible.sum(axis=-1), self.top)
        number = draw_numbers(rng.named("place"), *n_eligible.shape[1:])
        wanted = jnp.floor(number * n_eligible.astype(jnp.float32)).astype(jnp.int32)
        return Choice(_argmax(eligible & (rank(-scored.scores, eligible) == wanted[..., None])))


@dataclass(frozen=True, kw_only=True)
class SoftmaxNegatives(FromCandidates):
    """A candidate with a probability in proportion to ``exp(score / temperature)``.

    Args:
        temperature_start: Temperature at first, above 0; a high one is uniform.
        temperature: Temperature from ``full_at`` on, above 0; a low one takes the highest score.
        full_at: Fraction of the run, linearly until which it changes; above 0.

    Source: Chen et al. (2022), who resample a uniform pool so; the schedule is ours.
    """

    temperature_start: float = 1.0
    temperature: float = 0.1
    full_at: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(
            self, "objective.negatives", {"temperature_start": POSITIVE, "temperature": POSITIVE, "full_at": POSITIVE}
        )

    def choose(self, scored: Scored, rng: BatchRng) -> Choice:
        """Add Gumbel noise and take the highest."""
        temperature = ramp(scored.progress, self.temperature_start, self.temperature, self.full_at)
        noise = -jnp.log(-jnp.log(draw_numbers(rng.named("noise"), *scored.scores.shape[1:])))
        return Choice(_argmax(jnp.where(scored.allowed, scored.scores / temperature + noise, -jnp.inf)))


@dataclass(frozen=True, kw_only=True)
class Quantile(FromCandidates):
    """The candidate whose score's quantile among the candidates is nearest to a wanted one.

    Args:
        quantile_start: Wanted quantile at first, in [0, 1]; higher is harder.
        quantile: Wanted quantile from ``full_at`` on, in [0, 1].
        full_at: Fraction of the run, linearly until which it changes; above 0.
    """

    quantile_start: float = 0.5
    quantile: float = 0.95
    full_at: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "objective.negatives", {"quantile_start": SHARE, "quantile": SHARE, "full_at": POSITIVE})

    def choose(self, scored: Scored, rng: BatchRng) -> Choice:
        """Take the candidate of the nearest rank; the rank ``r`` of ``n`` has the quantile ``(r + 1/2) / n``."""
        del rng
        n = scored.allowed.sum(axis=-1).astype(jnp.float32)
        quantile = ramp(scored.progress, self.quantile_start, self.quantile, self.full_at)
        wanted = jnp.clip(jnp.round(quantile * n - 0.5), 0, jnp.maximum(n - 1, 0)).astype(jnp.int32)
        return Choice(_argmax(scored.allowed & (rank(scored.scores, scored.allowed) == wanted[..., None])))


def score(asked: Asked, items: Int32[Array, "batch length *n"]) -> Float[Array, "batch length *n"]:
    """Score items of every position, without a gradient.

    On a CPU a few rows at a time, whose vectors stay in its cache.
    """
    model = without_gradient(asked.model)

    def some(rows: tuple[Array, Array]) -> Array:
        hidden, chosen = rows
        vectors = jax.lax.stop_gradient(model.item_vectors(chosen))
        return jnp.einsum("...d,...ed->...e", hidden, vectors, preferred_element_type=jnp.float32)

    rows = jax.lax.stop_gradient(asked.hidden), items.reshape(*items.shape[:2], -1)
    at_once = max(1, VECTORS_AT_ONCE // rows[1][0].size)
    if jax.default_backend() != "cpu" or at_once >= len(items):
        return some(rows).reshape(items.shape)
    return jax.lax.map(some, rows, batch_size=at_once).reshape(items.shape)


def rank(scores: Float[Array, "*shape n"], counted: Bool[Array, "*shape n"]) -> Int32[Array, "*shape n"]:
    """Count, for every score, what counts and is lower; equal scores stand in the order of their places.

    All pairs are compared: candidates are few, and sorting many short rows is slower.
    """
    place = jnp.arange(scores.shape[-1])
    earlier = jnp.expand_dims(place[:, None] > place[None, :], tuple(range(scores.ndim - 1)))
    mine, other = scores[..., :, None], scores[..., None, :]
    below = (other < mine) | ((other == mine) & earlier)
    return (below & counted[..., None, :]).sum(axis=-1, dtype=jnp.int32)


def quantile_of(
    score: Float[Array, "*shape"], scores: Float[Array, "*shape n"], counted: Bool[Array, "*shape n"]
) -> Float[Array, "*shape"]:
    """Give a score's quantile among those that count, half of the equal ones lying below it."""
    mine = score[..., None]
    below = jnp.where(scores < mine, 1.0, jnp.where(scores == mine, 0.5, 0.0))
    n = jnp.maximum(counted.sum(axis=-1), 1).astype(jnp.float32)
    return jnp.where(counted, below, 0).sum(axis=-1, dtype=jnp.float32) / n


def _argmax(values: Array) -> Int32[Array, "..."]:
    return values.argmax(axis=-1).astype(jnp.int32)


def _take(values: Array, index: Int32[Array, "batch length n"]) -> Array:
    return jnp.take_along_axis(values, index[..., None], axis=-1)[..., 0]
