"""Missing values (host): rows without them, or something in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from curriculum_rec.data.interactions import NEEDED
from curriculum_rec.data.values import column_of
from curriculum_rec.errors import DataError, OptionError


@dataclass(frozen=True)
class DropMissing:
    """Remove rows in which user, item, timestamp or source is missing: null, not a number, or an empty text."""

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Apply the rule."""
        return _complete_in(frame, [name for name in NEEDED if name in frame.columns])


@dataclass(frozen=True)
class DropIncomplete:
    """Remove rows in which a value of some columns is missing: null, not a number, or an empty text.

    Args:
        columns: The columns that are looked at.
    """

    columns: tuple[str, ...]

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Apply the rule."""
        return _complete_in(frame, self.columns)


def _complete_in(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    missing = pl.repeat(value=False, n=len(frame), dtype=pl.Boolean, eager=True)
    for name in names:
        missing |= is_missing(column_of(frame, name, wanted_by="cleaning"))
    return frame.filter(~missing)


@dataclass(frozen=True)
class FillMissing:
    """Put values in the place of missing ones.

    A mean or a median is not among them: it would be taken from rows of all parts. Numeric features fill by those of
    the training part (docs/features.md).

    Args:
        values: What is put, by column.
    """

    values: Mapping[str, str | int | float]

    def __post_init__(self) -> None:
        if not self.values:
            raise OptionError("cleaning: FillMissing has no effect without values, by column: values={price: 0}")

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Apply the rule.

        Raises:
            DataError: There is no such column, or the value is of another type.
        """
        filled = []
        for name, value in self.values.items():
            column = column_of(frame, name, wanted_by="cleaning")
            try:
                filled.append(column.set(is_missing(column), pl.Series([value]).cast(column.dtype)[0]))
            except (pl.exceptions.PolarsError, TypeError) as error:
                raise DataError(
                    f"cleaning: column '{name}' holds {column.dtype}, so {value!r} cannot stand in it"
                ) from error
        return frame.with_columns(filled)


def is_missing(column: pl.Series) -> pl.Series:
    """Say where a value is null, not a number, or an empty text.

    >>> is_missing(pl.Series([1.0, float("nan"), None])).to_list(), is_missing(pl.Series(["a", ""])).to_list()
    ([False, True, True], [False, True])
    """
    missing = column.is_null()
    if column.dtype.is_float():
        missing |= column.is_nan().fill_null(value=False)
    elif column.dtype == pl.String:
        missing |= (column == "").fill_null(value=False)
    return missing
