"""Tables of text (host): every field stays the text that it is, and every line becomes one row or one sentence."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from curriculum_rec.data.sources.contract import Table, check_columns, first_line, separator_option, shorten
from curriculum_rec.data.sources.files import Text, check_text
from curriculum_rec.errors import DataError, DataWarning

SEPARATORS = ",;|\t"
"""What is looked for where the given separator does not fit."""

REMEDY = "mend its quotes, or data.quote=null takes quotes as text"

NOWHERE = "\x1f"
"""A separator that stands in no text, so that lines come whole."""


class Record(NamedTuple):
    """A row as it is written.

    Attributes:
        line: The line that it begins on, from 1.
        fields: Its fields; none in an empty line.
        raw: What is written.
        mistake: What is wrong with its quotes.
    """

    line: int
    fields: list[str]
    raw: str
    mistake: str | None = None


@dataclass(frozen=True)
class TextTable:
    """How a table of text is written.

    Args:
        path: The file.
        separator: What stands between fields.
        quote: What a field stands between that holds the separator or a line's end; None if quotes are text.
        names: Names of the columns of a file without a header; None means that it has one.
    """

    path: str
    separator: str
    quote: str | None
    names: Sequence[str] | None

    def read(self, wanted: Mapping[str, str] | None) -> Table:
        """Read columns; see :class:`~curriculum_rec.data.sources.contract.TableReader`."""
        text = check_text(self.path)
        first = next(record for record in self._records(text) if record.fields or record.mistake)
        if first.mistake is not None:
            raise self._mistaken(first)
        names = self._names(first, wanted)
        check_columns(self.path, names, wanted or {}, self._hint(names))
        chosen = list(names if wanted is None else wanted)
        frame = self._parse(text, names, chosen)
        self._check_rows(text, frame, names)
        if frame.is_empty():
            raise DataError(f"{self.path} has a header but no rows: there is nothing to train on")
        begin = 1 if self.names is None else 0
        return Table(frame, self.path, typed=False, place=lambda row: self._place(text, row + begin))

    def _names(self, first: Record, wanted: Mapping[str, str] | None) -> list[str]:
        if self.names is not None:
            if len(first.fields) != len(self.names):
                raise DataError(
                    f"{self.path} has {len(first.fields)} columns separated by {self.separator!r}, but data.columns "
                    f"names {len(self.names)}: {', '.join(self.names)}"
                )
            return list(self.names)
        for name in first.fields if wanted is None else wanted:
            if first.fields.count(name) > 1:
                one, two = [number + 1 for number, field in enumerate(first.fields) if field == name][:2]
                raise DataError(
                    f"line {first.line} of {self.path} names two columns '{name}' (fields {one} and {two}): rename one"
                )
        return first.fields

    def _hint(self, names: list[str]) -> str:
        if len(names) > 1:
            return ""
        return next((f"; is {separator_option(s)} meant?" for s in (*SEPARATORS, " ") if s in names[0]), "")

    def _parse(self, text: Text, names: list[str], chosen: list[str]) -> pl.DataFrame:
        """Let Polars read the chosen columns; where it cannot, say which line is why."""
        options: dict[str, Any] = {"separator": self.separator, "quote_char": self.quote, "infer_schema": False}
        try:
            # All columns are parsed, though few are kept: a line of too many fields is seen only then.
            frame = pl.read_csv(
                text.source, has_header=self.names is None, new_columns=_unique(names), glob=False, **options
            )
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise self._explained(text, len(names), first_line(error)) from error
        if frame.width != len(names):
            raise self._explained(text, len(names), f"there are {frame.width} columns and {len(names)} names")
        return frame.select(pl.col(_unique(names)[names.index(name)]).alias(name) for name in chosen)

    def _check_rows(self, text: Text, frame: pl.DataFrame, names: list[str]) -> None:
        """Look at what is written where lines and rows are not as many, or a field lacks."""
        if len(frame) + (self.names is None) != text.n_lines:
            self._check_line_breaks(text, len(frame), len(names))
        if len(names) > 1 and any(column.null_count() for column in frame):
            self._check_short_lines(text, len(names))

    def _check_line_breaks(self, text: Text, n_rows: int, width: int) -> None:
        """Refuse a quote that swallows lines by mistake; tell of fields that hold line breaks."""
        several, n_records, leading = [], 0, True
        for record in self._records(text):
            if record.mistake is not None or len(record.fields) > width:
                raise self._explained(text, width, "its rows cannot be told apart")
            leading = leading and not record.fields
            n_records += not leading  # empty lines before the first row are none
            if "\n" in record.raw.rstrip("\r\n"):
                several.append(record)
        if n_records - (self.names is None) != n_rows:
            place = f"line {several[0].line} of {self.path}" if several else self.path
            raise DataError(f"{place}: it is not clear where rows end; mend its quotes, or try data.quote=null")
        if several:
            warnings.warn(
                f"{len(several):,} rows of {self.path} go over several lines, the first from line {several[0].line} on "
                f"('{shorten(several[0].raw)}'); if a quote is not closed there, data.quote=null takes quotes as text",
                DataWarning,
                stacklevel=2,
            )

    def _check_short_lines(self, text: Text, width: int) -> None:
        """Refuse a line with too few fields that holds another separator; other short lines miss values."""
        lines = pl.read_csv(
            text.source,
            separator=NOWHERE,
            has_header=False,
            quote_char=None,
            infer_schema=False,
            truncate_ragged_lines=True,
            glob=False,
            columns=[0],
        ).to_series()
        others = [s for s in SEPARATORS if s != self.separator]
        short = lines.str.count_matches(self.separator, literal=True) < width - 1
        if not (short & lines.str.contains_any(others)).any():
            return
        for record in self._records(text):
            found = next((s for s in others if s in record.raw), None)
            if 0 < len(record.fields) < width and found is not None:
                raise DataError(
                    f"line {record.line} of {self.path} has {len(record.fields)} fields separated by "
                    f"{self.separator!r} where the table has {width}, and holds {found!r}: '{shorten(record.raw)}'; "
                    "write the whole file with one separator, and name it by data.separator"
                )

    def _explained(self, text: Text, width: int, reason: str) -> DataError:
        """Find the first line that cannot be read."""
        last = Record(1, [], "")
        for record in self._records(text):
            if record.mistake is not None:
                return self._mistaken(record)
            if len(record.fields) > width:
                return DataError(
                    f"line {record.line} of {self.path} has {len(record.fields)} fields separated by "
                    f"{self.separator!r} where the table has {width}: '{shorten(record.raw)}'; quote fields that "
                    "hold the separator, or mend data.separator"
                )
            last = record
        return DataError(
            f"{self.path} cannot be read as a table separated by {self.separator!r}: {reason} (up to line {last.line})"
        )

    def _mistaken(self, record: Record) -> DataError:
        return DataError(f"line {record.line} of {self.path}: {record.mistake}: '{shorten(record.raw)}'")

    def _records(self, text: Text) -> Iterator[Record]:
        """Read row by row, slowly, to know what stands where."""
        taken: list[str] = []

        def lines() -> Iterator[str]:
            for line in text.lines():
                taken.append(line)
                yield line

        quoting = csv.QUOTE_NONE if self.quote is None else csv.QUOTE_MINIMAL
        options: dict[str, Any] = {"delimiter": self.separator, "quoting": quoting, "strict": True}
        reader = csv.reader(lines(), quotechar=self.quote or '"', **options)
        csv.field_size_limit(2**31 - 1)
        number = 1
        while True:
            fields: list[str] = []
            mistake: str | None = None
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                mistake = f"it is no row ({first_line(error)}); {REMEDY}"
            raw = "".join(taken).rstrip("\r\n")
            if mistake is None and self.quote is not None and _has_stray_quote(raw, self.quote, fields):
                mistake = f"a quote stands within a field; {REMEDY}"
            if mistake is not None and "\r" in raw:
                mistake = "a carriage return stands within it; end lines by a line feed, as 'tr \\r \\n' makes them do"
            yield Record(number, fields, raw, mistake)
            number += len(taken)
            taken.clear()

    def _place(self, text: Text, row: int) -> str:
        """Find the line of a row, the header among them, empty lines but the leading ones too."""
        leading = True
        for record in self._records(text):
            leading = leading and not record.fields
            if not leading:
                if row == 0:
                    return f"line {record.line:,}"
                row -= 1
        return f"row {row + 1:,}"


def _has_stray_quote(raw: str, quote: str, fields: list[str]) -> bool:
    """Whether a field that is not quoted holds a quote, which readers do not agree on."""
    if quote not in raw:
        return False
    written = sum(field.count(quote) for field in fields)
    return raw.count(quote) % 2 == 1 or (written > 0 and raw.count(quote) < 2 * written + 2)


def _unique(names: Sequence[str]) -> list[str]:
    return [f"{number}" for number, _ in enumerate(names)]
