"""Which columns of a table are what (host): user, item, time, and others that are carried along."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from curriculum_rec.data.interactions import ITEM, SOURCE, TIMESTAMP, USER
from curriculum_rec.data.sources.contract import Table
from curriculum_rec.data.sources.ids import clean_ids, storage_of
from curriculum_rec.data.sources.timestamps import check_time_options, parse_times
from curriculum_rec.errors import DataError, OptionError

Others = tuple[str, ...] | Mapping[str, str] | None
"""Names of columns, or such names and what the columns shall be called."""

RESERVED = (USER, ITEM, TIMESTAMP, SOURCE)


@dataclass(frozen=True, kw_only=True)
class InteractionColumns(ABC):
    """A table with one interaction a row; what it is read from, its subclasses say.

    Args:
        user: Name of the user column.
        item: Name of the item column.
        timestamp: Name of the time column, or None where the row order is the time order.
        others: Further columns that are carried along: their names, or a mapping from names to new ones.
        timestamp_format: ``auto`` leaves numbers as they are and turns dates, and texts of ISO 8601, into microseconds
            since 1970 UTC. The others make microseconds of everything: ``s``, ``ms``, ``us``, ``ns`` is the unit of
            numbers, ``iso8601`` wants such dates, and a format of strptime such as ``%d.%m.%Y %H:%M`` these.
        time_zone: Where the clocks stood that times without an offset were read from; None is UTC.
    """

    user: str = USER
    item: str = ITEM
    timestamp: str | None = TIMESTAMP
    others: tuple[str, ...] | Mapping[str, str] | None = None  # written out: subclasses live where Others is unknown
    timestamp_format: str = "auto"
    time_zone: str | None = None

    def __post_init__(self) -> None:
        check_time_options(self.timestamp_format, self.time_zone)
        if self.timestamp is None and (self.timestamp_format != "auto" or self.time_zone is not None):
            raise OptionError("data.timestamp_format and data.time_zone have no effect with data.timestamp=null")
        names = [self.user, self.item, *([] if self.timestamp is None else [self.timestamp])]
        refuse_twice("data.user, data.item and data.timestamp", names)
        others = renamed(self.others)
        refuse_twice("data.others", list(others.values()))
        for name in others.values():
            if name in RESERVED:
                raise OptionError(f"data.others calls a column '{name}': these names are taken: {', '.join(RESERVED)}")

    @abstractmethod
    def read_table(self, wanted: Mapping[str, str] | None = None) -> Table:
        """Read columns; see :class:`~curriculum_rec.data.sources.contract.TableReader`."""

    def read(self) -> pl.DataFrame:
        """Read all rows in file order.

        Raises:
            DataError: The table cannot be read, a column is missing, or a value cannot be what it should be.
            OptionError: An option has no effect on this table.
        """
        others = renamed(self.others)
        wanted = {column: f"data.{meaning}" for column, meaning in self._meanings().items()}
        table = self.read_table(wanted | {column: "data.others" for column in others if column not in wanted})
        if table.frame.is_empty():
            raise DataError(f"{table.name} has no rows: there is nothing to train on")
        columns = [clean_ids(table, column).alias(name) for column, name in ((self.user, USER), (self.item, ITEM))]
        if self.timestamp is not None:
            options = {"timestamp_format": self.timestamp_format, "time_zone": self.time_zone}
            columns.append(parse_times(table, self.timestamp, **options).alias(TIMESTAMP))  # type: ignore[arg-type]
        return pl.DataFrame(columns + [value_column(table, column).alias(new) for column, new in others.items()])

    def _meanings(self) -> dict[str, str]:
        return {self.user: USER, self.item: ITEM} | ({} if self.timestamp is None else {self.timestamp: TIMESTAMP})


def renamed(others: Others) -> dict[str, str]:
    """Give the new name of each column.

    >>> renamed(("a", "b")), renamed({"a": "price"}), renamed(None)
    ({'a': 'a', 'b': 'b'}, {'a': 'price'}, {})
    """
    if isinstance(others, Mapping):
        return dict(others)
    refuse_twice("data.others", list(others or ()))
    return {name: name for name in others or ()}


def refuse_twice(what: str, names: list[str]) -> None:
    """Refuse names of which two are the same.

    Raises:
        OptionError: There are two.
    """
    if len(set(names)) < len(names):
        raise OptionError(f"{what} name a column twice: {', '.join(names)}")


def value_column(table: Table, column: str) -> pl.Series:
    """Make a column of values of a further column: typed as the file says, or else numbers where all are numbers.

    Of a text file a column becomes int64 if every value is a whole number written plainly (``01`` is not), float64 if
    every value is a number, and stays text otherwise. Empty text and NaN are missing.

    Raises:
        DataError: A number is infinite.
    """
    values = storage_of(table.frame[column])
    if values.dtype in (pl.String, pl.Null):
        values = values.cast(pl.String)
        values = values.set(values == "", None)
        if not table.typed:
            values = _as_numbers(values)
    if values.dtype.is_float():
        values = values.fill_nan(None)
        if len(rows := values.is_infinite().arg_true()):
            raise table.mistake(rows[0], column, "which is not finite: mend it, or leave it empty for a missing value")
    return values


def _as_numbers(texts: pl.Series) -> pl.Series:
    stripped = texts.str.strip_chars()
    whole = stripped.cast(pl.Int64, strict=False)
    if texts.null_count() == len(texts):
        return texts
    if whole.null_count() == texts.null_count():
        return whole if (whole.cast(pl.String) == stripped).all() else texts
    number = stripped.cast(pl.Float64, strict=False)
    if number.null_count() > texts.null_count() or stripped.str.contains(r"^[+-]?0\d").any():
        return texts
    return number
