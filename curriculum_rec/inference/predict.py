"""Labels of new rows by a finished run (host and device): its features and its model, applied to any table."""

from __future__ import annotations

import numpy as np
import polars as pl

from curriculum_rec.data.feature_table import CATEGORICAL, DENSE, encode
from curriculum_rec.data.features.saving import load_features
from curriculum_rec.data.inputs import Columns
from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.class_metrics import log_probabilities
from curriculum_rec.evaluation.numbers import in_unit_of_label
from curriculum_rec.evaluation.row_answers import batches_of, outputs_of
from curriculum_rec.training.experiment import Experiment
from curriculum_rec.training.restore import load_snapshot, snapshot_parameters
from curriculum_rec.training.run_directory import RunDirectory, Which


def predict(
    experiment: Experiment,
    directory: RunDirectory,
    frame: pl.DataFrame,
    *,
    checkpoint: Which = "best",
    batch_size: int = 4096,
) -> pl.DataFrame:
    """Predict the labels of rows that need not have one.

    Args:
        experiment: The run's components (``config.experiment_of_run``).
        directory: Where it lies.
        frame: The columns that its features read, cleaned as the run's own were.
        checkpoint: The best by the validation metric, the newest, or the one of a step.
        batch_size: Rows at once.

    Returns:
        A row each, with a column of probabilities for each class, named by the value of the label; or with a column
        ``prediction`` where the label is a number.

    Raises:
        OptionError: The run predicts no labels.
    """
    if experiment.features is None or not directory.features.is_dir():
        raise OptionError(f"{directory.path} predicts no labels of rows: take a run of task=pointwise")
    fitted = load_features(directory.features)
    encoded = encode(frame, experiment.features, fitted)
    inputs = Columns(encoded.schema, len(fitted.classes))
    structure, params = snapshot_parameters(load_snapshot(directory, checkpoint), experiment, inputs=inputs)
    placed = experiment.placement.place()
    batches = batches_of({DENSE: encoded.dense, CATEGORICAL: encoded.codes}, placed, batch_size)
    outputs = outputs_of(structure, placed.replicate(params), batches, placed)[: len(frame)]
    if fitted.label_scale is not None:
        return pl.DataFrame({"prediction": in_unit_of_label(outputs[:, 0], fitted.label_scale)})
    return pl.DataFrame(np.exp(log_probabilities(outputs)), schema=list(fitted.classes))
