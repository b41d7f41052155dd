"""Tables of text (host): every field stays the text that it is, and every line becomes one row or one sentence."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from curriculum_rec.data.sources.contract import Table, check_columns, first_line, separator_option, shorten
from curriculum_rec.data.sources.files import PACKED, Encoding, Text, check_text
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
        encoding: Of the file.
    """

    path: str
    separator: str
    quote: str | None
    names: Sequence[str] | None
    encoding: Encoding = "utf8"

    def read(self, wanted: Mapping[str, str] | None) -> Table:
        """Read columns; see :class:`~curriculum_rec.data.sources.contract.TableReader`."""
        text = check_text(self.path, self.encoding)
        names, chosen = self._columns(text, wanted)
        frame = self._parse(text, names, chosen)
        self._check_rows(text, len(frame), names, lacks=any(column.null_count() for column in frame))
        return self._table(text, frame)

    def in_parts(self, wanted: Mapping[str, str] | None, rows: int) -> Iterator[Table]:
        """Read columns, some rows at a time; what is wrong with lines as a whole is said at the end.

        Args:
            wanted: As in :meth:`read`.
            rows: About how many at a time.

        Raises:
            DataError: The file is packed or not UTF-8, or as :meth:`read`.
        """
        if Path(self.path).suffix.lower() in PACKED:
            raise DataError(f"{self.path} is packed, and cannot be read in parts: unpack it first, or write Parquet")
        if self.encoding != "utf8":
            raise DataError(f"{self.path} can be read in parts if it is UTF-8 alone: convert it, or write Parquet")
        text = check_text(self.path)
        names, chosen = self._columns(text, wanted)
        first, lacks = 0, False
        try:
            scan = pl.scan_csv(text.source, **self._options(names))
            self._check_width(text, scan.collect_schema().len(), names)
            for batch in scan.collect_batches(chunk_size=rows, maintain_order=True):
                frame = self._select(batch, names, chosen)
                if len(frame):
                    yield self._table(text, frame, first)
                first, lacks = first + len(frame), lacks or any(column.has_nulls() for column in frame)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise self._explained(text, len(names), first_line(error)) from error
        self._check_rows(text, first, names, lacks=lacks)

    def _columns(self, text: Text, wanted: Mapping[str, str] | None) -> tuple[list[str], list[str]]:
        """Give the names of all columns, and of those that are read."""
        first = next(record for record in self._records(text) if record.fields or record.mistake)
        if first.mistake is not None:
            raise self._mistaken(first)
        names = self._names(first, wanted)
        check_columns(self.path, names, wanted or {}, self._hint(names))
        return names, list(names if wanted is None else wanted)

    def _table(self, text: Text, frame: pl.DataFrame, first: int = 0) -> Table:
        """Give rows, of which the first has a number in the file."""
        begin = first + (1 if self.names is None else 0)
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
        try:
            # All columns are parsed, though few are kept: a line of too many fields is seen only then.
            frame = pl.read_csv(text.source, **self._options(names))
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise self._explained(text, len(names), first_line(error)) from error
        self._check_width(text, frame.width, names)
        return self._select(frame, names, chosen)

    def _check_width(self, text: Text, width: int, names: list[str]) -> None:
        if width != len(names):
            raise self._explained(text, len(names), f"there are {width} columns and {len(names)} names")

    def _options(self, names: list[str]) -> dict[str, Any]:
        return {
            "separator": self.separator,
            "quote_char": self.quote,
            "infer_schema": False,
            "has_header": self.names is None,
            "new_columns": _unique(names),
            "glob": False,
        }

    @staticmethod
    def _select(frame: pl.DataFrame, names: list[str], chosen: list[str]) -> pl.DataFrame:
        return frame.select(pl.col(_unique(names)[names.index(name)]).alias(name) for name in chosen)

    def _check_rows(self, text: Text, n_rows: int, names: list[str], *, lacks: bool) -> None:
        """Look at what is written where lines and rows are not as many, or a field lacks."""
        if n_rows + (self.names is None) != text.n_lines:
            self._check_line_breaks(text, n_rows, len(names))
        if len(names) > 1 and lacks:
            self._check_short_lines(text, len(names))
        if not n_rows:
            raise DataError(f"{self.path} has a header but no rows: there is nothing to train on")

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
        lines = pl.scan_csv(
            text.source,
            separator=NOWHERE,
            has_header=False,
            quote_char=None,
            infer_schema=False,
            truncate_ragged_lines=True,
            glob=False,
        )
        others, line = [s for s in SEPARATORS if s != self.separator], pl.first()
        short = line.str.count_matches(self.separator, literal=True) < width - 1
        if lines.filter(short & line.str.contains_any(others)).head(1).collect(engine="streaming").is_empty():
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
