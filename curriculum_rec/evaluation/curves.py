"""How a run's quality went (host): against steps, seconds or operations, for comparisons at equal budgets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from curriculum_rec.errors import RunError

Unit = Literal["step", "seconds", "operations"]
"""What the course of a run is told against."""


@dataclass(frozen=True)
class Curve:
    """How a run's validation metric went, one entry an evaluation.

    Attributes:
        step: int64 ``[n]``, steps trained until then.
        seconds: float64 ``[n]``, seconds of training until then, without compilation and evaluations.
        operations: float64 ``[n]``, what the model computed in training until then; NaN where it does not know.
        value: float64 ``[n]``.
    """

    step: np.ndarray
    seconds: np.ndarray
    operations: np.ndarray
    value: np.ndarray

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]], metric: str) -> Curve:
        """Take the rows of ``metrics.jsonl``, in any order.

        Raises:
            RunError: No row is an evaluation that has the metric.
        """
        rows = list(rows)
        points = [row for row in rows if row["event"] == "evaluation" and metric in row]
        if not points:
            raise RunError(f"the log has no evaluation with {metric}")
        timed = [row for row in rows if row["event"] == "speed"]
        spent = np.cumsum([0.0, *(row["seconds"] - row["compile_seconds"] for row in timed)])
        step = np.array([row["step"] for row in points])
        return cls(
            step,
            spent[np.searchsorted([row["step"] for row in timed], step, side="right")],
            np.array([np.nan if row.get("operations") is None else row["operations"] for row in points], float),
            np.array([row[metric] for row in points], float),
        )

    def best_within(self, budget: float, unit: Unit = "step") -> float:
        """Give the best value reached within a budget; NaN before the first evaluation.

        Raises:
            RunError: Operations are asked for, and the run does not know its own.

        >>> rows = [10, 20], [1.0, 2.5], [5.0, 9.0], [0.3, 0.2]
        >>> Curve(*map(np.array, rows)).best_within(2.0, "seconds")
        0.3
        """
        reached = self.value[self._spent(unit) <= budget]
        return float(reached.max()) if len(reached) else np.nan

    def first_at(self, value: float, unit: Unit = "step") -> float:
        """Give what had been spent when a value was first reached; infinity if it never was.

        Raises:
            RunError: As :meth:`best_within`.

        >>> rows = [10, 20], [1.0, 2.5], [5.0, 9.0], [0.1, 0.3]
        >>> Curve(*map(np.array, rows)).first_at(0.2)
        20.0
        """
        where = np.flatnonzero(self.value >= value)
        return float(self._spent(unit)[where[0]]) if len(where) else np.inf

    def _spent(self, unit: Unit) -> np.ndarray:
        spent: np.ndarray = getattr(self, unit)
        if np.isnan(spent).any():
            raise RunError("this run does not know its operations: compare by seconds, or by steps")
        return spent
