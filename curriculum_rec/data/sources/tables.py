"""Tables in files (host): one option says how each is written, and the file's ending says it mostly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import polars as pl

from curriculum_rec.data.sources.arrays import read_arrays
from curriculum_rec.data.sources.columns import InteractionColumns, refuse_twice
from curriculum_rec.data.sources.contract import Table
from curriculum_rec.data.sources.files import PACKED, Encoding, check_digest, require_file
from curriculum_rec.data.sources.json_lines import read_json_lines
from curriculum_rec.data.sources.parquet import find_parquet, parquet_in_parts, read_parquet
from curriculum_rec.data.sources.text_tables import TextTable
from curriculum_rec.errors import DataError, OptionError

Format = Literal["auto", "csv", "tsv", "json_lines", "parquet", "numpy"]
"""How a file is written; ``auto`` goes by its ending."""

ENDINGS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "json_lines",
    ".ndjson": "json_lines",
    ".parquet": "parquet",
    ".npy": "numpy",
    ".npz": "numpy",
}
OF_TEXT = {"csv": ",", "tsv": "\t"}
"""Formats of text, and what stands between the fields of each."""


@dataclass(frozen=True)
class FileTable:
    """A table in a file: CSV, TSV or JSON lines (.gz and .zst, too), Parquet, or arrays of NumPy.

    Args:
        path: The file; of Parquet also a folder, partitioned or not, or a pattern such as ``logs/*.parquet``.
        format: ``auto`` goes by the file's ending.
        separator: What stands between the fields of a text table; None means a comma (csv) or a tab (tsv).
        quote: What the fields of a text table may stand between; None takes quotes as text.
        columns: Names of the columns of a text table without a header, or of an ``.npy``; None means that it names
            them itself.
        encoding: How text is written: ``utf8``, or ``latin1`` as older sets are.
        sha256: The digest that the file must have; None takes any.
    """

    path: str
    format: Format = "auto"
    separator: str | None = None
    quote: str | None = '"'
    columns: tuple[str, ...] | None = None
    encoding: Encoding = "utf8"
    sha256: str | None = None

    def __post_init__(self) -> None:
        for option, sign in (("separator", self.separator), ("quote", self.quote)):
            if sign is not None and (len(sign.encode()) != 1 or sign in "\r\n\0"):
                raise OptionError(f"data.{option}='{sign}': it must be one ASCII character")
        if self.format not in get_args(Format):
            raise OptionError(f"data.format={self.format}: it must be one of {', '.join(get_args(Format))}")
        if self.encoding not in get_args(Encoding):
            raise OptionError(f"data.encoding={self.encoding}: it must be one of {', '.join(get_args(Encoding))}")
        refuse_twice("data.columns", list(self.columns or ()))
        if self.sha256 is not None and not (
            len(self.sha256) == 64 and set(self.sha256.lower()) <= set("0123456789abcdef")
        ):
            raise OptionError(f"data.sha256={self.sha256}: it must be 64 hexadecimal digits, as sha256sum prints them")

    @property
    def name(self) -> str:
        """What error messages call the table."""
        return self.path

    def read_table(self, wanted: Mapping[str, str] | None = None) -> Table:
        """Read columns; see :class:`~curriculum_rec.data.sources.contract.TableReader`.

        Raises:
            DataError: The file cannot be read, is another one, or lacks a column.
            OptionError: Its ending says no format, or an option has no effect on it.
        """
        kind = self._checked_kind()
        if kind in OF_TEXT:
            return self._text_table(kind).read(wanted)
        if kind == "json_lines":
            return read_json_lines(self.path, wanted)
        return read_parquet(self.path, wanted) if kind == "parquet" else read_arrays(self.path, self.columns, wanted)

    def read_in_parts(self, rows: int, wanted: Mapping[str, str] | None = None) -> Iterator[Table]:
        """Read columns, some rows at a time and in file order.

        Args:
            rows: About how many at a time.
            wanted: As in :meth:`read_table`.

        Raises:
            DataError: As :meth:`read_table`, or files of this format can only be read as a whole.
            OptionError: As :meth:`read_table`.
        """
        kind = self._checked_kind()
        if kind in OF_TEXT:
            return self._text_table(kind).in_parts(wanted, rows)
        if kind == "parquet":
            return parquet_in_parts(self.path, wanted, rows)
        raise DataError(f"{self.path} is of format {kind}, which cannot be read in parts: write it as CSV or Parquet")

    def _text_table(self, kind: str) -> TextTable:
        separator = self.separator or OF_TEXT[kind]
        if separator == self.quote:
            raise OptionError(f"data.separator and data.quote are both {separator!r}: set data.quote=null")
        return TextTable(self.path, separator, self.quote, self.columns, self.encoding)

    def _checked_kind(self) -> str:
        """Give the format of the file, which has the digest that it must have."""
        kind = self._kind()
        self._check_options(kind)
        if self.sha256 is not None:
            check_digest(require_file(self.path), self.sha256)
        return kind

    def _kind(self) -> str:
        if self.format != "auto":
            return self.format
        place = Path(self.path)
        bare = place.with_suffix("") if place.suffix.lower() in PACKED else place
        if (kind := ENDINGS.get(bare.suffix.lower())) is not None:
            return kind
        if place.is_dir() and find_parquet(self.path):
            return "parquet"
        raise OptionError(
            f"data.path={self.path}: its ending says no format; set data.format to one of "
            f"{', '.join(each for each in get_args(Format) if each != 'auto')}"
        )

    def _check_options(self, kind: str) -> None:
        """Refuse options that a format does not know."""
        of_text = {
            "separator": self.separator is not None,
            "quote": self.quote != '"',
            "encoding": self.encoding != "utf8",
        }
        useless = [] if kind in OF_TEXT else list(of_text.items())
        useless.append(("columns", self.columns is not None and kind in ("json_lines", "parquet")))
        useless.append(("sha256", self.sha256 is not None and kind == "parquet" and not Path(self.path).is_file()))
        for option, is_given in useless:
            if is_given:
                where = "several files" if option == "sha256" else f"files of format {kind}"
                raise OptionError(f"data.{option} has no effect on {where}: leave it out")


@dataclass(frozen=True)
class TableFile(FileTable, InteractionColumns):
    """A file with one interaction a row.

    Its options are those of :class:`FileTable`, how the file is written, and of
    :class:`~curriculum_rec.data.sources.columns.InteractionColumns`, which column is what.
    """

    def __post_init__(self) -> None:
        FileTable.__post_init__(self)
        InteractionColumns.__post_init__(self)

    def batches(self, rows: int) -> Iterator[pl.DataFrame]:
        """Read the rows in file order, some at a time, so that the file need not fit into memory.

        Args:
            rows: About how many at a time.

        Raises:
            DataError: As :meth:`read`, or the file can only be read as a whole.
            OptionError: As :meth:`read`.
        """
        is_empty = True
        for frame in self._in_parts(self.read_in_parts(rows, self._wanted())):
            is_empty = False
            yield frame
        if is_empty:
            raise DataError(f"{self.path} has no rows: there is nothing to train on")
