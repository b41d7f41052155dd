"""Difficulty (host): a number for every example or every single target, higher is harder.

Only the rank travels on (:mod:`curriculum_rec.curriculum.quantile`), so every scorer fits every pacing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from curriculum_rec.data.examples import Examples
from curriculum_rec.errors import OptionError

Unit = Literal["sequence", "target"]


@dataclass(frozen=True)
class RunningLoss:
    """Each unit's own loss, averaged over the times it was seen.

    Attributes:
        mean: float32 ``[n_units]``; 0 where a unit was never seen.
        seen: bool ``[n_units]``.
    """

    mean: np.ndarray
    seen: np.ndarray


@runtime_checkable
class Difficulty(Protocol):
    """A scorer of examples."""

    @property
    def decay(self) -> float | None:
        """Share of the old mean that each new loss leaves in the running loss; None where none is needed."""
        ...

    def __call__(self, examples: Examples, unit: Unit, losses: RunningLoss | None) -> np.ndarray:
        """Score all units, float64 ``[n_units]``."""
        ...


class StaticDifficulty:
    """A difficulty that depends on the data alone and is scored once."""

    decay: None = None


@dataclass(frozen=True)
class Length(StaticDifficulty):
    """The number of items before the target; for a sequence, of its whole history after truncation.

    Source: sentence length in Platanios et al. (2019), equation for ``d_length``.
    """

    def __call__(self, examples: Examples, unit: Unit, losses: RunningLoss | None = None) -> np.ndarray:
        """Score all units."""
        if not examples.has_targets:
            raise OptionError("difficulty length needs sequences, and these examples have no 2-D 'target'")
        lengths = np.diff(examples.target_offsets)
        if unit == "sequence":
            return lengths.astype(np.float64)
        return np.arange(1, len(examples.targets) + 1) - np.repeat(examples.target_offsets[:-1], lengths).astype(float)


@dataclass(frozen=True)
class Popularity(StaticDifficulty):
    """Rarity of the target item, ``-log((n + alpha) / (sum n + alpha * n_items))``; a sequence has its targets' mean.

    Args:
        alpha: Added to every item's training count, so that an unseen item stays finite.

    Source: the rarity of Platanios et al. (2019) with the target item as the word.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.alpha < math.inf:
            raise OptionError(f"curriculum.difficulty.alpha={self.alpha}: it must be a number above 0")

    def __call__(self, examples: Examples, unit: Unit, losses: RunningLoss | None = None) -> np.ndarray:
        """Score all units."""
        if examples.item_counts is None:
            raise OptionError("difficulty popularity needs item counts, which these examples do not have")
        counts = examples.item_counts.astype(np.float64)
        n_items = len(counts) - 1
        rarity = -np.log((counts + self.alpha) / (counts.sum() + self.alpha * n_items))
        per_target = rarity[examples.targets]
        return per_target if unit == "target" else mean_by_example(per_target, examples.target_offsets)


@dataclass(frozen=True)
class Loss:
    """The running mean of each unit's own training loss, fed by the steps themselves without an extra pass.

    A unit that was never seen counts as of average difficulty.

    Args:
        decay: Share of the old mean that a new loss leaves: ``m <- decay * m + (1 - decay) * loss``.

    Source: self-paced learning (Kumar et al., 2010) with the moving average of DIHCL (Zhou et al., 2020).
    """

    decay: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise OptionError(f"curriculum.difficulty.decay={self.decay}: it must lie in [0, 1)")

    def __call__(self, examples: Examples, unit: Unit, losses: RunningLoss | None) -> np.ndarray:
        """Score all units."""
        if losses is None:
            raise OptionError("difficulty loss needs the running losses of a training run")
        average = losses.mean[losses.seen].mean() if losses.seen.any() else 0.0
        return np.where(losses.seen, losses.mean, average).astype(np.float64)


def mean_by_example(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Average flat values over the examples that they belong to.

    Args:
        values: ``[n_targets]``.
        offsets: ``[n + 1]``; example ``i`` owns ``values[offsets[i]:offsets[i + 1]]``, at least one each.

    >>> mean_by_example(np.array([1.0, 3.0, 5.0]), np.array([0, 2, 3])).tolist()
    [2.0, 5.0]
    """
    return np.add.reduceat(values, offsets[:-1]) / np.diff(offsets)
