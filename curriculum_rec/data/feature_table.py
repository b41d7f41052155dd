"""The feature table (host): labels, numbers and codes of rows, from which a label is learnt."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal, get_args

import numpy as np
import polars as pl

from curriculum_rec.data.examples import BATCH_MULTIPLE, Examples
from curriculum_rec.data.features.groups import Encoded, side_by_side
from curriculum_rec.data.features.owners import Features, FeatureSet, FittedFeatures
from curriculum_rec.data.features.saving import digest_of
from curriculum_rec.data.inputs import Columns
from curriculum_rec.data.interactions import ITEM, USER, IdMap
from curriculum_rec.data.ledger import LedgerEntry
from curriculum_rec.data.rows import RowSplit
from curriculum_rec.data.splits import Part
from curriculum_rec.data.task import Task
from curriculum_rec.data.values import column_of, numbers_of
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.ranges import check_ranges, one_of

Target = Literal["class", "number"]
"""What is predicted of a row."""

DENSE, CATEGORICAL, LABEL = "dense", "categorical", "label"
"""Names of the arrays of pointwise examples."""


@dataclass(frozen=True)
class FeatureTable:
    """Rows whose features are numbers and codes.

    Attributes:
        split: The rows and their parts.
        fitted: How features came about.
        encoded: The features of all rows.
        label: The class of each row, int32 ``[n]``, from 0; or its number, float64 ``[n]``.
    """

    split: RowSplit
    fitted: FittedFeatures
    encoded: Encoded
    label: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    @property
    def inputs(self) -> Columns:
        """What a model must know of the data."""
        return Columns(self.encoded.schema, len(self.fitted.classes))

    @property
    def ledger(self) -> tuple[LedgerEntry, ...]:
        """What each cleaning rule removed."""
        return self.split.rows.ledger

    @cached_property
    def codes_digest(self) -> str:
        """Identify what the columns and their codes mean."""
        return digest_of(self.fitted)

    @cached_property
    def hash(self) -> str:
        """Identify the data: equal for equal features, labels and parts, whatever files they came from."""
        digest = hashlib.blake2b(repr(self.encoded.schema).encode(), digest_size=16)
        for array in (self.encoded.dense, self.encoded.codes, self.label, self.split.part):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def rows(self, part: Part) -> np.ndarray:
        """Number the rows of a part, int64 ``[m]``."""
        return np.flatnonzero(self.split.part == part)

    def arrays(self, part: Part) -> dict[str, np.ndarray]:
        """Give the rows of a part: ``dense`` float32 ``[m, d]``, ``categorical`` int32 ``[m, k]``, ``label`` ``[m]``.

        A label is an int32 class; or a float32 number, less the training rows' mean and over their deviation.
        """
        rows, label = self.rows(part), self.label
        if self.fitted.label_scale is not None:
            mean, deviation = self.fitted.label_scale
            label = ((label - mean) / deviation).astype(np.float32)
        return {DENSE: self.encoded.dense[rows], CATEGORICAL: self.encoded.codes[rows], LABEL: label[rows]}


@dataclass(frozen=True)
class PointwiseExamples:
    """One example a row: its features, and the class or number that is to be predicted.

    Args:
        label: The column that holds it.
        target: Whether the label is a ``class`` or a ``number``.
        positive_from: None takes each value of the label for a class; a number makes two, what is at least this and
            what is less.
        batch_size: Rows in a batch, a multiple of 8.
    """

    TASK: ClassVar[Task] = "pointwise"

    label: str = "label"
    target: Target = "class"
    positive_from: float | None = None
    batch_size: int = 256

    def __post_init__(self) -> None:
        if self.batch_size < BATCH_MULTIPLE or self.batch_size % BATCH_MULTIPLE:
            raise OptionError(f"examples.batch_size={self.batch_size}: it must be a multiple of {BATCH_MULTIPLE}")
        if self.positive_from is not None and not math.isfinite(self.positive_from):
            raise OptionError(f"examples.positive_from={self.positive_from}: it must be a finite number, or null")
        check_ranges(self, "examples", {"target": one_of(*get_args(Target))})
        if self.target == "number" and self.positive_from is not None:
            raise OptionError(
                f"examples.positive_from={self.positive_from} makes two classes, and examples.target=number predicts "
                "the number itself: set one of them otherwise (null, class)"
            )

    def lay_out(
        self, split: RowSplit, features: Features | None, *, fitted: FittedFeatures | None = None
    ) -> FeatureTable:
        """Turn rows into numbers and codes.

        Args:
            split: The rows and their parts.
            features: What is known of them.
            fitted: As a run saved it; None fits to the training part.

        Raises:
            DataError: A label is missing or no number, or is one that training has not.
            OptionError: There are no features.
        """
        if features is None:
            raise OptionError("task=pointwise needs features: say in features what a label is to be predicted from")
        frame, is_training = split.rows.frame, split.part == Part.TRAIN
        if self.target == "number":
            number = self._numbers(frame)
            if fitted is None:
                scale = self._scale(number[is_training])
                fitted = replace(features.fit(frame, is_training, None), label_scale=scale)
            return FeatureTable(split, fitted, encode(frame, features, fitted), number)
        values = self._values(frame)
        names = IdMap.from_column(values.filter(pl.Series(is_training)))
        if fitted is not None:
            names = IdMap(pl.Series(fitted.classes, dtype=pl.String))
        if len(names) < 2:
            raise DataError(f"examples.label={self.label}: all training rows have the same label '{names.ids[0]}'")
        label = names.encode(values) - 1
        if (unknown := np.flatnonzero(label < 0)).size:
            row = int(unknown[0])
            raise DataError(
                f"examples.label={self.label}: row {row + 1} has '{values[row]}', which no training row has"
            )
        if fitted is None:
            fitted = replace(features.fit(frame, is_training, label), classes=tuple(names.ids.to_list()))
        return FeatureTable(split, fitted, encode(frame, features, fitted), label.astype(np.int32))

    def __call__(self, table: FeatureTable) -> Examples:
        """Take the training rows."""
        arrays = table.arrays(Part.TRAIN)
        return Examples.from_arrays(arrays, batch_size=min(self.batch_size, _filled(len(arrays[LABEL]))))

    def _numbers(self, frame: pl.DataFrame) -> np.ndarray:
        """Read the label as numbers, float64 ``[n]``."""
        number = numbers_of(frame, self.label, wanted_by="examples.label")
        if number.has_nulls():
            raise DataError(f"examples.label={self.label}: row {number.is_null().arg_true()[0] + 1} has no label")
        return number.to_numpy()

    def _scale(self, number: np.ndarray) -> tuple[float, float]:
        if len(np.unique(number)) < 2:
            raise DataError(f"examples.label={self.label}: all training rows have the same label {number[0]:g}")
        return float(number.mean()), float(number.std())

    def _values(self, frame: pl.DataFrame) -> pl.Series:
        """Read the label as text; whole numbers are written as such."""
        if self.positive_from is not None:
            number = numbers_of(frame, self.label, wanted_by="examples.label")
            values = (number >= self.positive_from).cast(pl.Int8).cast(pl.String)
        else:
            values = column_of(frame, self.label, wanted_by="examples.label")
            if values.dtype.is_float() and (values == values.round()).all():
                values = values.cast(pl.Int64)
            values = values.cast(pl.String)
        if values.has_nulls():
            raise DataError(f"examples.label={self.label}: row {values.is_null().arg_true()[0] + 1} has no label")
        return values


def encode(frame: pl.DataFrame, features: Features, fitted: FittedFeatures) -> Encoded:
    """Give the features of rows: those of their users, of their items and their own, side by side.

    Args:
        frame: The rows.
        features: Where the tables of users and items are.
        fitted: The fitted features.
    """
    ids = {
        owner: IdMap.from_column(column_of(frame, owner, wanted_by=f"features.{owner}"))
        if group is not None
        else IdMap(pl.Series([], dtype=pl.String))
        for owner, group in ((USER, fitted.user), (ITEM, fitted.item))
    }
    of_entities = FeatureSet.of(features, fitted, users=ids[USER], items=ids[ITEM])
    parts = [
        made.take(ids[owner].encode(frame[owner]))
        for owner, made in ((USER, of_entities.user), (ITEM, of_entities.item))
        if made is not None
    ]
    if fitted.interaction is not None:
        parts.append(fitted.interaction.transform(frame))
    return side_by_side(parts, len(frame))


def _filled(n: int) -> int:
    return -(-n // BATCH_MULTIPLE) * BATCH_MULTIPLE
