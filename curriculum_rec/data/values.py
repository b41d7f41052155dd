"""Columns as numbers (host): what a column of text or numbers holds, or one sentence on why it does not."""

from __future__ import annotations

import polars as pl

from curriculum_rec.errors import DataError


def column_of(frame: pl.DataFrame, name: str, *, wanted_by: str) -> pl.Series:
    """Give a column.

    Args:
        frame: The table.
        name: The column.
        wanted_by: The option that names it, for the sentence.

    Raises:
        DataError: There is none.
    """
    if name not in frame.columns:
        there = ", ".join(column for column in frame.columns if not column.startswith("__"))
        raise DataError(f"{wanted_by}: there is no column '{name}'; there are: {there}")
    return frame[name]


def numbers_of(frame: pl.DataFrame, name: str, *, wanted_by: str) -> pl.Series:
    """Read a column as float64; missing values, empty texts and NaN are null.

    Raises:
        DataError: There is no such column, or a value is no finite number.

    >>> numbers_of(pl.DataFrame({"price": ["1.5", "", None]}), "price", wanted_by="cleaning.price").to_list()
    [1.5, None, None]
    """
    column = column_of(frame, name, wanted_by=wanted_by)
    if column.dtype == pl.String:
        column = column.str.strip_chars()
        column = column.set(column == "", None)
    elif not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)):
        raise DataError(f"{wanted_by}: column '{name}' holds {column.dtype}, and numbers are wanted")
    number = column.cast(pl.Float64, strict=False).fill_nan(None)
    was_nan = column.is_nan() if column.dtype.is_float() else column.is_null()
    wrong = (
        (number.is_null() & column.is_not_null() & ~was_nan) | number.is_infinite().fill_null(value=False)
    ).arg_true()
    if len(wrong):
        raise DataError(
            f"{wanted_by}: row {wrong[0] + 1} of column '{name}' holds '{column[wrong[0]]}', no finite number"
        )
    return number
