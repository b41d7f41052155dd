"""Evaluation of predicted labels (host and device): accuracy, log loss, and AUC where there are two classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, get_args

import numpy as np
import polars as pl
from flax import nnx
from scipy.special import logsumexp

from curriculum_rec.data.examples import BATCH_MULTIPLE
from curriculum_rec.data.feature_table import FeatureTable, PointwiseExamples
from curriculum_rec.data.interactions import USER
from curriculum_rec.data.splits import Part
from curriculum_rec.data.task import Task
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.evaluation.auc_interval import auc_interval
from curriculum_rec.evaluation.class_metrics import (
    auc,
    correct,
    expected_calibration_error,
    group_auc,
    log_probabilities,
    row_log_loss,
)
from curriculum_rec.evaluation.contract import DeviceSplit, Reference
from curriculum_rec.evaluation.intervals import bootstrap_interval
from curriculum_rec.evaluation.row_answers import RowsOfPart
from curriculum_rec.models.structure import Tree
from curriculum_rec.ranges import POSITIVE, check_ranges, check_value, one_of

Deciding = Literal["auc", "accuracy"]
ClassMetric = Literal["auc", "accuracy", "log_loss", "gauc", "ece"]
STANDARD: tuple[ClassMetric, ...] = ("auc", "accuracy", "log_loss")
FOR_TWO = ("auc", "gauc")
"""What only two classes have."""


@dataclass(frozen=True)
class Classification:
    """Options of evaluation: the label of every row of a part is predicted.

    Args:
        metric: The metric that decides which checkpoint is best, of which higher is better: ``auc`` (two classes) or
            ``accuracy``.
        every_epochs: Passes over the full data between two evaluations; a stage's end is evaluated in any case.
        batch_size: Rows at once; memory grows with it, not the result. A multiple of 8.
        metrics: What is reported beside ``metric``: auc, accuracy, log_loss, gauc (the AUC of each user's rows), ece
            (calibration); None takes the first three, auc where there are two classes.
    """

    TASK: ClassVar[Task] = "pointwise"

    metric: Deciding = "auc"
    every_epochs: float = 1.0
    batch_size: int = 4096
    metrics: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        # The other metric, log_loss, is better when lower, and what decides is not.
        check_ranges(self, "evaluation", {"metric": one_of(*get_args(Deciding)), "every_epochs": POSITIVE})
        if self.batch_size < BATCH_MULTIPLE or self.batch_size % BATCH_MULTIPLE:
            raise OptionError(f"evaluation.batch_size={self.batch_size}: it must be a multiple of {BATCH_MULTIPLE}")
        for name in self.metrics or ():
            check_value(name, "evaluation.metrics", one_of(*get_args(ClassMetric)))

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of all metrics, that which decides among them."""
        return tuple(dict.fromkeys((*(STANDARD if self.metrics is None else self.metrics), self.metric)))

    def check(self, data: FeatureTable) -> None:
        """Refuse numbers, and AUC where it means nothing.

        Raises:
            OptionError: Labels are numbers, or of more than two classes.
            DataError: All rows of a part have the same label.
        """
        if data.inputs.n_classes == 0:
            raise OptionError(
                "evaluation=classification is for classes, and examples.target=number: take evaluation=regression "
                "(task=regression)"
            )
        for name in set(self.metrics or ()) & {"gauc"}:
            if USER not in data.split.rows.frame.columns:
                raise OptionError(f"evaluation.metrics={name} needs a column of users: name it by data.user=COLUMN")
        asked = [name for name in (self.metric, *(self.metrics or ())) if name in FOR_TWO]
        if not asked:
            return
        if data.inputs.n_classes != 2:
            raise OptionError(
                f"evaluation.metric={asked[0]} needs two classes, and the label has {data.inputs.n_classes}: take "
                "accuracy"
            )
        for part in (Part.VALIDATION, Part.TEST):
            if len(np.unique(data.label[data.rows(part)])) < 2:
                raise DataError(
                    f"all {part.name.lower()} rows have the same label, so there is no AUC: split otherwise"
                )

    def on(self, data: FeatureTable, part: Part, examples: PointwiseExamples, placed: DeviceSplit) -> Predictions:
        """Prepare to predict the labels of a part."""
        return Predictions(data, part, placed, self)


@dataclass
class Predictions(RowsOfPart):
    """Predicts the labels of a part by any state of a model, as an evaluator whose answers are the model's outputs.

    Args:
        data: The rows.
        part: The part.
        placed: Puts arrays on the devices.
        options: The evaluation's options.
    """

    options: Classification

    def answers(self, structure: nnx.GraphDef, params: Tree) -> np.ndarray:
        """Give the model's outputs, float64 ``[n, outputs]``."""
        return self.outputs(structure, params)

    def average(self, answers: Sequence[np.ndarray]) -> np.ndarray:
        """Make one of several models' answers: outputs that mean the mean of their probabilities."""
        log_p = logsumexp([log_probabilities(each) for each in answers], axis=0) - np.log(len(answers))
        return log_p[:, 1:] - log_p[:, :1] if answers[0].shape[1] == 1 else log_p

    def quality(self, answers: np.ndarray) -> dict[str, float]:
        """Give the metrics; of ``log_loss`` and ``ece`` lower is better."""
        return self._measured(log_probabilities(answers), answers[:, 0] if answers.shape[1] == 1 else None)

    def _measured(self, log_p: np.ndarray, score: np.ndarray | None) -> dict[str, float]:
        """Measure.

        Args:
            log_p: Logarithms of probabilities.
            score: Of two classes how much speaks for the second; None for more classes.
        """
        label, positive = self.label, self.label == 1
        measure: dict[str, Callable[[], float]] = {
            "accuracy": lambda: float(correct(log_p, label).mean()),
            "log_loss": lambda: float(row_log_loss(log_p, label).mean()),
            "ece": lambda: expected_calibration_error(log_p, label),
        }
        if score is not None:
            measure |= {
                "auc": lambda: auc(score, positive),
                "gauc": lambda: group_auc(score, positive, self._user),
            }
        return {name: measure[name]() for name in self.options.metric_names if name in measure}

    @cached_property
    def _user(self) -> np.ndarray:
        return self.data.split.rows.frame[USER].gather(self.rows).rank("dense").to_numpy()

    def intervals(self, answers: np.ndarray) -> dict[str, tuple[float, float] | None]:
        """Give 95 % intervals: of means over rows by bootstrap, of ``auc`` DeLong's."""
        log_p, found = log_probabilities(answers), self.quality(answers)
        result: dict[str, tuple[float, float] | None] = {}
        if len(self) > 1:
            result = {
                "accuracy": bootstrap_interval(correct(log_p, self.label)),
                "log_loss": bootstrap_interval(row_log_loss(log_p, self.label)),
            }
        if answers.shape[1] == 1 and np.bincount(self.label, minlength=2).min() > 1:
            result["auc"] = auc_interval(answers[:, 0], self.label == 1)
        return {name: result[name] for name in found if name in result}

    def table(self, answers: np.ndarray) -> pl.DataFrame:
        """Give one row a row: its number, user and item where it has them, label, prediction, and metrics."""
        log_p, classes = log_probabilities(answers), pl.Series(self.data.fitted.classes)
        predicted = log_p.argmax(axis=1)
        likely = log_p[:, 1] if answers.shape[1] == 1 else log_p.max(axis=1)
        return pl.DataFrame(
            [
                *self.named_rows(),
                classes.gather(self.label).alias("label"),
                classes.gather(predicted).alias("prediction"),
                pl.Series("probability", np.exp(likely)),
                pl.Series("accuracy", correct(log_p, self.label)),
                pl.Series("log_loss", row_log_loss(log_p, self.label)),
            ]
        )

    def reference(self) -> Reference:
        """Measure what predicts the training part's shares of classes for every row."""
        label = self.data.label[self.data.rows(Part.TRAIN)]
        shares = np.bincount(label, minlength=len(self.data.fitted.classes)) / len(label)
        log_p = np.broadcast_to(np.log(shares), (len(self), len(shares)))
        two = len(shares) == 2
        return Reference("base rate", self._measured(log_p, np.zeros(len(self)) if two else None))
