"""What timestamps count (host): seconds or parts of them, and whether the dates that they make can be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

import polars as pl

from curriculum_rec.data.interactions import TIMESTAMP
from curriculum_rec.data.values import column_of
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.ranges import check_value, one_of

Unit = Literal["s", "ms", "us", "ns"]
PER_SECOND: dict[str, int] = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


@dataclass(frozen=True)
class ConvertTimestamps:
    """Turn timestamps from one unit into another, and refuse those that are no dates of our time.

    Whole numbers stay whole: what a coarser unit cannot say is cut off.

    Args:
        unit: What the source's numbers count since 1970.
        to: What they shall count.
        earliest: A date before which no timestamp may lie.
        latest: A date after which none may lie.
    """

    unit: Unit = "ms"
    to: Unit = "s"
    earliest: str = "1990-01-01"
    latest: str = "2100-01-01"

    def __post_init__(self) -> None:
        for name in ("unit", "to"):
            check_value(f"cleaning: {name}", getattr(self, name), one_of(*get_args(Unit)))
        if moment(self.earliest, "s") >= moment(self.latest, "s"):
            raise OptionError(f"cleaning: earliest={self.earliest} is not before latest={self.latest}")

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Apply the rule.

        Raises:
            DataError: There are no timestamps, or their dates cannot be.
        """
        times = column_of(frame, TIMESTAMP, wanted_by="cleaning")
        if not times.dtype.is_numeric():
            raise DataError(f"cleaning: timestamps are {times.dtype}, and a unit is one of numbers")
        self._check(times)
        up, down = PER_SECOND[self.to], PER_SECOND[self.unit]
        if times.dtype.is_integer():
            factor, divisor = max(up // down, 1), max(down // up, 1)
            return frame.with_columns((times.cast(pl.Int64) * factor // divisor).alias(TIMESTAMP))
        return frame.with_columns((times * (up / down)).alias(TIMESTAMP))

    def _check(self, times: pl.Series) -> None:
        low, high = moment(self.earliest, self.unit), moment(self.latest, self.unit)
        wrong = ((times < low) | (times > high)).fill_null(value=False).arg_true()
        if not len(wrong):
            return
        value = times[wrong[0]]
        fits = [unit for unit in get_args(Unit) if moment(self.earliest, unit) <= value <= moment(self.latest, unit)]
        hint = f"is it {fits[0]}, unit={fits[0]}?" if fits else "drop such rows by a rule before this one"
        raise DataError(
            f"cleaning: timestamp {value} in {self.unit} lies outside {self.earliest} to {self.latest}: {hint}"
        )


def moment(date: str, unit: Unit) -> int:
    """Turn a date, or a date and a time, into what a unit counts since 1970; UTC unless it names a zone.

    Raises:
        OptionError: It is no date.

    >>> moment("1970-01-02", "s"), moment("1970-01-01T00:00:01+01:00", "ms")
    (86400, -3599000)
    """
    try:
        parsed = datetime.fromisoformat(date)
    except ValueError as error:
        raise OptionError(f"cleaning: '{date}' is no date such as 2010-12-01 or 2010-12-01T08:00:00+01:00") from error
    parsed = parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)
    past = parsed - datetime(1970, 1, 1, tzinfo=UTC)
    return ((past.days * 86_400 + past.seconds) * 10**6 + past.microseconds) * PER_SECOND[unit] // 10**6
