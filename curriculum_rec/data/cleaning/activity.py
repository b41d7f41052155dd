"""Users who are no people (host): more events than a person could make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import polars as pl

from curriculum_rec.data.cleaning.timestamps import PER_SECOND, Unit
from curriculum_rec.data.interactions import TIMESTAMP, USER
from curriculum_rec.data.values import column_of
from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import at_least, check_ranges, one_of


@dataclass(frozen=True)
class DropInhumanActivity:
    """Remove all rows of users with more events than a person could make.

    Args:
        per_day: Most events of a user on one day (UTC); None for no bound.
        total: Most events of a user; None for no bound.
        unit: What timestamps count since 1970; ``per_day`` needs it.
    """

    per_day: int | None = None
    total: int | None = None
    unit: Unit = "s"

    def __post_init__(self) -> None:
        if self.per_day is None and self.total is None:
            raise OptionError("cleaning: a bound on activity has no effect without per_day or total")
        ranges = {
            "per_day": at_least(1).or_null(),
            "total": at_least(1).or_null(),
            "unit": one_of(*get_args(Unit)),
        }
        check_ranges(self, "", ranges)

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Apply the rule."""
        for name, most in (("total", self.total), ("per_day", self.per_day)):
            if most is None:
                continue
            by = [pl.col(USER)]
            if name == "per_day":
                column_of(frame, TIMESTAMP, wanted_by="cleaning: per_day")
                by.append((pl.col(TIMESTAMP) // (86_400 * PER_SECOND[self.unit])).alias("day"))
            beyond = frame.group_by(by).len().filter(pl.col("len") > most)[USER].unique()
            frame = frame.filter(~pl.col(USER).is_in(beyond.implode()))
        return frame
