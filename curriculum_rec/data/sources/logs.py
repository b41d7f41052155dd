"""Log files (host): lines of a server or an application, cut by a regular expression with named groups."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from curriculum_rec.data.sources.columns import InteractionColumns
from curriculum_rec.data.sources.contract import Table, check_columns, first_line, shorten
from curriculum_rec.data.sources.files import check_digest, read_text, require_file
from curriculum_rec.errors import DataError, DataWarning, OptionError
from curriculum_rec.ranges import at_least, check_ranges

COMMON = (
    r"^(?:-|(?P<host>\S+)) \S+ (?:-|(?P<user>\S+)) \[(?P<time>[^\]]+)\] "
    r'"(?:(?P<method>[A-Z]+) (?P<path>\S+)(?: (?P<protocol>[^" ]+))?|(?:[^"\\]|\\.)*)" '
    r"(?P<status>\d{3}) (?:-|(?P<bytes>\d+))"
)
PATTERNS = {
    "common": COMMON + r"\s*$",
    "combined": COMMON + r' "(?:-|(?P<referrer>(?:[^"\\]|\\.)*))" "(?:-|(?P<agent>(?:[^"\\]|\\.)*))"\s*$',
}
"""The formats of web servers' access logs, by name; ``-`` stands for what is missing.

Source: Apache HTTP Server, Log Files, "Common Log Format" and "Combined Log Format"; nginx's default is the second.
"""


@dataclass(frozen=True)
class LogTable:
    r"""The lines of a log (.gz and .zst, too) as a table, one column a named group.

    Args:
        path: The file.
        pattern: ``common`` or ``combined``, or a regular expression with named groups, ``(?P<user>\S+)``.
        max_unmatched: So many lines that do not match are left out; one more is an error. Empty lines do not count.
        sha256: The digest that the file must have; None takes any.
    """

    path: str
    pattern: str = "combined"
    max_unmatched: int = 0
    sha256: str | None = None

    def __post_init__(self) -> None:
        check_ranges(self, "data", {"max_unmatched": at_least(0)})
        if not self._groups():
            raise OptionError(
                f"data.pattern='{shorten(self.pattern)}' names no group: write (?P<NAME>...) for each column, or "
                f"one of {', '.join(PATTERNS)}"
            )

    @property
    def name(self) -> str:
        """What error messages call the table."""
        return self.path

    def read_table(self, wanted: Mapping[str, str] | None = None) -> Table:
        """Read groups as columns; see :class:`~curriculum_rec.data.sources.contract.TableReader`.

        Raises:
            DataError: The file cannot be read, too many lines do not match, or the pattern has no such group.
        """
        groups = self._groups()
        check_columns(f"data.pattern for {self.path}", groups, wanted or {})
        check_digest(require_file(self.path), self.sha256)
        lines = pl.Series("line", [read_text(self.path)]).str.split("\n").explode().str.strip_chars_end("\r")
        frame = pl.DataFrame([lines]).with_row_index("number", offset=1).filter(pl.col("line").str.strip_chars() != "")
        matches = frame["line"].str.contains(self._expression())
        self._check_matches(frame.filter(~matches), n_lines=len(frame))
        frame = frame.filter(matches)
        numbers, found = frame["number"], frame["line"].str.extract_groups(self._expression()).struct.unnest()
        columns = found.select(groups if wanted is None else list(wanted))
        return Table(columns, self.path, typed=False, place=lambda row: f"line {numbers[row]:,}")

    def _check_matches(self, unmatched: pl.DataFrame, *, n_lines: int) -> None:
        if unmatched.is_empty():
            return
        count, number, line = len(unmatched), unmatched["number"][0], shorten(unmatched["line"][0])
        what = f"line {number:,} of {self.path} does not match data.pattern: '{line}'"
        if count > self.max_unmatched:
            raise DataError(
                f"{what}; {count:,} of {n_lines:,} lines do not: mend the pattern, or leave them out by "
                f"data.max_unmatched={count}"
            )
        warnings.warn(f"{what}; {count:,} of {n_lines:,} lines do not and are left out", DataWarning, stacklevel=2)

    def _expression(self) -> str:
        return PATTERNS.get(self.pattern, self.pattern)

    def _groups(self) -> list[str]:
        """List the named groups."""
        try:
            found = pl.Series([""]).str.extract_groups(self._expression()).struct.fields
        except pl.exceptions.PolarsError as error:
            reason = " ".join(str(error).split("error:")[-1].split())
            raise OptionError(
                f"data.pattern='{shorten(self.pattern)}' is no regular expression ({reason or first_line(error)}), nor "
                f"one of {', '.join(PATTERNS)}"
            ) from error
        return [name for name in found if not name.isdecimal()]


@dataclass(frozen=True, kw_only=True)
class LogFile(LogTable, InteractionColumns):
    """A log with one interaction a line.

    Its options are those of :class:`LogTable`, how lines are cut, and of
    :class:`~curriculum_rec.data.sources.columns.InteractionColumns`, which group is what. The defaults are those
    of the patterns ``common`` and ``combined``: who asks for which page, and when.
    """

    user: str = "host"
    item: str = "path"
    timestamp: str | None = "time"
    timestamp_format: str = "%d/%b/%Y:%H:%M:%S %z"

    def __post_init__(self) -> None:
        LogTable.__post_init__(self)
        InteractionColumns.__post_init__(self)
