"""Evaluation of predicted labels (host and device): accuracy, log loss, and AUC where there are two classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from flax import nnx
from jaxtyping import Array, Float

from curriculum_rec.data.examples import BATCH_MULTIPLE
from curriculum_rec.data.feature_table import DENSE, LABEL, FeatureTable, PointwiseExamples
from curriculum_rec.data.interactions import ITEM, USER
from curriculum_rec.data.splits import Part
from curriculum_rec.data.task import Task
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.evaluation.class_metrics import auc, correct, log_probabilities, row_log_loss
from curriculum_rec.evaluation.contract import DeviceSplit, Reference
from curriculum_rec.evaluation.evaluator import fold
from curriculum_rec.models.batch import Batch
from curriculum_rec.models.structure import Tree, join_model
from curriculum_rec.ranges import POSITIVE, check_ranges, one_of

Deciding = Literal["auc", "accuracy"]


@dataclass(frozen=True)
class Classification:
    """Options of evaluation: the label of every row of a part is predicted.

    Args:
        metric: The metric that decides which checkpoint is best, of which higher is better: ``auc`` (two classes) or
            ``accuracy``.
        every_epochs: Passes over the full data between two evaluations; a stage's end is evaluated in any case.
        batch_size: Rows at once; memory grows with it, not the result. A multiple of 8.
    """

    TASK: ClassVar[Task] = "pointwise"

    metric: Deciding = "auc"
    every_epochs: float = 1.0
    batch_size: int = 4096

    def __post_init__(self) -> None:
        # The other metric, log_loss, is better when lower, and what decides is not.
        check_ranges(self, "evaluation", {"metric": one_of(*get_args(Deciding)), "every_epochs": POSITIVE})
        if self.batch_size < BATCH_MULTIPLE or self.batch_size % BATCH_MULTIPLE:
            raise OptionError(f"evaluation.batch_size={self.batch_size}: it must be a multiple of {BATCH_MULTIPLE}")

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
        if self.metric != "auc":
            return
        if data.inputs.n_classes != 2:
            raise OptionError(
                f"evaluation.metric=auc needs two classes, and the label has {data.inputs.n_classes}: take accuracy"
            )
        for part in (Part.VALIDATION, Part.TEST):
            if len(np.unique(data.label[data.rows(part)])) < 2:
                raise DataError(
                    f"all {part.name.lower()} rows have the same label, so there is no AUC: split otherwise"
                )

    def on(self, data: FeatureTable, part: Part, examples: PointwiseExamples, placed: DeviceSplit) -> Predictions:
        """Prepare to predict the labels of a part."""
        return Predictions(self, data, part, placed)


@dataclass
class Predictions:
    """Predicts the labels of a part by any state of a model, as an evaluator whose answers are the model's outputs.

    Args:
        options: The evaluation's options.
        data: The rows.
        part: The part.
        placed: Puts arrays on the devices.
    """

    options: Classification
    data: FeatureTable
    part: Part
    placed: DeviceSplit

    def __len__(self) -> int:
        return len(self._rows)

    @cached_property
    def _rows(self) -> np.ndarray:
        return self.data.rows(self.part)

    @cached_property
    def _label(self) -> np.ndarray:
        return self.data.label[self._rows]

    @cached_property
    def _batches(self) -> dict[str, Array]:
        arrays = {name: array for name, array in self.data.arrays(self.part).items() if name != LABEL}
        return batches_of(arrays, self.placed, self.options.batch_size)

    def answers(self, structure: nnx.GraphDef, params: Tree) -> np.ndarray:
        """Give the model's outputs, float64 ``[n, outputs]``."""
        return outputs_of(structure, params, self._batches, self.placed)[: len(self)]

    def quality(self, answers: np.ndarray) -> dict[str, float]:
        """Give ``auc`` for two classes, ``accuracy``, and ``log_loss``, of which lower is better."""
        log_p = log_probabilities(answers)
        means = {
            "accuracy": float(correct(log_p, self._label).mean()),
            "log_loss": float(row_log_loss(log_p, self._label).mean()),
        }
        return ({"auc": auc(answers[:, 0], self._label == 1)} if answers.shape[1] == 1 else {}) | means

    def table(self, answers: np.ndarray) -> pl.DataFrame:
        """Give one row a row: its number, user and item where it has them, label, prediction, and metrics."""
        log_p, classes = log_probabilities(answers), pl.Series(self.data.fitted.classes)
        predicted = log_p.argmax(axis=1)
        likely = log_p[:, 1] if answers.shape[1] == 1 else log_p.max(axis=1)
        frame = self.data.split.rows.frame
        known = [frame[name].gather(self._rows) for name in (USER, ITEM) if name in frame.columns]
        return pl.DataFrame(
            [
                pl.Series("row", self._rows + 1),
                *known,
                classes.gather(self._label).alias("label"),
                classes.gather(predicted).alias("prediction"),
                pl.Series("probability", np.exp(likely)),
                pl.Series("accuracy", correct(log_p, self._label)),
                pl.Series("log_loss", row_log_loss(log_p, self._label)),
            ]
        )

    def reference(self) -> Reference:
        """Measure what predicts the training part's shares of classes for every row."""
        label = self.data.label[self.data.rows(Part.TRAIN)]
        shares = np.bincount(label, minlength=len(self.data.fitted.classes)) / len(label)
        log_p = np.broadcast_to(np.log(shares), (len(self), len(shares)))
        quality = {
            "accuracy": float(correct(log_p, self._label).mean()),
            "log_loss": float(row_log_loss(log_p, self._label).mean()),
        }
        return Reference("base rate", ({"auc": 0.5} if len(shares) == 2 else {}) | quality)


def batches_of(arrays: Mapping[str, np.ndarray], placed: DeviceSplit, batch_size: int) -> dict[str, Array]:
    """Put rows on the devices in batches, ``[n_batches, batch, ...]``, the last one filled up.

    Args:
        arrays: ``dense`` and ``categorical``, ``[n, ...]``.
        placed: The devices.
        batch_size: Most rows at once.
    """
    multiple = math.lcm(BATCH_MULTIPLE, placed.n_shards)
    size = -(-min(batch_size, len(arrays[DENSE])) // multiple) * multiple
    return {name: placed.split(fold(array, size), 1) for name, array in arrays.items()}


def outputs_of(structure: nnx.GraphDef, params: Tree, batches: dict[str, Array], placed: DeviceSplit) -> np.ndarray:
    """Give a model's outputs for rows from :func:`batches_of`, float64 ``[n and what fills them up, outputs]``."""
    outputs = placed.fetch(_predict_batches(structure, params, batches))
    return outputs.reshape(-1, outputs.shape[-1]).astype(np.float64)


@jax.jit(static_argnums=0)
def _predict_batches(
    structure: nnx.GraphDef, params: Tree, arrays: dict[str, Array]
) -> Float[Array, "batches batch outputs"]:
    model = join_model(structure, params)

    def one_batch(batch: dict[str, Array]) -> Float[Array, "batch outputs"]:
        return model(Batch(batch, jnp.ones(len(batch["dense"])))).astype(jnp.float32)

    return jax.lax.map(one_batch, arrays)
