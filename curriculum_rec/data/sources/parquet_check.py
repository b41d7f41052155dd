"""Sizes and counts in Parquet files (host), checked before Polars believes them.

A count that is damaged makes Polars ask for more memory than there is, and Rust then ends the whole process: no error
comes that could be caught. So the footer and the headers of pages are read here first, a small part of a file.

Source: Apache Parquet's format, ``parquet.thrift``, and Apache Thrift's compact protocol.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from pathlib import Path
from typing import Any, BinaryIO

from curriculum_rec.data.sources.contract import shorten

MAGIC = b"PAR1"
HEADER_BYTES = 1 << 12
"""Of a page's header so much is read at first; statistics may make it longer."""

STOP, TRUE, FALSE, BYTE, DOUBLE, BINARY, LIST, SET, MAP, STRUCT, UUID = 0, 1, 2, 3, 7, 8, 9, 10, 11, 12, 13
DEEPEST = 24

Fields = dict[int, Any]


class BrokenParquetError(ValueError):
    """What is wrong with a file."""


def check_parquet(path: Path, columns: Collection[str] | None) -> None:
    """Check the footer of a file, and the headers of the pages of some columns.

    Args:
        path: The file.
        columns: The columns that will be read; None checks all.

    Raises:
        BrokenParquetError: A size or a count cannot be.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        footer, end = _footer(file, size)
        groups = _list(footer, 4, dict)
        total = sum(_count(group, 3, "rows") for group in groups)
        _require(total == _count(footer, 3, "rows"), "its counts of rows differ")
        for group in groups:
            for chunk in _list(group, 1, dict):
                meta = chunk.get(3)
                _require(isinstance(meta, dict), "a column has no metadata")
                name = b"".join(_list(meta, 3, bytes)[:1]).decode(errors="replace")
                if columns is None or name in columns:
                    _check_pages(file, meta, shorten(name), end)


def _footer(file: BinaryIO, size: int) -> tuple[Fields, int]:
    """Read the footer; give it and where it begins."""
    _require(size >= 12, "it is too short")
    file.seek(size - 8)
    length, magic = struct.unpack("<I4s", file.read(8))
    _require(magic == MAGIC, "it does not end as Parquet files do; it may be cut short")
    begin = size - 8 - length
    _require(begin >= 4, "its footer is longer than the file")
    file.seek(begin)
    return _Compact(file.read(length)).struct(), begin


def _check_pages(file: BinaryIO, meta: Fields, name: str, end: int) -> None:
    """Walk over the pages of a column."""
    starts = [meta[field] for field in (9, 11) if isinstance(meta.get(field), int) and meta[field] > 0]
    _require(bool(starts), f"column '{name}' begins nowhere")
    place, length = min(starts), _count(meta, 7, "bytes")
    stop = place + length
    _require(place >= 4 and stop <= end, f"column '{name}' ends beyond the file")
    values = 0
    while place < stop:
        header, header_bytes = _page_header(file, place, stop)
        place += header_bytes + _count(header, 3, "bytes")
        _count(header, 2, "bytes")
        for field in (5, 8):
            if field in header:
                values += _count(header[field], 1, "values")
        for field, counts in ((7, (1,)), (8, (2, 3, 5, 6))):
            for each in counts if field in header else ():
                _count(header[field], each, "values")
    _require(place == stop, f"a page of column '{name}' is longer than the column")
    _require(
        values == _count(meta, 5, "values"), f"the pages of column '{name}' hold {values} values, not as many as said"
    )


def _page_header(file: BinaryIO, place: int, stop: int) -> tuple[Fields, int]:
    for length in (HEADER_BYTES, stop - place):
        file.seek(place)
        reader = _Compact(file.read(min(length, stop - place)))
        try:
            return reader.struct(), reader.place
        except BrokenParquetError:
            if length >= stop - place:
                raise
    raise BrokenParquetError("a page has no header")


def _count(fields: Any, field: int, what: str) -> int:
    """Take a number that must be there and is at least 0."""
    found = fields.get(field) if isinstance(fields, dict) else None
    _require(isinstance(found, int) and found >= 0, f"a number of {what} is {found}")
    return int(found)  # type: ignore[arg-type]


def _list(fields: Fields, field: int, kind: type) -> list[Any]:
    """Take a list of one kind; none is empty."""
    found = fields.get(field, [])
    is_list = isinstance(found, list) and all(isinstance(each, kind) for each in found)
    _require(is_list, "its metadata is of another kind")
    return found


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise BrokenParquetError(reason)


class _Compact:
    """Reads Thrift's compact protocol.

    Args:
        content: The bytes.
    """

    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def struct(self, depth: int = 0) -> Fields:
        """Read the fields of a struct by their numbers."""
        _require(depth < DEEPEST, "its metadata is nested too deeply")
        fields: Fields = {}
        number = 0
        while (head := self.byte()) & 15 != STOP:
            number = number + (head >> 4) if head >> 4 else self.integer()
            kind = head & 15
            fields[number] = kind == TRUE if kind in (TRUE, FALSE) else self.value(kind, depth)
        return fields

    def value(self, kind: int, depth: int) -> Any:
        """Read one value."""
        if kind in (4, 5, 6):
            return self.integer()
        if kind == BINARY:
            return self.take(self.varint())
        if kind == STRUCT:
            return self.struct(depth + 1)
        if kind in (LIST, SET):
            head = self.byte()
            length = head >> 4 if head >> 4 < 15 else self.varint()
            _require(length <= len(self.content) - self.place, "a list of its metadata is longer than the file")
            return [self.value(head & 15, depth + 1) for _ in range(length)]
        widths = {TRUE: 1, FALSE: 1, BYTE: 1, DOUBLE: 8, UUID: 16}
        _require(kind in widths, "its metadata has a type that there is not")
        return self.take(widths[kind])

    def integer(self) -> int:
        """Read a signed integer."""
        found = self.varint()
        return (found >> 1) ^ -(found & 1)

    def varint(self) -> int:
        """Read an unsigned integer, seven bits a byte."""
        found = 0
        for shift in range(0, 70, 7):
            byte = self.byte()
            found |= (byte & 127) << shift
            if byte < 128:
                return found
        raise BrokenParquetError("a number of its metadata has no end")

    def byte(self) -> int:
        """Read a byte."""
        return self.take(1)[0]

    def take(self, length: int) -> bytes:
        """Read some bytes."""
        taken = self.content[self.place : self.place + length]
        _require(len(taken) == length, "its metadata ends too early")
        self.place += length
        return taken
