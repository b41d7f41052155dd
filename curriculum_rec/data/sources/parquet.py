"""Tables in Parquet files (host): one file, a folder of them, partitioned or not, or a pattern."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from curriculum_rec.data.sources.contract import Table, by_row, check_columns, first_line
from curriculum_rec.data.sources.files import require_file
from curriculum_rec.data.sources.parquet_check import BrokenParquetError, check_parquet
from curriculum_rec.errors import DataError


def read_parquet(path: str, wanted: Mapping[str, str] | None) -> Table:
    """Read columns of one or several files, one below the other in the order of their names.

    Names of folders such as ``day=2024-12-31`` are columns, of text.

    Args:
        path: A file, a folder, or a pattern such as ``logs/*.parquet``.
        wanted: As :meth:`~curriculum_rec.data.sources.contract.TableReader.read_table` says.

    Raises:
        DataError: There is none, it cannot be read, or it lacks a column.
    """
    files = find_parquet(path)
    partitions = {
        part.partition("=")[0]: pl.String() for part in _below(path, files[0]).parts[:-1] if "=" in part.strip("=")
    }
    try:
        for file in files:
            check_parquet(file, wanted)
        scan = pl.scan_parquet(
            files,
            glob=False,
            hive_partitioning=bool(partitions),
            hive_schema=partitions or None,
            try_parse_hive_dates=False,
        )
        present = scan.collect_schema().names()
        check_columns(path, present, wanted or {})
        frame = scan.select(present if wanted is None else list(wanted)).collect()
    except (BrokenParquetError, pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        what = "is not a readable Parquet file" if len(files) == 1 else "are not Parquet files of one kind"
        raise DataError(f"{path} {what}: {first_line(error)}") from error
    return Table(frame, path, typed=True, place=by_row)


def find_parquet(path: str) -> list[Path]:
    """List the files of a table; names that begin with a dot or an underscore are none.

    Raises:
        DataError: There is none.
    """
    place = Path(path)
    try:
        if place.is_file():
            return [place]
        if place.is_dir():
            found = [file for file in place.rglob("*.parquet") if not _is_hidden(file.relative_to(place))]
            wanted = f"{path} is a folder without Parquet files: set data.path to one that has some, or to a file"
        elif glob.has_magic(path):
            everything = glob.iglob(path, recursive=True)  # noqa: PTH207 - a pattern may be absolute
            found = [Path(file) for file in everything if Path(file).is_file()]
            wanted = f"no file is like {path}: mend data.path (paths start at {Path.cwd()})"
        else:
            return [require_file(path)]
    except (OSError, ValueError):
        return [require_file(path)]
    if not found:
        raise DataError(wanted)
    return sorted(found)


def _below(path: str, file: Path) -> Path:
    """Give a file's place below the folder that a person named."""
    return file.relative_to(path) if Path(path).is_dir() else file


def _is_hidden(file: Path) -> bool:
    return any(part.startswith((".", "_")) for part in file.parts)
