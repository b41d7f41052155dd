"""Files that appear whole or not at all (host): written under a temporary name, then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curriculum_rec.errors import OptionError, RunError

FRAME_WRITERS: dict[str, Callable[[pl.DataFrame, Path], None]] = {
    ".parquet": pl.DataFrame.write_parquet,
    ".csv": pl.DataFrame.write_csv,
    ".jsonl": pl.DataFrame.write_ndjson,
}
"""How a table is written, by the file's ending."""


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    with whole_file(path) as temporary:
        temporary.write_text(text)


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array as ``values`` of an ``.npz``.

    Raises:
        RunError: The file cannot be written.
    """
    write_arrays(path, {"values": array})


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as an ``.npz``, which has check sums and holds no code.

    Raises:
        RunError: The file cannot be written.
    """
    named: dict[str, Any] = dict(arrays)
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **named)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file of bytes."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def write_frame(path: Path, frame: pl.DataFrame) -> None:
    """Write a table in the format of the file's ending.

    Raises:
        OptionError: The ending is none that can be written.
        RunError: The file cannot be written.
    """
    check_frame_path(path)
    with whole_file(path) as temporary:
        FRAME_WRITERS[path.suffix](frame, temporary)


def check_frame_path(path: Path) -> None:
    """Refuse a file that :func:`write_frame` could not write.

    Raises:
        OptionError: The ending is none that can be written.
    """
    check_output(path, FRAME_WRITERS)


def check_output(path: Path, endings: Collection[str], *, option: str = "output") -> None:
    """Refuse a path of an option such as 'output' that is no file with one of the endings.

    Raises:
        OptionError: It has another ending, or is a folder.
    """
    if path.suffix not in endings:
        raise OptionError(f"{option}={path}: its ending must be one of {', '.join(endings)}")
    if path.is_dir():
        raise OptionError(f"{option}={path} is a folder: name a file")


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a folder to fill under a temporary name; it takes its own name at the end of the block, or goes.

    What lies at ``path`` is replaced, and stays as it is if the block fails.

    Args:
        path: The folder's name in the end.

    Raises:
        RunError: It cannot be written.
    """
    temporary, old = (path.with_name(f".{path.name}.{os.getpid()}.{ending}") for ending in ("tmp", "old"))
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if path.exists():
            path.rename(old)
        temporary.rename(path)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error}") from error
    finally:
        for rest in (temporary, old):
            shutil.rmtree(rest, ignore_errors=True)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a file to write under a temporary name; it takes its own name at the end of the block, or goes.

    Args:
        path: The file's name in the end.

    Raises:
        RunError: It cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # runs beside each other write the same scores
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError | pl.exceptions.PolarsError):
            raise RunError(f"{path} cannot be written: {error}") from error
        raise
