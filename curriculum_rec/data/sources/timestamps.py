"""Times (host): numbers of any unit as they are, dates and texts of dates as microseconds since 1970 UTC."""

from __future__ import annotations

import zoneinfo

import polars as pl

from curriculum_rec.data.sources.contract import Table, first_line
from curriculum_rec.data.sources.ids import storage_of
from curriculum_rec.errors import DataError, OptionError

UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 1}
"""Microseconds in each unit; nanoseconds are divided."""

WORDS = ("auto", *UNITS, "iso8601")
DATES = ("%Y", "%y", "%F", "%D", "%c", "%x", "%+", "%s", "%G", "%C")
"""Of which a format must have one, to tell the day."""

ISO_8601 = r"^\s*(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d(?:[.,]\d+)?)?)?\s*([Zz]|[+-]\d\d(?::?\d\d)?)?\s*$"


def check_time_options(timestamp_format: str, time_zone: str | None) -> None:
    """Refuse options that no time can follow.

    Raises:
        OptionError: The format is none, or the zone is unknown or has no effect.
    """
    if timestamp_format not in WORDS and "%" not in timestamp_format:
        raise OptionError(
            f"data.timestamp_format={timestamp_format}: it must be one of {', '.join(WORDS)}, or a format such as "
            "'%d.%m.%Y %H:%M'"
        )
    if "%" in timestamp_format and not any(sign in timestamp_format for sign in DATES):
        raise OptionError(f"data.timestamp_format={timestamp_format} has no date: it needs %Y, %m and %d, or the like")
    if time_zone is not None:
        try:
            zoneinfo.ZoneInfo(time_zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise OptionError(
                f"data.time_zone={time_zone} is no time zone: take a name such as Europe/Berlin, or null for UTC"
            ) from error
        if timestamp_format in UNITS or "%z" in timestamp_format or "%s" in timestamp_format:
            raise OptionError(f"data.time_zone={time_zone} has no effect on timestamp_format={timestamp_format}")


def parse_times(table: Table, column: str, *, timestamp_format: str, time_zone: str | None) -> pl.Series:
    """Turn a column of times into numbers.

    Args:
        table: The table.
        column: Its column of times.
        timestamp_format: ``auto`` leaves numbers as they are and reads dates; ``s``, ``ms``, ``us``, ``ns`` is the unit
            of numbers; ``iso8601``, or a format of strptime.
        time_zone: Where clocks stood that times without an offset were read from; None is UTC.

    Returns:
        int64 microseconds since 1970 UTC; with ``auto`` numbers as they are, int64 or float64.

    Raises:
        DataError: A value is no time.
        OptionError: An option has no effect on the column.
    """
    times = storage_of(table.frame[column])
    if times.dtype in (pl.Date, pl.Datetime):
        return _of_dates(table, column, times, timestamp_format, time_zone)
    if times.dtype in (pl.String, pl.Null):
        times = times.cast(pl.String)
        plain = times.cast(pl.Int64, strict=False) if timestamp_format in ("auto", *UNITS) else None
        if plain is not None and plain.null_count() == times.null_count():
            times = plain  # the usual case, without a second look at every text
        else:
            times = times.str.strip_chars()
            times = times.set(times == "", None)
    elif not times.dtype.is_numeric():
        raise DataError(f"column '{column}' of {table.name} is of type {times.dtype}: times are numbers or dates")
    if timestamp_format == "auto":
        return _of_any(table, column, times, time_zone)
    if timestamp_format in UNITS:
        return _of_unit(table, column, times, timestamp_format)
    if times.dtype.is_float() or (timestamp_format == "iso8601" and times.dtype != pl.String):
        raise DataError(
            f"column '{column}' of {table.name} holds numbers, not texts of dates: set data.timestamp_format to their "
            "unit, s, ms, us or ns"
        )
    texts = times.cast(pl.String)
    if timestamp_format == "iso8601":
        return _of_iso(table, column, texts, time_zone)
    return _of_format(table, column, texts, timestamp_format, time_zone)


def _of_any(table: Table, column: str, times: pl.Series, time_zone: str | None) -> pl.Series:
    """Take numbers as they are, and texts of dates where the first that is no number is one."""
    whole = times.cast(pl.Int64, strict=False)  # a float could not tell neighbouring nanoseconds apart
    is_whole = not times.dtype.is_float() and whole.null_count() == times.null_count()
    number = whole if is_whole else times.cast(pl.Float64, strict=False)
    wrong = (times.is_not_null() & (number.is_null() | ~number.is_finite().fill_null(value=False))).arg_true()
    if len(wrong) and times.dtype == pl.String and pl.Series([times[wrong[0]]]).str.contains(ISO_8601).all():
        return _of_iso(table, column, times, time_zone)
    if len(wrong):
        raise table.mistake(
            wrong[0],
            column,
            "which is not a number; times are numbers of any unit or dates such as 2024-12-31T23:59:00Z "
            "(data.timestamp_format names another way to write them, data.timestamp=null takes the row order)",
        )
    if time_zone is not None:
        raise OptionError(f"data.time_zone={time_zone} has no effect: column '{column}' of {table.name} holds numbers")
    return number


def _of_unit(table: Table, column: str, times: pl.Series, unit: str) -> pl.Series:
    factor = UNITS[unit]
    whole = times.cast(pl.Int64, strict=False) if not times.dtype.is_float() else pl.Series([None], dtype=pl.Int64)
    if times.dtype.is_float() or whole.null_count() > times.null_count():
        number = times.cast(pl.Float64, strict=False)
        wrong = (times.is_not_null() & ~number.is_finite().fill_null(value=False)).arg_true()
        if len(wrong):
            raise table.mistake(wrong[0], column, f"which is not a number: data.timestamp_format={unit} wants numbers")
        micro = number * factor if unit != "ns" else number / 1_000
        _refuse_outside(table, column, micro.abs() >= 2.0**63)
        return micro.round().cast(pl.Int64)
    _refuse_outside(table, column, whole.abs() > (2**63 - 1) // factor)
    return whole * factor if unit != "ns" else whole // 1_000


def _refuse_outside(table: Table, column: str, outside: pl.Series) -> None:
    if len(rows := outside.arg_true()):
        raise table.mistake(rows[0], column, "a time beyond the year 292,000: is data.timestamp_format a smaller unit?")


def _of_dates(table: Table, column: str, times: pl.Series, timestamp_format: str, zone: str | None) -> pl.Series:
    if timestamp_format != "auto":
        raise OptionError(
            f"data.timestamp_format={timestamp_format} has no effect: column '{column}' of {table.name} holds dates"
        )
    if zone is None:
        return times.dt.epoch("us")
    if getattr(times.dtype, "time_zone", None) is not None:
        raise OptionError(
            f"data.time_zone={zone} has no effect: column '{column}' of {table.name} says its zone, "
            f"{times.dtype.time_zone}"  # type: ignore[attr-defined]
        )
    return _in_zone(table, column, times.cast(pl.Datetime("us")), zone)


def _of_iso(table: Table, column: str, texts: pl.Series, zone: str | None) -> pl.Series:
    parts = texts.str.extract_groups(ISO_8601).struct.unnest()
    day, clock, seconds, offset = (parts[name] for name in parts.columns)
    written = day + "T" + clock.fill_null("00:00") + seconds.fill_null(":00").str.replace(",", ".", literal=True)
    naive = written.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
    wrong = (texts.is_not_null() & naive.is_null()).arg_true()
    if len(wrong):
        raise table.mistake(wrong[0], column, "which is no date of ISO 8601 such as 2024-12-31T23:59:00Z")
    if zone is not None and not (offset.is_null() & naive.is_not_null()).any():
        raise OptionError(
            f"data.time_zone={zone} has no effect: all times in column '{column}' of {table.name} say their offset"
        )
    local = (
        naive.dt.epoch("us") if zone is None else _in_zone(table, column, naive.set(offset.is_not_null(), None), zone)
    )
    digits = offset.str.replace_all(r"[^\d]", "").str.pad_end(4, "0")
    minutes = digits.str.slice(0, 2).cast(pl.Int64, strict=False) * 60 + digits.str.slice(2, 2).cast(
        pl.Int64, strict=False
    )
    minutes = pl.select(pl.when(offset.str.starts_with("-")).then(-minutes).otherwise(minutes)).to_series().fill_null(0)
    with_offset = naive.dt.epoch("us") - minutes * 60_000_000
    return pl.select(pl.when(offset.is_null()).then(local).otherwise(with_offset)).to_series().alias(column)


def _of_format(table: Table, column: str, texts: pl.Series, timestamp_format: str, zone: str | None) -> pl.Series:
    try:
        times = texts.str.to_datetime(timestamp_format, time_unit="us", strict=False, ambiguous="earliest")
    except pl.exceptions.PolarsError as error:
        raise OptionError(f"data.timestamp_format={timestamp_format} cannot be read by: {first_line(error)}") from error
    wrong = (texts.is_not_null() & times.is_null()).arg_true()
    if len(wrong):
        raise table.mistake(wrong[0], column, f"which does not follow data.timestamp_format={timestamp_format}")
    return times.dt.epoch("us") if zone is None else _in_zone(table, column, times, zone)


def _in_zone(table: Table, column: str, naive: pl.Series, zone: str) -> pl.Series:
    """Read local times; of an hour that a clock shows twice the first, and none in the hour that it leaves out."""
    there = naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    wrong = (naive.is_not_null() & there.is_null()).arg_true()
    if len(wrong):
        raise table.mistake(wrong[0], column, f"an hour that clocks in {zone} left out: is data.time_zone another one?")
    return there.dt.epoch("us")
