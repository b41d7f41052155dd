"""What sources and tables are (host), and how a row of a table is named in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import polars as pl

from curriculum_rec.errors import DataError


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
class Table:
    """Columns as a file or a database has them, before anybody says what they mean.

    Attributes:
        frame: The columns that were asked for, under their own names, all rows in order.
        name: What error messages call the table.
        typed: Whether the file itself says which columns are numbers; else all of them are text.
        place: Names a row, counted from 0, in a sentence: ``line 3``.
    """

    frame: pl.DataFrame
    name: str
    typed: bool
    place: Callable[[int], str]

    def mistake(self, row: int, column: str, reason: str) -> DataError:
        """Give the error that names a value: file, line, column, value, and what to do.

        Args:
            row: Its row, from 0.
            column: Its column.
            reason: What follows the value: why it cannot be, and the remedy.
        """
        value = shorten(str(self.frame[column][row]))
        return DataError(f"{self.place(row)} of {self.name}: column '{shorten(column)}' holds '{value}', {reason}")


@runtime_checkable
class TableReader(Protocol):
    """Where a table comes from, whatever its columns mean."""

    @property
    def name(self) -> str:
        """What error messages call the table."""
        ...

    def read_table(self, wanted: Mapping[str, str] | None = None) -> Table:
        """Read columns.

        Args:
            wanted: Each column that is read, and the option that names it, for messages; None reads all.

        Raises:
            DataError: The table cannot be read, or has no such column.
        """
        ...


def check_columns(name: str, present: list[str], wanted: Mapping[str, str], hint: str = "") -> None:
    """Refuse a table that lacks a column.

    Args:
        name: What the table is called.
        present: Its columns.
        wanted: The columns that it must have, and the option that names each.
        hint: What the sentence ends with.

    Raises:
        DataError: One is missing.
    """
    for column, option in wanted.items():
        if column not in present:
            if option == "data.timestamp" and not hint:
                hint = "; data.timestamp=null takes the row order as the time order"
            raise DataError(
                f"{name} has no column '{column}' ({option}); its columns are: {', '.join(map(repr, present))}{hint}"
            )


def by_row(row: int) -> str:
    """Name a row of a table that has no lines.

    >>> by_row(0)
    'row 1'
    """
    return f"row {row + 1:,}"


def first_line(error: BaseException) -> str:
    """Take the sentence out of a library's message."""
    return _visible(str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__)


def shorten(text: str, limit: int = 60) -> str:
    """Show a value in a sentence: on one line, what cannot be seen written out.

    >>> shorten("a" * 70, limit=10), len(shorten(chr(10)))
    ('aaaaaaa...', 2)
    """
    shown = _visible(text[: limit + 1])
    return shown if len(text) <= limit else shown[: limit - 3] + "..."


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def separator_option(separator: str) -> str:
    """Write the option so that it can be pasted into a shell."""
    return "data.format=tsv" if separator == "\t" else f"\"data.separator='{separator}'\""
