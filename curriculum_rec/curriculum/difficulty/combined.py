"""Several difficulties as one (host); they meet as quantiles, so that their scales do not matter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy.stats import rankdata, spearmanr

from curriculum_rec.curriculum.difficulty.base import Difficulty, RunningLoss, Unit
from curriculum_rec.curriculum.difficulty.workshop import Workshop, needed
from curriculum_rec.data.examples import Examples
from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import at_least, check_ranges, one_of

How = Literal["mean", "max", "lexicographic"]


@dataclass(frozen=True)
class Combined:
    """Several difficulties as one.

    Args:
        difficulties: Named difficulties, at least two, which count in the order of their names.
        how: ``mean`` of their quantiles, ``max`` of their quantiles, or ``lexicographic``: the first, and between equal
            ones the next.

    Source: ours; ranks are averaged as by the Borda count.
    """

    difficulties: Mapping[str, Difficulty]
    how: How = "mean"

    def __post_init__(self) -> None:
        check_ranges(self, "curriculum.difficulty", {"how": one_of(*get_args(How))})
        if not isinstance(self.difficulties, Mapping) or len(self.difficulties) < 2:
            raise OptionError("curriculum.difficulty.difficulties: it needs at least two")
        if len({inner.decay for inner in self.difficulties.values()} - {None}) > 1:
            raise OptionError("curriculum.difficulty.difficulties: their decay differs, and there is one running loss")

    @property
    def decay(self) -> float | None:
        """That of those which feed on losses."""
        return next((inner.decay for inner in self.difficulties.values() if inner.decay is not None), None)

    def __call__(
        self,
        examples: Examples,
        unit: Unit,
        losses: RunningLoss | None = None,
        workshop: Workshop | None = None,
    ) -> np.ndarray:
        """Score all units, float64 ``[n_units]``."""
        scores = [self.difficulties[name](examples, unit, losses, workshop) for name in sorted(self.difficulties)]
        return combine(np.stack(scores), self.how)


@dataclass(frozen=True)
class Ensemble:
    """The mean of a difficulty's quantiles over teachers of several seeds, which depends less on one of them.

    How well two halves of the seeds agree is printed.

    Args:
        difficulty: One that asks teachers.
        seeds: How many; at least 2.

    Source: Rampp et al. (2024) on how much scores depend on the seed.
    """

    difficulty: Difficulty
    seeds: int = 3

    def __post_init__(self) -> None:
        check_ranges(self, "curriculum.difficulty", {"seeds": at_least(2)})

    @property
    def decay(self) -> float | None:
        """That of the difficulty."""
        return self.difficulty.decay

    def __call__(
        self,
        examples: Examples,
        unit: Unit,
        losses: RunningLoss | None = None,
        workshop: Workshop | None = None,
    ) -> np.ndarray:
        """Score all units, float64 ``[n_units]``.

        Raises:
            OptionError: There is no workshop, or the difficulty does not ask teachers.
        """
        workshop = needed(workshop, self)
        scores = np.stack(
            [self.difficulty(examples, unit, losses, workshop.other(number)) for number in range(self.seeds)]
        )
        if (scores == scores[0]).all():
            name = type(self.difficulty).__name__
            raise OptionError(f"curriculum.difficulty.difficulty={name} is the same for all seeds: leave Ensemble out")
        agreement = split_half_agreement(scores)
        workshop.say(f"{type(self.difficulty).__name__} of {self.seeds} seeds: two halves agree by {agreement:.3f}")
        return combine(scores, "mean")


def combine(scores: np.ndarray, how: How) -> np.ndarray:
    """Combine scores.

    Args:
        scores: ``[n_scores, n]``, higher is harder.
        how: As in :class:`Combined`.

    Returns:
        float64 ``[n]``, quantiles or their mean; equal only where all that counts is.

    >>> combine(np.array([[5.0, 1.0, 1.0], [0.0, 7.0, 9.0]]), "lexicographic").tolist()
    [0.8333333333333334, 0.16666666666666666, 0.5]
    """
    quantile = np.stack([tied_quantiles(score) for score in scores])
    if how == "lexicographic":
        return tied_quantiles(np.unique(quantile.T, axis=0, return_inverse=True)[1].reshape(-1))
    return quantile.mean(axis=0) if how == "mean" else quantile.max(axis=0)


def tied_quantiles(score: np.ndarray) -> np.ndarray:
    """Give ``(rank + 0.5) / n``, equal scores sharing the mean of their ranks.

    >>> tied_quantiles(np.array([2.0, 1.0, 2.0, np.inf])).tolist()
    [0.5, 0.125, 0.5, 0.875]
    """
    return (rankdata(score) - 0.5) / len(score)


def split_half_agreement(scores: np.ndarray) -> float:
    """Give the rank correlation between the mean quantiles of the first and of the second half of some scores.

    Args:
        scores: ``[n_scores, n]``, at least two.

    Source: the split-half reliability of Spearman (1910).
    """
    half = len(scores) // 2
    return float(spearmanr(combine(scores[:half], "mean"), combine(scores[half:], "mean")).statistic)
