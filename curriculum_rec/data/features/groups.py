"""Features of one owner (host): fitted together, reduced, and laid out as one matrix of numbers and one of codes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl

from curriculum_rec.data.features.contract import Feature, Fitted
from curriculum_rec.data.features.reduce import FittedReduction, Reduction, as_numbers
from curriculum_rec.data.features.schema import Field, Schema, code_width, dense_width
from curriculum_rec.errors import OptionError


@dataclass(frozen=True)
class Encoded:
    """Features as arrays.

    Attributes:
        schema: The features, in the order of their columns.
        dense: float32 ``[n, dense_width(schema)]``.
        codes: int32 ``[n, code_width(schema)]``; 0 is unknown.
    """

    schema: Schema
    dense: np.ndarray
    codes: np.ndarray

    def __len__(self) -> int:
        return len(self.dense)

    @cached_property
    def digest(self) -> str:
        """Identify the numbers and codes."""
        digest = hashlib.blake2b(repr(self.schema).encode(), digest_size=16)
        for array in (self.dense, self.codes):
            digest.update(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def take(self, rows: np.ndarray) -> Encoded:
        """Take rows, int ``[m]``."""
        return replace(self, dense=self.dense[rows], codes=self.codes[rows])


def side_by_side(parts: list[Encoded], n: int) -> Encoded:
    """Put features of several owners beside each other.

    Args:
        parts: Of the same rows.
        n: How many rows there are.
    """
    dense = [np.zeros((n, 0), np.float32), *(part.dense for part in parts)]
    codes = [np.zeros((n, 0), np.int32), *(part.codes for part in parts)]
    schema = tuple(field for part in parts for field in part.schema)
    return Encoded(schema, np.concatenate(dense, axis=1), np.concatenate(codes, axis=1))


@dataclass(frozen=True)
class FittedGroup:
    """Fitted features of one owner.

    Attributes:
        owner: ``user``, ``item`` or ``interaction``, with which names begin.
        features: By name, in order.
        reductions: By the name of what they make.
    """

    owner: str
    features: Mapping[str, Fitted]
    reductions: Mapping[str, FittedReduction]

    @property
    def schema(self) -> Schema:
        """What is left after the reductions, then what these make."""
        reduced = {name for reduction in self.reductions.values() for name in reduction.of}
        kept = [field for name, each in self.features.items() if name not in reduced for field in each.fields]
        kept += [Field(name, "dense", each.width, each.width) for name, each in self.reductions.items()]
        return tuple(replace(field, name=f"{self.owner}.{field.name}") for field in kept)

    def transform(self, frame: pl.DataFrame) -> Encoded:
        """Turn a table into arrays, row by row."""
        arrays = {name: each.transform(frame) for name, each in self.features.items()}
        reduced = {name for reduction in self.reductions.values() for name in reduction.of}
        parts = [(each.fields, arrays[name]) for name, each in self.features.items() if name not in reduced]
        for name, reduction in self.reductions.items():
            made = reduction.apply(self.numbers(reduction.of, arrays)).astype(np.float32)
            parts.append(((Field(name, "dense", reduction.width, reduction.width),), made))
        dense = [array for fields, array in parts if fields[0].kind == "dense"]
        codes = [array for fields, array in parts if fields[0].kind != "dense"]
        n, schema = len(frame), self.schema
        return Encoded(
            schema,
            np.concatenate(dense, axis=1) if dense else np.zeros((n, dense_width(schema)), np.float32),
            np.concatenate(codes, axis=1) if codes else np.zeros((n, code_width(schema)), np.int32),
        )

    def numbers(self, names: tuple[str, ...], arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Give some features as numbers, float64 ``[n, d]``, from what each was turned into."""
        fields, columns = [], []
        for name in names:
            begin = 0
            for field in self.features[name].fields:
                fields.append(field)
                columns.append(arrays[name][:, begin : begin + field.length])
                begin += field.length
        return as_numbers(fields, columns)


def fit_group(
    owner: str,
    features: Mapping[str, Feature],
    reduce: Mapping[str, Reduction],
    frame: pl.DataFrame,
    labels: np.ndarray | None = None,
) -> FittedGroup:
    """Fit features and reductions.

    Args:
        owner: ``user``, ``item`` or ``interaction``.
        features: By name.
        reduce: Reductions by the name of what they make.
        frame: Training rows alone.
        labels: Their classes, where rows have labels.

    Raises:
        OptionError: A reduction names no feature, or one that another has taken.
    """
    fitted = {name: feature.fit(frame, name=name) for name, feature in features.items()}
    taken: set[str] = set()
    for name, reduction in reduce.items():
        where = f"features.{owner}.reduce.{name}"
        for of in reduction.of:
            if of not in fitted:
                raise OptionError(f"{where}: there is no feature '{of}'; there are: {', '.join(fitted)}")
            if of in taken:
                raise OptionError(f"{where}: another reduction has taken '{of}'")
            taken.add(of)
        if not reduction.of or name in fitted:
            raise OptionError(f"{where}: it needs features to reduce, and a name that is none of theirs")
    plain = FittedGroup(owner, fitted, {})
    arrays = {name: fitted[name].transform(frame) for name in taken}
    reductions = {
        name: reduction.fit(plain.numbers(tuple(reduction.of), arrays), labels) for name, reduction in reduce.items()
    }
    return FittedGroup(owner, fitted, reductions)
