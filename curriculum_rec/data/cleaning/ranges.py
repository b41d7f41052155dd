"""Values that cannot be (host): ratings above the scale, times before the shop opened."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from curriculum_rec.data.cleaning.timestamps import Unit, moment
from curriculum_rec.data.interactions import TIMESTAMP
from curriculum_rec.data.values import numbers_of
from curriculum_rec.errors import OptionError


@dataclass(frozen=True)
class DropOutOfRange:
    """Remove rows in which a number lies outside a range; a missing one stays, for another rule.

    Args:
        column: The column, such as ``rating`` or ``timestamp``.
        low: The least value that stays, a number or, of timestamps, a date such as ``2010-12-01``; None for no bound.
        high: The greatest value that stays, in the same way.
        unit: What timestamps count since 1970; dates need it.
    """

    column: str = "rating"
    low: float | str | None = None
    high: float | str | None = None
    unit: Unit | None = None

    def __post_init__(self) -> None:
        if self.low is None and self.high is None:
            raise OptionError(f"cleaning: a range of '{self.column}' has no effect without low or high")
        dates = [bound for bound in (self.low, self.high) if isinstance(bound, str)]
        if dates and (self.column != TIMESTAMP or self.unit is None):
            raise OptionError(f"cleaning: {dates[0]} is a date, which needs column=timestamp and unit=s, ms, us or ns")
        if not dates and self.unit is not None:
            raise OptionError(f"cleaning: unit={self.unit} has no effect on bounds that are numbers: leave it out")
        low, high = self._bounds()
        if low is not None and high is not None and low > high:
            raise OptionError(f"cleaning: low={self.low} lies above high={self.high}")

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Apply the rule."""
        number = numbers_of(frame, self.column, wanted_by="cleaning")
        low, high = self._bounds()
        outside = pl.repeat(value=False, n=len(frame), dtype=pl.Boolean, eager=True)
        if low is not None:
            outside |= (number < low).fill_null(value=False)
        if high is not None:
            outside |= (number > high).fill_null(value=False)
        return frame.filter(~outside)

    def _bounds(self) -> tuple[float | None, float | None]:
        low, high = (
            moment(bound, self.unit) if isinstance(bound, str) and self.unit is not None else bound
            for bound in (self.low, self.high)
        )
        return low, high  # type: ignore[return-value]
