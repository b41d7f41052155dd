"""Outliers (host): numbers far from the others of their column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import polars as pl

from curriculum_rec.data.values import numbers_of
from curriculum_rec.ranges import POSITIVE, check_value, one_of

Method = Literal["iqr", "z_score"]


@dataclass(frozen=True)
class DropOutliers:
    """Remove rows in which a number is far from the others; a missing one stays, for another rule.

    The bounds come from all rows that reach the rule, those of later parts among them, as every decision of cleaning.

    Args:
        columns: The columns; a row goes if one of them is far off.
        method: ``iqr`` keeps from ``q1 - factor (q3 - q1)`` to ``q3 + factor (q3 - q1)`` between the quartiles
            (linear between ranks), ``z_score`` from ``mean - factor std`` to ``mean + factor std``.
        factor: As above; 1.5 and 3 are usual.

    Source: the fences of Tukey (1977).
    """

    columns: tuple[str, ...]
    method: Method = "iqr"
    factor: float = 1.5

    def __post_init__(self) -> None:
        check_value("cleaning: method", self.method, one_of(*get_args(Method)))
        check_value("cleaning: factor", self.factor, POSITIVE)

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Apply the rule."""
        far = pl.repeat(value=False, n=len(frame), dtype=pl.Boolean, eager=True)
        for column in self.columns:
            number = numbers_of(frame, column, wanted_by="cleaning")
            bounds = self._bounds(number.drop_nulls())
            if bounds is not None:
                far |= ((number < bounds[0]) | (number > bounds[1])).fill_null(value=False)
        return frame.filter(~far)

    def _bounds(self, number: pl.Series) -> tuple[float, float] | None:
        if number.is_empty():
            return None
        if self.method == "iqr":
            q1, q3 = (float(number.quantile(q, interpolation="linear")) for q in (0.25, 0.75))  # type: ignore[arg-type]
            return q1 - self.factor * (q3 - q1), q3 + self.factor * (q3 - q1)
        mean, std = float(number.mean()), float(number.std(ddof=0))  # type: ignore[arg-type]
        return mean - self.factor * std, mean + self.factor * std
