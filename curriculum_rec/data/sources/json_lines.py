"""Tables of JSON lines (host): one object a line, nested fields by dotted names."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any, NoReturn

import polars as pl

from curriculum_rec.data.sources.contract import Table, check_columns, first_line, shorten
from curriculum_rec.data.sources.files import Text, check_text
from curriculum_rec.errors import DataError


def read_json_lines(path: str, wanted: Mapping[str, str] | None) -> Table:
    """Read columns; ``user.id`` is the field ``id`` of the object ``user``.

    Args:
        path: The file.
        wanted: As :meth:`~curriculum_rec.data.sources.contract.TableReader.read_table` says.

    Raises:
        DataError: It cannot be read, or has no such field.
    """
    text = check_text(path)
    content = text.source if isinstance(text.source, bytes) else text.source.read_bytes()
    try:
        # Types are inferred from all lines, so that no later line is cut to fit.
        frame = pl.read_ndjson(io.BytesIO(content.removeprefix(b"\xef\xbb\xbf")), infer_schema_length=None)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise _explained(text, first_line(error)) from error
    if len(frame) != sum(1 for line in text.lines() if line.strip()):
        raise _explained(text, "lines and objects are not as many")
    if wanted is not None:
        frame = pl.DataFrame([_field(frame, name, option, path) for name, option in wanted.items()])
    return Table(frame, path, typed=True, place=lambda row: _place(text, row))


def _field(frame: pl.DataFrame, name: str, option: str, path: str) -> pl.Series:
    """Walk to a field."""
    if name in frame.columns:
        return frame[name]
    first, _, rest = name.partition(".")
    if not rest or first not in frame.columns or not isinstance(frame.schema[first], pl.Struct):
        check_columns(path, list(_names(frame.schema)), {name: option})
    return _field(frame[first].struct.unnest(), rest, option, f"'{first}' of {path}").alias(name)


def _names(schema: Mapping[str, Any]) -> list[str]:
    """Name all fields, those of objects by dots."""
    names = []
    for name, dtype in schema.items():
        inner = _names({field.name: field.dtype for field in dtype.fields}) if isinstance(dtype, pl.Struct) else []
        names += [f"{name}.{each}" for each in inner] or [name]
    return names


def _explained(text: Text, reason: str) -> DataError:
    """Find the first line that is no object."""
    for number, line in enumerate(text.lines(), start=1):
        if not line.strip():
            continue
        begin = f"line {number} of {text.path}"
        try:
            found = json.loads(line, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            is_syntax = isinstance(error, json.JSONDecodeError)
            why = f"{error.msg} at character {error.pos + 1}" if is_syntax else first_line(error)  # type: ignore[union-attr]
            return DataError(f"{begin} is no JSON ({why}): '{shorten(line.strip())}'; mend or remove it")
        if not isinstance(found, dict):
            return DataError(f"{begin} is no object of JSON: '{shorten(line.strip())}'; write one object a line")
    return DataError(
        f"{text.path} cannot be read as JSON lines: {reason}; a field must be of one kind in all {text.n_lines:,} lines"
    )


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _place(text: Text, row: int) -> str:
    numbers = (number for number, line in enumerate(text.lines(), start=1) if line.strip())
    return next((f"line {number:,}" for index, number in enumerate(numbers) if index == row), f"row {row + 1:,}")
