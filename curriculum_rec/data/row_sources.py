"""Sources of rows that are no interactions (host): tables of any columns, and arrays with their labels."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import polars as pl

from curriculum_rec.data.sources import FileTable
from curriculum_rec.data.sources.contract import shorten
from curriculum_rec.data.sources.files import check_text
from curriculum_rec.errors import DataError


@dataclass(frozen=True)
class RowsFile(FileTable):
    """A table of any columns in a file. Text stays text until a feature reads it; empty text is missing.

    Its options are those of :class:`~curriculum_rec.data.sources.FileTable`.
    """

    def read(self) -> pl.DataFrame:
        """Read all rows in file order.

        Raises:
            DataError: The file is missing, broken, or has another number of columns.
        """
        frame = self.read_table().frame
        return frame.with_columns(pl.when(pl.col(pl.String) != "").then(pl.col(pl.String)).name.keep())


@dataclass(frozen=True)
class AttributesFile:
    """Attributes of items or users as S3-Rec and its successors publish them: a JSON object from ids to lists.

    ``{"17": [3, 9], "18": ["red"]}`` becomes the columns ``id`` (text) and ``attributes`` (lists of texts).

    Args:
        path: The file.
    """

    path: str

    @property
    def name(self) -> str:
        """What error messages call the source."""
        return self.path

    def read(self) -> pl.DataFrame:
        """Read all ids in file order.

        Raises:
            DataError: The file is missing, is no JSON object, has an id twice, or something else than a list of texts
                and whole numbers under one.
        """
        text = "".join(check_text(self.path).lines())
        try:
            pairs = json.loads(text, object_pairs_hook=_Pairs)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{self.path} is no JSON: {shorten(str(error))}") from error
        if not isinstance(pairs, _Pairs):
            raise DataError(f'{self.path} is no JSON object from ids to lists, such as {{"17": [3, 9]}}')
        frame = pl.DataFrame(
            {"id": [name for name, _ in pairs], "attributes": [self._texts(*pair) for pair in pairs]},
            schema={"id": pl.String, "attributes": pl.List(pl.String)},
        )
        if (twice := frame["id"].filter(frame["id"].is_duplicated())).len():
            raise DataError(f"{self.path} has the id '{shorten(twice[0])}' twice: leave one of them")
        return frame

    def _texts(self, name: str, values: object) -> list[str]:
        if not isinstance(values, list) or isinstance(values, _Pairs) or any(type(v) not in (str, int) for v in values):
            raise DataError(
                f"{self.path} has {shorten(json.dumps(values))} under the id '{shorten(name)}': a list of texts and "
                "whole numbers is wanted"
            )
        return [str(value) for value in values]


class _Pairs(list):
    """The pairs of a JSON object, of which Python's dictionaries would keep the last of two equal names."""


@dataclass(frozen=True)
class ArrayFiles:
    """A matrix of numbers and an array of labels, each an ``.npy`` file: columns ``data`` (vectors) and ``label``.

    Args:
        path: The matrix ``[n, d]``.
        labels: The labels ``[n]``, or ``[n, classes]`` with a 1 where the class is.
    """

    path: str
    labels: str

    @property
    def name(self) -> str:
        """What error messages call the source."""
        return self.path

    def read(self) -> pl.DataFrame:
        """Read all rows.

        Raises:
            DataError: A file is missing or broken, or the arrays do not go together.
        """
        data, labels = load_array(self.path), load_array(self.labels)
        if data.ndim != 2 or not np.issubdtype(data.dtype, np.number):
            raise DataError(f"{self.path} holds {data.dtype} of shape {data.shape}: a matrix of numbers is wanted")
        if labels.ndim == 2 and labels.shape[1] > 1:
            if not ((labels == 0) | (labels == 1)).all() or not (labels.sum(axis=1) == 1).all():
                raise DataError(f"{self.labels} has two axes, so each of its rows must hold one 1 and zeros")
            labels = labels.argmax(axis=1)
        if len(labels) != len(data):
            raise DataError(f"{self.labels} has {len(labels):,} labels for {len(data):,} rows of {self.path}")
        return pl.DataFrame({"data": pl.Series(data.astype(np.float64)), "label": labels.reshape(len(labels))})


def load_array(path: str) -> np.ndarray:
    """Read an ``.npy`` file, which may hold no Python objects.

    Raises:
        DataError: It is missing or is none.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as an .npy array: {str(error).splitlines()[0]}") from error
    if not isinstance(loaded, np.ndarray):
        raise DataError(f"{path} holds several arrays: name an .npy file")
    return loaded
