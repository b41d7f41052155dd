"""Loss of a number (device)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp

from curriculum_rec.data.inputs import Columns
from curriculum_rec.data.task import Task
from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.objectives.losses import Losses


@dataclass(frozen=True)
class MeanSquaredError:
    """``(z - y)^2``, where ``y`` is the label less the mean of training labels, over their standard deviation.

    So a model that learns nothing has a loss of 1. The log gets ``absolute_error``, the mean of ``|z - y|``.
    """

    TASK: ClassVar[Task] = "pointwise"

    def check_inputs(self, inputs: Columns) -> None:
        """Refuse classes.

        Raises:
            OptionError: The label is one.
        """
        if inputs.n_classes:
            raise OptionError(
                f"objective=mse is for labels that are numbers, and these are {inputs.n_classes} classes: say "
                "examples.target=number (task=regression), or take objective=cross_entropy"
            )

    def __call__(self, model: Any, batch: Batch, rng: BatchRng) -> Losses:
        """Compute the losses, ``[batch]``."""
        error = model(batch, rng)[:, 0].astype(jnp.float32) - batch["label"]
        mean = (batch.weight * jnp.abs(error)).sum() / jnp.maximum(batch.weight.sum(), 1e-9)
        return Losses(error**2, metrics={"absolute_error": mean})
