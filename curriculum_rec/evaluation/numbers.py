"""Evaluation of predicted numbers (host and device): root mean squared error, mean absolute error and R squared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
import polars as pl
from flax import nnx

from curriculum_rec.data.examples import BATCH_MULTIPLE
from curriculum_rec.data.feature_table import FeatureTable, PointwiseExamples
from curriculum_rec.data.splits import Part
from curriculum_rec.data.task import Task
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.evaluation.contract import DeviceSplit, Reference
from curriculum_rec.evaluation.intervals import bootstrap_interval
from curriculum_rec.evaluation.row_answers import RowsOfPart
from curriculum_rec.models.structure import Tree
from curriculum_rec.ranges import POSITIVE, check_ranges, one_of

Deciding = Literal["r2"]
"""Of a part's metrics the one of which higher is better; it orders predictions as ``rmse`` does."""


@dataclass(frozen=True)
class Regression:
    """Options of evaluation: the number of every row of a part is predicted.

    Args:
        metric: The metric that decides which checkpoint is best: ``r2``. That is the one with the lowest ``rmse``.
        every_epochs: Passes over the full data between two evaluations; a stage's end is evaluated in any case.
        batch_size: Rows at once; memory grows with it, not the result. A multiple of 8.
    """

    TASK: ClassVar[Task] = "pointwise"

    metric: Deciding = "r2"
    every_epochs: float = 1.0
    batch_size: int = 4096

    def __post_init__(self) -> None:
        check_ranges(self, "evaluation", {"metric": one_of(*get_args(Deciding)), "every_epochs": POSITIVE})
        if self.batch_size < BATCH_MULTIPLE or self.batch_size % BATCH_MULTIPLE:
            raise OptionError(f"evaluation.batch_size={self.batch_size}: it must be a multiple of {BATCH_MULTIPLE}")

    def check(self, data: FeatureTable) -> None:
        """Refuse classes, and parts in which nothing varies.

        Raises:
            OptionError: Labels are classes.
            DataError: All rows of a part have the same label.
        """
        if data.inputs.n_classes:
            raise OptionError(
                "evaluation=regression is for numbers: say examples.target=number (task=regression), or take "
                "evaluation=classification"
            )
        for part in (Part.VALIDATION, Part.TEST):
            if len(np.unique(data.label[data.rows(part)])) < 2:
                raise DataError(f"all {part.name.lower()} rows have the same label, so there is no r2: split otherwise")

    def on(self, data: FeatureTable, part: Part, examples: PointwiseExamples, placed: DeviceSplit) -> NumberPredictions:
        """Prepare to predict the labels of a part."""
        return NumberPredictions(data, part, placed, self)


@dataclass
class NumberPredictions(RowsOfPart):
    """Predicts the numbers of a part by any state of a model, as an evaluator whose answers are in the label's unit.

    Args:
        data: The rows.
        part: The part.
        placed: Puts arrays on the devices.
        options: The evaluation's options.
    """

    options: Regression

    def answers(self, structure: nnx.GraphDef, params: Tree) -> np.ndarray:
        """Give the predictions, float64 ``[n]``."""
        return in_unit_of_label(self.outputs(structure, params)[:, 0], self.data.fitted.label_scale)

    def average(self, answers: Sequence[np.ndarray]) -> np.ndarray:
        """Make one of several models' answers: the mean of their predictions."""
        return np.mean(answers, axis=0)

    def quality(self, answers: np.ndarray) -> dict[str, float]:
        """Give ``r2``, and ``rmse`` and ``mae``, of which lower is better."""
        error = answers - self.label
        return {
            "r2": float(1 - (error**2).mean() / self.label.var()),
            "rmse": float(np.sqrt((error**2).mean())),
            "mae": float(np.abs(error).mean()),
        }

    def intervals(self, answers: np.ndarray) -> dict[str, tuple[float, float] | None]:
        """Give 95 % bootstrap intervals over rows of ``rmse`` and ``mae``; ``r2`` has none."""
        error = answers - self.label
        if len(error) < 2:
            return {}
        low, high = bootstrap_interval(error**2)
        return {"rmse": (float(np.sqrt(low)), float(np.sqrt(high))), "mae": bootstrap_interval(np.abs(error))}

    def table(self, answers: np.ndarray) -> pl.DataFrame:
        """Give one row a row: its number, user and item where it has them, label, prediction, and errors."""
        error = answers - self.label
        return pl.DataFrame(
            [
                *self.named_rows(),
                pl.Series("label", self.label),
                pl.Series("prediction", answers),
                pl.Series("squared_error", error**2),
                pl.Series("absolute_error", np.abs(error)),
            ]
        )

    def reference(self) -> Reference:
        """Measure what predicts the mean of the training part for every row."""
        mean = self.data.label[self.data.rows(Part.TRAIN)].mean()
        return Reference("training mean", self.quality(np.full(len(self), mean)))


def in_unit_of_label(outputs: np.ndarray, scale: tuple[float, float] | None) -> np.ndarray:
    """Undo the scaling of labels.

    Args:
        outputs: Of a model.
        scale: Mean and standard deviation of the training labels.

    Raises:
        OptionError: The features are those of a run that predicts classes.

    >>> in_unit_of_label(np.array([0.0, 2.0]), (3.5, 0.5)).tolist()
    [3.5, 4.5]
    """
    if scale is None:
        raise OptionError("these features belong to a run that predicts classes, not numbers")
    mean, deviation = scale
    return outputs * deviation + mean
