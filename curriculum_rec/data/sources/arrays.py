"""Tables in NumPy's files (host): .npy and .npz, never anything pickled, which could run code."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curriculum_rec.data.interactions import ITEM, TIMESTAMP, USER
from curriculum_rec.data.sources.contract import Table, by_row, check_columns, first_line, shorten
from curriculum_rec.data.sources.files import require_file
from curriculum_rec.errors import DataError


def read_arrays(path: str, names: Sequence[str] | None, wanted: Mapping[str, str] | None) -> Table:
    """Read columns of an ``.npz`` of named arrays, or of an ``.npy`` with named fields or with one row a row.

    Args:
        path: The file.
        names: Names of the columns of an ``.npy`` without fields; None names 2 or 3 of them user, item, timestamp.
        wanted: As :meth:`~curriculum_rec.data.sources.contract.TableReader.read_table` says.

    Raises:
        DataError: It cannot be read, holds Python objects, or lacks a column.
    """
    place = require_file(path)
    try:
        found = _of_archive(place, wanted) if zipfile.is_zipfile(place) else _of_array(place, names)
        check_columns(path, list(found), wanted or {})
        chosen = {name: np.asarray(found[name]) for name in wanted or found}
    except DataError:
        raise
    except Exception as error:  # a damaged header makes NumPy's parser, or zipfile, raise nearly anything
        is_pickled = any(word in str(error).lower() for word in ("pickle", "object"))
        hint = ": save it without Python objects, which could run code" if is_pickled else ""
        raise DataError(
            f"{path} is not a readable file of NumPy arrays ({shorten(first_line(error), 100)}){hint}"
        ) from error
    lengths = {name: array.shape for name, array in chosen.items()}
    if any(array.ndim != 1 for array in chosen.values()) or len(set(lengths.values())) > 1:
        raise DataError(
            f"the arrays of {path} must be of one dimension and of one length; they are of "
            f"{', '.join(f'{name} {list(shape)}' for name, shape in lengths.items())}"
        )
    return Table(
        pl.DataFrame([_series(name, array, path) for name, array in chosen.items()]), path, typed=True, place=by_row
    )


def _of_archive(place: Path, wanted: Mapping[str, str] | None) -> dict[str, Any]:
    """Read the wanted arrays of an archive; of the others the name is enough."""
    with place.open("rb") as file, np.load(file, allow_pickle=False) as archive:  # closes what np.load leaves open
        return {name: archive[name] if wanted is None or name in wanted else None for name in archive.files}


def _of_array(place: Path, names: Sequence[str] | None) -> dict[str, Any]:
    """Name the columns of one array, which is not read before it is known to be as long as it says."""
    with place.open("rb") as file:
        if file.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
            raise DataError(f"{place} is not a readable file of NumPy arrays: it begins as neither .npy nor .npz do")
    array = np.load(place, allow_pickle=False, mmap_mode="r")
    if array.dtype.names is not None:
        return {name: array[name] for name in array.dtype.names}
    if array.ndim != 2:
        raise DataError(f"{place} has shape {list(array.shape)}: it must have one row an interaction, [n, 2] or more")
    default = (USER, ITEM, TIMESTAMP)[: array.shape[1]] if array.shape[1] in (2, 3) else ()
    given = names or default
    if len(given) != array.shape[1]:
        raise DataError(
            f"{place} has {array.shape[1]} columns, but data.columns names {len(given)}: {', '.join(given) or 'none'}"
        )
    return {name: array[:, number] for number, name in enumerate(given)}


def _series(name: str, array: np.ndarray, path: str) -> pl.Series:
    """Turn an array into a column."""
    kind = array.dtype.kind
    if kind == "S":
        try:
            return pl.Series(name, array.astype(str), dtype=pl.String)
        except UnicodeError as error:
            raise DataError(f"array '{name}' of {path} holds bytes that are no ASCII text: save it as text") from error
    if kind == "M":
        return pl.Series(name, array.astype("datetime64[us]"))
    if kind not in "biufU" or (array.dtype.itemsize > 8 and kind == "f"):
        raise DataError(f"array '{name}' of {path} is of type {array.dtype}: save it as numbers, text or datetime64")
    return pl.Series(name, np.ascontiguousarray(array).astype(array.dtype.newbyteorder("="), copy=False))
