"""The audit of scorers (host): do they agree with themselves, with each other, and with what is known to be wrong?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import rankdata

from curriculum_rec.curriculum.difficulty import Difficulty
from curriculum_rec.curriculum.difficulty.combined import split_half_agreement
from curriculum_rec.curriculum.quantile import quantiles
from curriculum_rec.curriculum.trained import N_DECILES
from curriculum_rec.data.examples import Examples
from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.scorers import roc_auc
from curriculum_rec.ranges import at_least, check_value


@dataclass(frozen=True)
class Scorer:
    """What one scorer says of all training targets.

    Attributes:
        name: What to call it.
        scores: float64 ``[n_seeds, n_targets]``, higher is harder; one row where chance plays no part.
    """

    name: str
    scores: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Average over the seeds, float64 ``[n_targets]``."""
        return self.scores.mean(axis=0)


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        scorers: In the order given.
        correlation: Spearman's rank correlation of the scorers, float64 ``[n, n]``; not a number for a constant score.
        split_half: Of each scorer, the rank correlation of the mean quantiles of two halves of its seeds; or None.
        noise_auc: Of each scorer, the probability that a wrong target is ranked above a right one; None where nothing
            is known to be wrong.
        noise_share: Share of wrong targets in each tenth of each scorer, easiest first, float64 ``[n, 10]``; None
            likewise.
        n_noise: How many targets are known to be wrong.
    """

    scorers: tuple[Scorer, ...]
    correlation: np.ndarray
    split_half: tuple[float | None, ...]
    noise_auc: tuple[float | None, ...]
    noise_share: np.ndarray | None
    n_noise: int

    @property
    def names(self) -> tuple[str, ...]:
        """The scorers' names."""
        return tuple(scorer.name for scorer in self.scorers)


def audit(scorers: Sequence[Scorer], noise: np.ndarray | None = None) -> Audit:
    """Compare scorers of the same targets.

    Args:
        scorers: At least one.
        noise: bool ``[n_targets]``, which targets are known to be wrong; None where nobody knows.

    Raises:
        OptionError: There is no scorer, or a score is not a number.
    """
    if not scorers:
        raise OptionError("difficulties=[]: name at least one, or give scores")
    for scorer in scorers:
        if np.isnan(scorer.scores).any():
            raise OptionError(f"the score '{scorer.name}' is not a number for some targets")
    means = [scorer.mean for scorer in scorers]
    known = noise is not None and bool(noise.any()) and not bool(noise.all())
    return Audit(
        scorers=tuple(scorers),
        correlation=rank_correlations(np.array(means)),
        split_half=tuple(split_half_agreement(scorer.scores) if len(scorer.scores) > 1 else None for scorer in scorers),
        noise_auc=tuple(roc_auc(mean, noise) if known and noise is not None else None for mean in means),
        noise_share=np.array([noise_by_decile(mean, noise) for mean in means]) if known and noise is not None else None,
        n_noise=int(noise.sum()) if noise is not None else 0,
    )


def rank_correlations(values: np.ndarray) -> np.ndarray:
    """Compute Spearman's rank correlation of all pairs of rows, equal values at their mean rank.

    Args:
        values: ``[n, m]``.

    Returns:
        float64 ``[n, n]``, not a number beside a constant row.

    >>> rank_correlations(np.array([[1.0, 2.0, 3.0], [9.0, 4.0, 4.0]])).round(3).tolist()
    [[1.0, -0.866], [-0.866, 1.0]]
    """
    ranks = rankdata(values, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    length = np.sqrt((ranks**2).sum(axis=1, keepdims=True))
    unit = np.divide(ranks, length, out=np.full_like(ranks, np.nan), where=length > 0)
    return np.clip(unit @ unit.T, -1, 1)


def noise_by_decile(score: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Compute the share of wrong targets in each tenth of a score, easiest first, float64 ``[10]``.

    Args:
        score: ``[n_targets]``; equal scores are ranked as a curriculum with seed 0 would.
        noise: bool ``[n_targets]``.
    """
    decile = np.floor(quantiles(score, seed=0) * N_DECILES).astype(np.int64)
    size = np.bincount(decile, minlength=N_DECILES)
    return np.bincount(decile, weights=noise, minlength=N_DECILES) / np.maximum(size, 1)


def score(name: str, difficulty: Difficulty, examples: Examples, *, n_seeds: int) -> Scorer:
    """Score all training targets by a difficulty, once, or once a seed where it has the option ``seed``.

    Args:
        name: What to call it.
        difficulty: The component.
        examples: Own the targets.
        n_seeds: Seeds of a difficulty that chance plays a part in, its own and those after it; at least 2.

    Raises:
        OptionError: The difficulty cannot score these examples.
    """
    check_value("seeds", n_seeds, at_least(2))
    variants = [difficulty]
    if is_dataclass(difficulty) and any(field.name == "seed" for field in fields(difficulty)):
        component: Any = difficulty
        variants = [replace(component, seed=component.seed + more) for more in range(n_seeds)]
    return Scorer(name, np.array([variant(examples, "target", None) for variant in variants], np.float64))
