"""Ids (host): texts and whole numbers, never a number that lost digits; and a word about ids that look like one."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import polars as pl

from curriculum_rec.data.sources.contract import Table
from curriculum_rec.errors import DataError, DataWarning

EXACT = 2**53
"""Whole floats up to here are exact; beyond, neighbouring ids are one float."""

ODD_NUMBER = r"^\s*\+?(-?)0*(\d+)(?:\.0*)?\s*$"


def clean_ids(table: Table, column: str) -> pl.Series:
    """Make ids of a column: integers stay, whole floats become integers, all else text; empty text is missing.

    Args:
        table: The table.
        column: Its column.

    Raises:
        DataError: A value cannot be an id, or is one no more.
    """
    ids = storage_of(table.frame[column])
    if ids.dtype.is_float():
        return _whole(table, column, ids)
    if ids.dtype.is_integer() and ids.dtype != pl.Int128:
        return ids
    if ids.dtype.is_nested() or ids.dtype in (pl.Binary, pl.Object):
        raise DataError(
            f"column '{column}' of {table.name} is of type {ids.dtype}: ids are texts or numbers; write it as text"
        )
    ids = ids.cast(pl.String)
    ids = ids.set(ids == "", None)
    # A text file has no NUL any more, and only its ids can have swallowed a line's end.
    sign, what = ("\0", "a NUL character: the file is damaged") if table.typed else ("\n", _LINE_BREAK)
    if len(rows := ids.str.contains(sign, literal=True).arg_true()):
        raise table.mistake(rows[0], column, f"which has {what}")
    warn_of_look_alikes(ids, f"column '{column}' of {table.name}", table.place)
    return ids


_LINE_BREAK = "a line break: a quote is not closed; mend it, or data.quote=null takes quotes as text"


def storage_of(column: pl.Series) -> pl.Series:
    """Take a column's plain values where a database sends them with a type of its own."""
    return column.ext.storage() if hasattr(column, "ext") and "Extension" in str(column.dtype) else column


def _whole(table: Table, column: str, ids: pl.Series) -> pl.Series:
    ids = ids.fill_nan(None)
    remedy = "ids are texts or whole numbers"
    for wrong, reason in (
        (ids.is_infinite(), f"which is no id: {remedy}"),
        (ids.abs() > EXACT, "beyond 2^53, where floats lose digits: write ids as text or integers"),
        (ids != ids.round(), f"which is no id: {remedy}"),
    ):
        if len(rows := wrong.arg_true()):
            raise table.mistake(rows[0], column, reason)
    return ids.cast(pl.Int64)


def warn_of_look_alikes(ids: pl.Series, what: str, place: Callable[[int], str] | None = None) -> None:
    """Say so where two ids differ as texts and are one number, such as ``01`` and ``1``; they stay two.

    Args:
        ids: Ids as text, rows in order.
        what: What they are called.
        place: Names a row.
    """
    pair = look_alikes(ids)
    if pair is None:
        return
    shown = [f"'{each}'" if place is None else f"'{each}' ({place(_first(ids, each))})" for each in pair]
    warnings.warn(
        f"{what}: {shown[0]} and {shown[1]} are taken for two ids; write them alike if they are one",
        DataWarning,
        stacklevel=2,
    )


def look_alikes(ids: pl.Series) -> tuple[str, str] | None:
    """Find two ids that differ as texts, but not but for spaces, or as numbers.

    >>> look_alikes(pl.Series(["1", "a", "01"])), look_alikes(pl.Series(["1.0", "1"])), look_alikes(pl.Series(["b "]))
    (('01', '1'), ('1.0', '1'), None)
    """
    begins = [ids.str.starts_with(sign) for sign in ("0", "+", "-0", " ")]
    ends = [ids.str.ends_with(sign) for sign in (".0", ".00", ".", " ")]
    seems = begins[0]
    for each in (*begins[1:], *ends):
        seems |= each
    odd = ids.filter(seems).drop_nulls().unique(maintain_order=True)
    if odd.is_empty():
        return None
    plain = pl.select(
        pl.coalesce(odd.str.replace(ODD_NUMBER, "${1}${2}").replace("-0", "0"), odd).str.strip_chars()
    ).to_series()
    pairs = pl.DataFrame({"odd": odd, "plain": plain}).filter(pl.col("odd") != pl.col("plain"))
    common = ids.filter(ids.is_in(pairs["plain"].unique().implode()))
    if len(common):
        other = common[0]
        return pairs.filter(pl.col("plain") == other)["odd"][0], other
    twice = pairs.filter(pl.col("plain").is_duplicated())
    twice = twice.filter(pl.col("plain") == twice["plain"][0]) if len(twice) else twice
    return (twice["odd"][0], twice["odd"][1]) if len(twice) else None


def _first(ids: pl.Series, value: str) -> int:
    return int((ids == value).arg_true()[0])
