"""Negatives chosen by what the target itself scores (device)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax.numpy as jnp

from curriculum_rec.models.batch import BatchRng
from curriculum_rec.negatives.candidates import Choice, FromCandidates, Scored
from curriculum_rec.negatives.contract import draw_numbers, ramp
from curriculum_rec.ranges import POSITIVE, SHARE, between, check_ranges


@dataclass(frozen=True, kw_only=True)
class Adaptive(FromCandidates):
    """The candidate whose score is nearest to ``beta (positive + alpha)^(power + 1)``.

    With ``power`` below -1 a target that scores low gets a harder negative than one that scores high; at -1 all get the
    one nearest to ``beta``. Where ``positive + alpha`` is not above 0, it counts as 0.001.

    Args:
        alpha: Added to the target's score, above 0.
        beta: Scale, above 0.
        power: How the hardness follows the target's score, at most 0.

    Source: Lai et al. (2024), adaptive hardness negative sampling.
    """

    alpha: float = 1.0
    beta: float = 0.1
    power: float = -2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        ranges = {"alpha": POSITIVE, "beta": POSITIVE, "power": between(-math.inf, 0, high_too=True)}
        check_ranges(self, "objective.negatives", ranges)

    def choose(self, scored: Scored, rng: BatchRng) -> Choice:
        """Take the nearest score."""
        del rng
        wanted = self.beta * jnp.maximum(scored.positive + self.alpha, 1e-3) ** (self.power + 1)
        distance = jnp.where(scored.allowed, jnp.abs(scored.scores - wanted), jnp.inf)
        return Choice(distance.argmin(axis=-1).astype(jnp.int32))


@dataclass(frozen=True, kw_only=True)
class Mixed(FromCandidates):
    """The hardest candidate after mixing a random part of the target into each: ``u target + (1 - u) candidate``.

    Scores are inner products, so that the mixture's score is the mixture of the scores. Each candidate's ``u`` is
    uniform in (0, cap), and the gradient flows through the target and the chosen candidate.

    Args:
        cap_start: Largest part of the target at first, in [0, 1].
        cap: Largest part of the target from ``full_at`` on, in [0, 1].
        full_at: Fraction of the run, linearly until which it changes; above 0.

    Source: Huang et al. (2021), the positive mixing of MixGCF, without its mixing of layers.
    """

    cap_start: float = 1.0
    cap: float = 1.0
    full_at: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "objective.negatives", {"cap_start": SHARE, "cap": SHARE, "full_at": POSITIVE})

    def choose(self, scored: Scored, rng: BatchRng) -> Choice:
        """Take the highest mixed score."""
        cap = ramp(scored.progress, self.cap_start, self.cap, self.full_at)
        mix = cap * draw_numbers(rng.named("mix"), *scored.scores.shape[1:])
        mixed = mix * scored.positive + (1 - mix) * scored.scores
        index = jnp.where(scored.allowed, mixed, -jnp.inf).argmax(axis=-1).astype(jnp.int32)
        return Choice(index, jnp.take_along_axis(mix, index[..., None], axis=-1)[..., 0])
