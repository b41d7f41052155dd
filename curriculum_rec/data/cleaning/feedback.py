"""From ratings to implicit feedback (host)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import polars as pl

from curriculum_rec.data.values import numbers_of
from curriculum_rec.errors import OptionError


@dataclass(frozen=True)
class RatingThreshold:
    """Keep the interactions that a user liked: implicit feedback out of ratings.

    Args:
        at_least: The lowest rating that stays; a row without a rating goes.
        column: The column of ratings.

    Source: the common reading of ratings of 4 and 5 of 5 as positive (He et al., Neural Collaborative Filtering, and
        others).
    """

    at_least: float = 4.0
    column: str = "rating"

    def __post_init__(self) -> None:
        if not math.isfinite(self.at_least):
            raise OptionError(f"cleaning: at_least={self.at_least}: it must be a finite number")

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Apply the rule."""
        rating = numbers_of(frame, self.column, wanted_by="cleaning")
        return frame.filter((rating >= self.at_least).fill_null(value=False))
