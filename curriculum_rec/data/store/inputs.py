"""What a store is made of (host): files that are read one after the other, some rows at a time."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import polars as pl

from curriculum_rec.data.sources import Source, TableFile
from curriculum_rec.data.sources.parquet import find_parquet
from curriculum_rec.data.store.arrow import digest_of_file
from curriculum_rec.errors import DataError, OptionError

SAMPLE_BYTES = 2**16
"""Of a text file so much is looked at to estimate its rows."""


@runtime_checkable
class Streamed(Protocol):
    """A source that can be read some rows at a time."""

    @property
    def path(self) -> str: ...

    def batches(self, rows: int) -> Iterator[pl.DataFrame]: ...


def units(source: Source) -> list[Streamed]:
    """Give the files of a source: itself, or those of a folder or a pattern in the order of their names.

    Raises:
        OptionError: The source can only be read as a whole.
        DataError: There is no such file.
    """
    if isinstance(source, TableFile):
        path = Path(source.path)
        if path.is_dir():
            found = find_parquet(source.path)
        elif glob.has_magic(source.path) and not path.exists():
            found = [Path(file) for file in sorted(glob.glob(source.path, recursive=True))]  # noqa: PTH207 - absolute ones, too
        else:
            found = [path]
        if not found:
            raise DataError(f"no file is like {source.path}: mend data.path (paths start at {Path.cwd()})")
        return [replace(source, path=str(file)) for file in found]
    if isinstance(source, Streamed):
        return [source]
    raise OptionError(
        f"{type(source).__name__} is read as a whole, and a store is made of what is read some rows at a time: take "
        "data=table (CSV, TSV, Parquet, a folder of Parquet files)"
    )


def describe_files(files: Sequence[Streamed]) -> list[dict[str, Any]]:
    """Identify the files: name, size and digest of each.

    Raises:
        DataError: One does not exist.
    """
    described: list[dict[str, Any]] = []
    for unit in files:
        path = Path(unit.path)
        if not path.is_file():
            raise DataError(f"{unit.path} does not exist: set data.path to a file (paths start at {Path.cwd()})")
        described.append({"name": path.name, "bytes": path.stat().st_size, "blake2b": digest_of_file(path)})
    return described


def count_rows(files: Sequence[Streamed]) -> int:
    """Estimate how many rows there are, from what Parquet files say and from the first lines of text files."""
    total = 0
    for unit in files:
        path = Path(unit.path)
        if path.suffix == ".parquet":
            total += pl.scan_parquet(path).select(pl.len()).collect().item()
        else:
            with path.open("rb") as file:
                head = file.read(SAMPLE_BYTES)
            total += path.stat().st_size * (head.count(b"\n") + 1) // max(len(head), 1)
    return total
