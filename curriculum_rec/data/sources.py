"""Sources (host): each reads one kind of file into a frame with the columns user, item and perhaps timestamp."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import polars as pl

from curriculum_rec.data.catalogue.embedded import OnlineRetail
from curriculum_rec.data.interactions import ITEM, TIMESTAMP, USER
from curriculum_rec.errors import DataError, OptionError

__all__ = ["OnlineRetail", "SequencesFile", "Source", "TableFile"]

SEPARATORS = {"csv": ",", "tsv": "\t"}


@runtime_checkable
class Source(Protocol):
    """Where interactions come from."""

    @property
    def name(self) -> str:
        """What error messages call the source."""
        ...

    def read(self) -> pl.DataFrame:
        """Read all rows in file order."""
        ...


@dataclass(frozen=True)
class SequencesFile:
    """A text file with one user a line: the user, then the items, oldest first.

    Args:
        path: The file.
        separator: What stands between the ids; None means any white space.
    """

    path: str
    separator: str | None = None

    @property
    def name(self) -> str:
        """What error messages call the source."""
        return self.path

    def read(self) -> pl.DataFrame:
        """Read all rows, user by user.

        Raises:
            DataError: The file is missing, empty, not UTF-8, a line has no items, or a user stands on two lines.
        """
        lines = pl.Series("line", re.split(r"\r\n|\r|\n", _read_text(self.path)), dtype=pl.String)
        if self.separator is None:
            tokens = lines.str.extract_all(r"\S+")
        else:
            tokens = lines.str.strip_chars(" ").str.split(self.separator)
        frame = pl.DataFrame({"number": np.arange(1, len(lines) + 1), "line": lines, "tokens": tokens})
        frame = frame.filter(pl.col("line").str.strip_chars() != "")
        if frame.is_empty():
            raise DataError(f"{self.path} is empty: it needs one line a user, 'user item item ...'")
        lonely = frame.filter(pl.col("tokens").list.len() < 2)
        if not lonely.is_empty():
            number, line, _ = lonely.row(0)
            hint = next((f"; is {_separator_option(s)} missing?" for s in ",;|\t" if s in line), "")
            raise DataError(f"line {number} of {self.path} names a user but no item: '{_shorten(line)}'{hint}")
        if self.separator is None:
            joined = frame.filter(pl.col("line").str.contains(r"[,;](\s|$)"))
            if not joined.is_empty():
                number, line = joined.row(0)[:2]
                mark = "," if "," in line else ";"
                raise DataError(
                    f"line {number} of {self.path} has ids that end in '{mark}': '{_shorten(line)}'; is "
                    f"{_separator_option(mark)} missing?"
                )
        frame = frame.with_columns(pl.col("tokens").list.first().alias(USER))
        twice = frame.filter(pl.col(USER).is_duplicated())
        if not twice.is_empty():
            user = twice[USER][0]
            first, second = twice.filter(pl.col(USER) == user)["number"][:2]
            raise DataError(
                f"user '{user}' stands on lines {first} and {second} of {self.path}: join the two histories"
            )
        items = frame.select(USER, pl.col("tokens").list.slice(1).alias(ITEM)).explode(ITEM)
        return items.with_columns(pl.when(pl.col(USER, ITEM) != "").then(pl.col(USER, ITEM)))


@dataclass(frozen=True)
class TableFile:
    """A table with one interaction a row: CSV, TSV or Parquet.

    Args:
        path: The file.
        user: Name of the user column.
        item: Name of the item column.
        timestamp: Name of the time column (a number, any unit), or None where the row order is the time order.
        format: ``auto`` goes by the file's ending.
        separator: What stands between the fields of a text table; None means a comma (csv) or a tab (tsv).
        columns: Names of the columns of a text table without a header; None means that it has one.
    """

    path: str
    user: str = "user"
    item: str = "item"
    timestamp: str | None = "timestamp"
    format: Literal["auto", "csv", "tsv", "parquet"] = "auto"
    separator: str | None = None
    columns: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.separator is not None and len(self.separator.encode()) != 1:
            raise OptionError(f"data.separator='{self.separator}': it must be one ASCII character")
        names = [self.user, self.item, *([] if self.timestamp is None else [self.timestamp])]
        for what, given in (("data.user, data.item and data.timestamp", names), ("data.columns", self.columns or ())):
            if len(set(given)) < len(given):
                raise OptionError(f"{what} name a column twice: {', '.join(given)}")

    @property
    def name(self) -> str:
        """What error messages call the source."""
        return self.path

    def read(self) -> pl.DataFrame:
        """Read all rows in file order.

        Raises:
            DataError: The file is missing, empty or broken, a column is missing, or a time is not a number.
        """
        table = self._read_parquet() if self._format() == "parquet" else self._read_text_table()
        wanted = {self.user: USER, self.item: ITEM} | ({} if self.timestamp is None else {self.timestamp: TIMESTAMP})
        for column, meaning in wanted.items():
            if column not in table.columns:
                raise DataError(self._missing_column(column, meaning, table.columns))
        if table.is_empty():
            raise DataError(f"{self.path} has a header but no rows: there is nothing to train on")
        frame = table.select(pl.col(column).alias(meaning) for column, meaning in wanted.items())
        for meaning in (USER, ITEM):
            if frame[meaning].dtype.is_nested() or frame[meaning].dtype == pl.Binary:
                raise DataError(
                    f"the {meaning} column of {self.path} is of type {frame[meaning].dtype}: ids are texts or numbers"
                )
        ids = [meaning for meaning in (USER, ITEM) if frame[meaning].dtype.is_float()]
        frame = frame.with_columns(pl.col(ids).fill_nan(None))
        frame = frame.with_columns(pl.when(pl.col(pl.String) != "").then(pl.col(pl.String)).name.keep())
        return frame if self.timestamp is None else self._with_numeric_timestamp(frame)

    def _format(self) -> str:
        suffix = Path(self.path).suffix.lower().lstrip(".")
        if self.format != "auto":
            return self.format
        if suffix not in ("csv", "tsv", "parquet"):
            raise OptionError(
                f"data.path={self.path}: its ending says no format; set data.format to one of csv, tsv, parquet"
            )
        return suffix

    def _read_parquet(self) -> pl.DataFrame:
        _require_file(self.path)
        try:
            return pl.read_parquet(self.path)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(f"{self.path} is not a readable Parquet file: {_first_line(error)}") from error

    def _read_text_table(self) -> pl.DataFrame:
        text = _read_text(self.path)
        if not text.strip():
            raise DataError(f"{self.path} is empty: it needs a header and rows")
        try:
            # Every column stays text: "01" and "1" are two ids, and no id turns into a rounded float.
            table = pl.read_csv(
                text.encode(),
                separator=self._separator(),
                has_header=self.columns is None,
                infer_schema=False,
            )
        except pl.exceptions.PolarsError as error:
            raise DataError(
                f"{self.path} cannot be read as a table separated by {self._separator()!r}: {_first_line(error)}"
            ) from error
        if self.columns is not None:
            if len(self.columns) != table.width:
                raise DataError(
                    f"{self.path} has {table.width} columns separated by {self._separator()!r}, but data.columns names "
                    f"{len(self.columns)}: {', '.join(self.columns)}"
                )
            table.columns = list(self.columns)
        return table

    def _separator(self) -> str:
        return self.separator or SEPARATORS[self._format()]

    def _missing_column(self, column: str, meaning: str, present: list[str]) -> str:
        hint = ""
        if len(present) == 1:
            hint = next((f"; is {_separator_option(s)} meant?" for s in ",;|\t " if s in present[0]), "")
        elif meaning == TIMESTAMP:
            hint = "; data.timestamp=null takes the row order as the time order"
        return (
            f"{self.path} has no column '{column}' (data.{meaning}); its columns are: "
            f"{', '.join(repr(name) for name in present)}{hint}"
        )

    def _with_numeric_timestamp(self, frame: pl.DataFrame) -> pl.DataFrame:
        times = frame[TIMESTAMP]
        if times.dtype in (pl.Date, pl.Datetime):
            return frame.with_columns(pl.col(TIMESTAMP).dt.epoch("us"))
        if times.dtype == pl.String:
            times = times.str.strip_chars()
        elif not times.dtype.is_numeric():
            raise DataError(
                f"column '{self.timestamp}' of {self.path} is of type {times.dtype}: times are numbers or dates"
            )
        whole = times.cast(pl.Int64, strict=False) if times.dtype == pl.String or times.dtype.is_integer() else None
        if whole is not None and whole.null_count() == times.null_count():
            return frame.with_columns(whole.alias(TIMESTAMP))  # a float could not tell neighbouring nanoseconds apart
        number = times.cast(pl.Float64, strict=False)
        wrong = (times.is_not_null() & (number.is_null() | ~number.is_finite().fill_null(value=False))).arg_true()
        if len(wrong):
            where = f"row {wrong[0] + 1}"
            raise DataError(
                f"{where} of {self.path}: column '{self.timestamp}' holds '{_shorten(str(times[wrong[0]]))}', which is "
                "not a number; times are numbers of any unit (data.timestamp=null takes the row order)"
            )
        return frame.with_columns(number.alias(TIMESTAMP))


def _separator_option(separator: str) -> str:
    """Write the option so that it can be pasted into a shell."""
    return "data.format=tsv" if separator == "\t" else f"\"data.separator='{separator}'\""


def _require_file(path: str) -> Path:
    place = Path(path)
    try:
        is_folder, is_file = place.is_dir(), place.is_file()
    except OSError as error:
        raise DataError(f"{_shorten(path)} cannot be opened: {error.strerror}") from error
    if is_folder:
        raise DataError(f"{path} is a folder, not a file: set data.path to the file itself")
    if not is_file:
        raise DataError(f"{path} does not exist: set data.path to a file (paths start at {Path.cwd()})")
    return place


def _read_text(path: str) -> str:
    place = _require_file(path)
    try:
        content = place.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"line {line} of {path} is not UTF-8 text (byte {content[error.start]:#04x})") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")


def _shorten(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
