"""Difficulty (host): a number for every example or every single target, higher is harder.

Only the rank travels on (:mod:`curriculum_rec.curriculum.quantile`), so every scorer fits every pacing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from curriculum_rec.curriculum.difficulty.workshop import Workshop
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

    def __call__(
        self, examples: Examples, unit: Unit, losses: RunningLoss | None, workshop: Workshop | None = None
    ) -> np.ndarray:
        """Score all units, float64 ``[n_units]``.

        Args:
            examples: What is scored.
            unit: Whether sequences or single targets are.
            losses: The student's running losses; None where nobody asked for them.
            workshop: Trains teachers; None where there is none.
        """
        ...


def check_targets(difficulty: object, examples: Examples) -> None:
    """Refuse examples whose single targets cannot be told apart.

    Raises:
        OptionError: They are no sequences.
    """
    if not examples.has_targets:
        raise OptionError(
            f"difficulty {type(difficulty).__name__.lower()} needs sequences, and these examples have no 2-D 'target'"
        )


def mean_by_example(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Average flat values over the examples that they belong to.

    Args:
        values: ``[n_targets]``.
        offsets: ``[n + 1]``; example ``i`` owns ``values[offsets[i]:offsets[i + 1]]``, at least one each.

    >>> mean_by_example(np.array([1.0, 3.0, 5.0]), np.array([0, 2, 3])).tolist()
    [2.0, 5.0]
    """
    return np.add.reduceat(values, offsets[:-1]) / np.diff(offsets)
