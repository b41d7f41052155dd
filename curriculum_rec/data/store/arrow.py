"""Arrow files (host): columns of numbers that are written once and mapped into memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np

from curriculum_rec.errors import DataError, OptionError

NEEDED = "pip install 'curriculum-rec[store]'"


def pyarrow() -> ModuleType:
    """Give the package that knows Arrow's files.

    Raises:
        OptionError: It is not installed.
    """
    try:
        import pyarrow.ipc  # noqa: PLC0415 - optional
    except ImportError as error:
        raise OptionError(f"a store needs the package pyarrow: {NEEDED}") from error
    return pyarrow


def write_columns(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Write columns of equal length as one batch, under a temporary name until all is written."""
    arrow = pyarrow()
    batch = arrow.record_batch({name: arrow.array(values) for name, values in columns.items()})
    temporary = path.with_name(f".{path.name}.tmp")
    with arrow.OSFile(str(temporary), "wb") as sink, arrow.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    temporary.replace(path)


def map_columns(path: Path) -> dict[str, np.ndarray]:
    """Map the columns of a file into memory: nothing is read before it is asked for.

    Raises:
        DataError: The file is missing or damaged.
    """
    arrow = pyarrow()
    try:
        with arrow.memory_map(str(path)) as source:
            batch = arrow.ipc.open_file(source).get_batch(0)
    except (OSError, arrow.ArrowInvalid) as error:
        raise DataError(
            f"{path} is no whole Arrow file ({str(error).splitlines()[0]}): prepare the store anew"
        ) from error
    return {name: batch.column(name).to_numpy(zero_copy_only=True) for name in batch.schema.names}


def digest_of_file(path: Path) -> str:
    """Hash a file (BLAKE2b, 128 bits)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
