"""Vectors that something else has made (host): of images, of sounds, of texts; multi-modal features."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl

from curriculum_rec.data.features.contract import Fitted
from curriculum_rec.data.features.numeric import Scaler, matrix_of
from curriculum_rec.data.features.schema import Field, Schema
from curriculum_rec.data.interactions import IdMap
from curriculum_rec.data.row_sources import load_array
from curriculum_rec.data.values import column_of
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.ranges import check_ranges, one_of

DenseScale = Literal["none", "standard", "length"]


@dataclass(frozen=True)
class Dense:
    """A vector for each id, from a file.

    Args:
        path: An ``.npy`` matrix, with ``ids`` beside it, or a ``.parquet`` table.
        ids: An ``.npy`` array or a text file with one id a line: those of the matrix's rows.
        id: The column of ids in the table that the feature belongs to; None takes that of the feature's name.
        id_column: The column of ids in the ``.parquet`` table.
        vector_column: Its column of vectors: lists of one length.
        scale: ``none``, ``standard`` by the training part's mean and deviation, ``length`` to length 1.
    """

    path: str
    ids: str | None = None
    id: str | None = None
    id_column: str = "id"
    vector_column: str = "vector"
    scale: DenseScale = "none"

    def __post_init__(self) -> None:
        check_ranges(self, "features", {"scale": one_of(*get_args(DenseScale))})
        kind = Path(self.path).suffix
        if kind not in (".npy", ".parquet"):
            raise OptionError(f"features: path={self.path}: vectors are read from .npy or .parquet")
        if (kind == ".npy") != (self.ids is not None):
            wanted = "needs ids, those of its rows" if kind == ".npy" else "has its ids in id_column: leave ids out"
            raise OptionError(f"features: path={self.path} {wanted}")

    def fit(self, frame: pl.DataFrame, *, name: str) -> Fitted:
        """Read the vectors, and take the statistics of those that training rows have."""
        column = self.id or name
        empty = Scaler("none", np.zeros(0), np.zeros(0), np.ones(0), np.zeros((0, 0)))
        sources = (self.path, self.ids, self.id_column, self.vector_column)
        fitted = FittedDense(name, column, *sources, self.scale, digest_of_file(self.path), empty)
        vectors = fitted.look_up(frame)
        if np.isnan(vectors).all():
            raise DataError(f"features: {self.path} has no vector for any training value of column '{column}'")
        scale: Literal["standard", "none"] = "standard" if self.scale == "standard" else "none"
        scaler = Scaler.of(vectors, scale)
        return FittedDense(name, column, *sources, self.scale, fitted.digest, scaler)


@dataclass(frozen=True)
class FittedDense:
    """See :class:`Dense`; the vectors stay in their file, whose digest is kept."""

    name: str
    column: str
    path: str
    ids: str | None
    id_column: str
    vector_column: str
    scale: str
    digest: str
    scaler: Scaler

    @property
    def fields(self) -> Schema:
        """One dense field."""
        return (Field(self.name, "dense", len(self.scaler.fill), len(self.scaler.fill)),)

    def transform(self, frame: pl.DataFrame) -> np.ndarray:
        """Give float32 vectors ``[n, width]``, zeros for an id that has none.

        Raises:
            DataError: The file changed since the feature was fitted.
        """
        if digest_of_file(self.path) != self.digest:
            raise DataError(f"features: {self.path} changed since its vectors were fitted: put it back")
        vectors = self.look_up(frame)
        missing = np.isnan(vectors).any(axis=1, keepdims=True)
        scaled = self.scaler(vectors)
        if self.scale == "length":
            scaled = scaled / np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), 1e-12)
        return np.where(missing, 0, scaled).astype(np.float32)

    def look_up(self, frame: pl.DataFrame) -> np.ndarray:
        """Give float64 vectors ``[n, width]``, NaN for an id that has none."""
        ids, vectors = self._read()
        if ids.n_unique() < len(ids):
            raise DataError(f"features: {self.path} has two vectors for '{ids.filter(ids.is_duplicated())[0]}'")
        order = IdMap(ids.cast(pl.String))
        code = order.encode(column_of(frame, self.column, wanted_by="features").cast(pl.String))
        return np.concatenate([np.full((1, vectors.shape[1]), np.nan), vectors])[code]

    def _read(self) -> tuple[pl.Series, np.ndarray]:
        if self.ids is None:
            try:
                table = pl.read_parquet(self.path)
            except (pl.exceptions.PolarsError, OSError) as error:
                raise DataError(f"{self.path} cannot be read: {str(error).splitlines()[0]}") from error
            return column_of(table, self.id_column, wanted_by="features: id_column"), matrix_of(
                table, self.vector_column
            )
        vectors = load_array(self.path)
        if vectors.ndim != 2 or not np.issubdtype(vectors.dtype, np.number):
            raise DataError(f"features: {self.path} holds {vectors.dtype} of shape {vectors.shape}: a matrix is wanted")
        ids = pl.Series(load_array(self.ids)) if self.ids.endswith(".npy") else _lines(self.ids)
        if len(ids) != len(vectors):
            raise DataError(f"features: {self.ids} has {len(ids):,} ids for {len(vectors):,} vectors of {self.path}")
        return ids, vectors.astype(np.float64)


def _lines(path: str) -> pl.Series:
    try:
        return pl.Series(Path(path).read_text(encoding="utf-8").splitlines(), dtype=pl.String)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"features: {path} cannot be read: {error}") from error


def digest_of_file(path: str) -> str:
    """Hash a file.

    Raises:
        DataError: It cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise DataError(f"features: {path} cannot be read: {error.strerror}") from error
