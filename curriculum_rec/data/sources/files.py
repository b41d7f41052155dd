"""Files of text, packed or not (host): found, checked byte by byte, and read without a doubt about their encoding."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from curriculum_rec.data.sources.contract import first_line, shorten
from curriculum_rec.errors import DataError

Encoding = Literal["utf8", "latin1"]
"""How a text file is written: UTF-8, or Latin-1 as older sets are."""

PACKED = (".gz", ".zst")
"""Endings of text files that are unpacked while they are read."""

CHUNK_BYTES = 1 << 22


@dataclass(frozen=True)
class Text:
    """A text file that was checked: UTF-8 without NUL, in lines.

    Attributes:
        path: The file.
        source: What Polars reads: the file itself, or its unpacked content.
        n_lines: How many lines it has, empty ones among them.
    """

    path: str
    source: Path | bytes
    n_lines: int

    def lines(self) -> Iterator[str]:
        """Yield the lines with their ends, one after the other."""
        raw = io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source.open("rb")
        with io.TextIOWrapper(raw, encoding="utf-8-sig", newline="\n") as stream:
            yield from stream


def require_file(path: str) -> Path:
    """Find a file.

    Raises:
        DataError: It does not exist, or is a folder.
    """
    place = Path(path)
    try:
        is_folder, is_file = place.is_dir(), place.is_file()
    except (OSError, ValueError) as error:
        raise DataError(f"{shorten(path)} cannot be opened: {first_line(error)}") from error
    if is_folder:
        raise DataError(f"{path} is a folder, not a file: set data.path to the file itself")
    if not is_file:
        raise DataError(f"{path} does not exist: set data.path to a file (paths start at {Path.cwd()})")
    return place


def check_digest(path: Path, sha256: str | None) -> None:
    """Refuse a file that is not the one a configuration means.

    Args:
        path: The file.
        sha256: Its digest in hexadecimal; None takes any file.

    Raises:
        DataError: The file has another digest.
    """
    if sha256 is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256.lower():
        raise DataError(
            f"{path} changed since its hash was taken: its SHA-256 is {found}, data.sha256 says {sha256.lower()}; put "
            "the file back, or say data.sha256=null if the new one is meant"
        )


def check_text(path: str, encoding: Encoding = "utf8") -> Text:
    """Unpack a text file where it is packed, and check it from its first byte to its last.

    Args:
        path: The file.
        encoding: How it is written; what is given is UTF-8.

    Raises:
        DataError: It is missing, empty, cut short, not of this encoding, or holds NUL.
    """
    place = require_file(path)
    is_kept = place.suffix.lower() in PACKED or encoding != "utf8"
    kept: list[bytes] = []
    decoder = codecs.getincrementaldecoder("utf-8")()
    newlines, last, is_blank = 0, b"", True
    with _unpacked(path) as stream:
        for chunk in _chunks(stream, path):
            if not last:
                _refuse_utf_16(chunk, path)
            if encoding == "latin1":
                chunk = chunk.decode("latin1").encode()  # noqa: PLW2901 - every byte is a letter in Latin-1
            _check_chunk(chunk, decoder, path, line=newlines + 1)
            newlines += chunk.count(b"\n")
            last, is_blank = chunk[-1:], is_blank and not chunk.removeprefix(codecs.BOM_UTF8).strip()
            if is_kept:
                kept.append(chunk)
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise DataError(f"line {newlines + 1} of {path} ends within a character: the file was cut short") from error
    if is_blank:
        raise DataError(f"{path} is empty: it needs rows")
    return Text(path, b"".join(kept) if is_kept else place, newlines + (last != b"\n"))


def read_text(path: str) -> str:
    """Read a checked text file whole.

    Raises:
        DataError: It is missing, empty, cut short, not UTF-8, or holds NUL.
    """
    text = check_text(path)
    content = text.source if isinstance(text.source, bytes) else text.source.read_bytes()
    return content.decode("utf-8-sig")


def _refuse_utf_16(chunk: bytes, path: str) -> None:
    if chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(
            f"line 1 of {path} is UTF-16 text (byte {chunk[0]:#04x}), not UTF-8: save it as UTF-8, for example by "
            "'iconv -f UTF-16 -t UTF-8'"
        )


def _check_chunk(chunk: bytes, decoder: codecs.IncrementalDecoder, path: str, *, line: int) -> None:
    """Refuse NUL and what is not UTF-8; ``line`` is that of the chunk's first byte."""
    if (place := chunk.find(b"\0")) >= 0:
        begin = chunk.rfind(b"\n", 0, place) + 1
        number, before = line + chunk.count(b"\n", 0, place), chunk[begin:place].decode(errors="replace")
        raise DataError(
            f"line {number} of {path} holds a NUL byte after '{shorten(before)}': the file is damaged, or no text; "
            "export it again as UTF-8"
        )
    try:
        decoder.decode(chunk)
    except UnicodeDecodeError as error:
        number = line + error.object.count(b"\n", 0, error.start)
        start = error.object[error.object.rfind(b"\n", 0, error.start) + 1 : error.start].decode(errors="replace")
        raise DataError(
            f"line {number} of {path} is not UTF-8 text (byte "
            f"{error.object[error.start]:#04x} after '{shorten(start)}'): save it as UTF-8, for example by 'iconv -f "
            "LATIN1 -t UTF-8'"
        ) from error


def _chunks(stream: io.BufferedIOBase, path: str) -> Iterator[bytes]:
    """Read to the end, and say so where a packed file ends too early."""
    read = 0
    try:
        while chunk := stream.read(CHUNK_BYTES):
            read += len(chunk)
            yield chunk
    except EOFError as error:
        raise DataError(f"{path} is cut short: its gzip stream ends after {read:,} bytes; fetch it again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is no whole gzip file ({first_line(error)}): fetch it again") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or first_line(error)}") from error


@contextmanager
def _unpacked(path: str) -> Iterator[io.BufferedIOBase]:
    ending = Path(path).suffix.lower()
    try:
        if ending == ".zst":
            yield io.BytesIO(_unpack_zstd(path))
        elif ending == ".gz":
            with gzip.open(path, "rb") as unpacked:
                yield unpacked
        else:
            with Path(path).open("rb") as file:
                yield file
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or first_line(error)}") from error


def _unpack_zstd(path: str) -> bytes:
    """Let Polars unpack, which brings zstd along; a lack of a last line end is all that is lost."""
    if not hasattr(pl, "read_lines"):
        raise DataError(f"{path}: this version of Polars unpacks no zstd text; take a newer one, or gzip the file")
    try:
        return "\n".join([*pl.read_lines(path).to_series(), ""]).encode()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise DataError(f"{path} is no whole zstd file of UTF-8 text ({first_line(error)}): fetch it again") from error
