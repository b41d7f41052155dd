"""Time (host): the hour, the day of the week, and how long ago the user was last seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import polars as pl

from curriculum_rec.data.cleaning.timestamps import PER_SECOND, Unit
from curriculum_rec.data.features.contract import Fitted, fit_each
from curriculum_rec.data.features.numeric import Scaler
from curriculum_rec.data.features.schema import Field, Schema
from curriculum_rec.data.interactions import TIMESTAMP, USER
from curriculum_rec.data.values import column_of, numbers_of
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.ranges import check_ranges, one_of

TimePart = Literal["hour", "weekday", "day", "month"]
PERIODS: dict[str, tuple[int, int]] = {"hour": (0, 24), "weekday": (1, 7), "day": (1, 31), "month": (1, 12)}
"""The first number of each part, and how many there are."""


@dataclass(frozen=True)
class Time:
    """Parts of a time: a point on a circle for each, so that 23 and 0 o'clock are neighbours, or a code.

    Args:
        columns: The columns; None takes that of the feature's name.
        parts: ``hour``, ``weekday``, ``day`` (of the month), ``month``.
        cyclic: Whether a part is sine and cosine; else it is a categorical feature, of which 0 is missing.
        unit: What numbers count since 1970.
        format: How texts are read instead, such as ``%y%m%d%H`` for 14102100; see Polars' ``str.to_datetime``.
        zone: The time zone of the hours, such as ``Europe/Vienna``; texts are local there.
    """

    columns: tuple[str, ...] | None = None
    parts: tuple[TimePart, ...] = ("hour", "weekday")
    cyclic: bool = True
    unit: Unit = "s"
    format: str | None = None
    zone: str = "UTC"

    def __post_init__(self) -> None:
        check_ranges(self, "features", {"unit": one_of(*get_args(Unit))})
        if not self.parts or any(part not in PERIODS for part in self.parts):
            raise OptionError(f"features: parts={list(self.parts)}: it needs some of {', '.join(PERIODS)}")
        try:
            pl.Series([0]).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(self.zone)
        except pl.exceptions.PolarsError as error:
            raise OptionError(f"features: zone={self.zone} is no time zone such as UTC or Europe/Vienna") from error

    def fit(self, frame: pl.DataFrame, *, name: str) -> Fitted:
        """Look whether there are times; nothing is learnt of them."""

        def fit_one(column: str, called: str) -> FittedTime:
            column_of(frame, column, wanted_by="features")
            return FittedTime(called, column, self.parts, self.cyclic, self.unit, self.format, self.zone)

        return fit_each(self.columns, name, fit_one)


@dataclass(frozen=True)
class FittedTime:
    """See :class:`Time`."""

    name: str
    column: str
    parts: tuple[str, ...]
    cyclic: bool
    unit: str
    format: str | None
    zone: str

    @property
    def fields(self) -> Schema:
        """One dense field of two numbers a part, or a categorical one a part."""
        if self.cyclic:
            return (Field(self.name, "dense", 2 * len(self.parts), 2 * len(self.parts)),)
        return tuple(Field(f"{self.name}.{part}", "categorical", 1 + PERIODS[part][1], 1) for part in self.parts)

    def transform(self, frame: pl.DataFrame) -> np.ndarray:
        """Give float32 ``[n, 2 parts]``, zeros where a time is missing, or int32 codes ``[n, parts]``."""
        times = self._times(frame)
        columns = []
        for part in self.parts:
            first, period = PERIODS[part]
            number = getattr(times.dt, part)().cast(pl.Float64).to_numpy() - first
            if not self.cyclic:
                columns.append(np.where(np.isnan(number), 0, number + 1))
                continue
            angle = 2 * np.pi * number / period
            columns += [np.nan_to_num(np.sin(angle)), np.nan_to_num(np.cos(angle))]
        return np.stack(columns, axis=1).astype(np.float32 if self.cyclic else np.int32)

    def _times(self, frame: pl.DataFrame) -> pl.Series:
        column = column_of(frame, self.column, wanted_by="features")
        if self.format is not None:
            try:
                texts, how = column.cast(pl.String), self.format
                if "%H" in how and "%M" not in how:  # no time of day to the parser, until a minute makes it one
                    texts, how = texts + "|00", f"{how}|%M"
                return texts.str.to_datetime(how, strict=True, time_unit="us")
            except pl.exceptions.PolarsError as error:
                raise DataError(
                    f"features: column '{self.column}' does not read as {self.format}: {str(error).splitlines()[0]}"
                ) from error
        if column.dtype in (pl.Datetime, pl.Date):
            instants = column.cast(pl.Datetime("us"))
        else:
            number = numbers_of(frame, self.column, wanted_by="features")
            instants = (number * (10**6 / PER_SECOND[self.unit])).cast(pl.Int64).cast(pl.Datetime("us"))
        return instants.dt.replace_time_zone("UTC").dt.convert_time_zone(self.zone)


@dataclass(frozen=True)
class TimeGap:
    """How long ago the user was last seen: the logarithm of the seconds, scaled, and 1 where there was no time before.

    Args:
        user: The column of users.
        timestamp: The column of times, numbers.
        unit: What they count.
    """

    user: str = USER
    timestamp: str = TIMESTAMP
    unit: Unit = "s"

    def __post_init__(self) -> None:
        check_ranges(self, "features", {"unit": one_of(*get_args(Unit))})

    def fit(self, frame: pl.DataFrame, *, name: str) -> Fitted:
        """Take mean and deviation of the gaps between training rows."""
        gap = log_gaps(frame, self.user, self.timestamp, self.unit)
        return FittedTimeGap(name, self.user, self.timestamp, self.unit, Scaler.of(gap[:, None], "standard"))


@dataclass(frozen=True)
class FittedTimeGap:
    """See :class:`TimeGap`; looks at all rows that it is given, each user's in the order of time."""

    name: str
    user: str
    timestamp: str
    unit: Unit
    scaler: Scaler

    @property
    def fields(self) -> Schema:
        """One dense field of two numbers."""
        return (Field(self.name, "dense", 2, 2),)

    def transform(self, frame: pl.DataFrame) -> np.ndarray:
        """Give float32 ``[n, 2]``."""
        gap = log_gaps(frame, self.user, self.timestamp, self.unit)[:, None]
        return np.concatenate([self.scaler(gap), np.isnan(gap)], axis=1).astype(np.float32)


def log_gaps(frame: pl.DataFrame, user: str, timestamp: str, unit: Unit) -> np.ndarray:
    """Give ``log(1 + seconds)`` since the user's row before, float64 ``[n]``, NaN where there is none.

    >>> frame = pl.DataFrame({"u": ["a", "b", "a"], "t": [5, 7, 5]})
    >>> log_gaps(frame, "u", "t", "s").tolist()
    [nan, nan, 0.0]
    """
    seconds = numbers_of(frame, timestamp, wanted_by="features") / PER_SECOND[unit]
    rows = pl.DataFrame({"user": column_of(frame, user, wanted_by="features"), "time": seconds}).with_row_index("row")
    ordered = rows.sort("time", maintain_order=True)
    gap = ordered.select("row", (pl.col("time") - pl.col("time").shift(1).over("user")).alias("gap")).sort("row")
    return np.log1p(gap["gap"].fill_null(np.nan).to_numpy())
