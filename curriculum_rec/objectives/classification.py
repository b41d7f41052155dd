"""Losses of the label of a row (device)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from curriculum_rec.data.inputs import Columns
from curriculum_rec.data.task import Task
from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.objectives.losses import Losses
from curriculum_rec.ranges import BELOW_ONE, INSIDE_ONE, POSITIVE, at_least, check_ranges


@dataclass(frozen=True)
class CrossEntropy:
    """``-sum_c t_c log softmax(z)_c``, where ``t`` is the label, smoothed: ``(1 - e) 1[c = label] + e / classes``.

    Args:
        label_smoothing: ``e``, in [0, 1).

    Source: Szegedy et al. (2016), section 7, for the smoothing.
    """

    TASK: ClassVar[Task] = "pointwise"

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_ranges(self, "objective", {"label_smoothing": BELOW_ONE})

    def check_inputs(self, inputs: Columns) -> None:
        """Refuse numbers.

        Raises:
            OptionError: The label is one.
        """
        _refuse_numbers("cross_entropy", inputs)

    def __call__(self, model: Any, batch: Batch, rng: BatchRng) -> Losses:
        """Compute the losses, ``[batch]``."""
        logits = class_logits(model(batch, rng))
        log_likelihood = jax.nn.log_softmax(logits)
        own = jnp.take_along_axis(log_likelihood, batch["label"][:, None], axis=1)[:, 0]
        smooth = self.label_smoothing
        losses = -(1 - smooth) * own - smooth * log_likelihood.mean(axis=1)
        return Losses(losses, metrics=_accuracy(logits, batch))


@dataclass(frozen=True)
class Logistic:
    """``log(1 + exp(-z))`` for a label of 1, times its weight, and ``log(1 + exp(z))`` for a label of 0.

    Args:
        positive_weight: What a label of 1 weighs, above 0; 1 leaves probabilities calibrated.
    """

    TASK: ClassVar[Task] = "pointwise"

    positive_weight: float = 1.0

    def __post_init__(self) -> None:
        check_ranges(self, "objective", {"positive_weight": POSITIVE})

    def check_inputs(self, inputs: Columns) -> None:
        """Refuse more than two classes.

        Raises:
            OptionError: There are.
        """
        _require_two_classes("logistic", inputs)

    def __call__(self, model: Any, batch: Batch, rng: BatchRng) -> Losses:
        """Compute the losses, ``[batch]``."""
        logit, positive = model(batch, rng)[:, 0].astype(jnp.float32), batch["label"] == 1
        losses = jnp.where(positive, self.positive_weight * jax.nn.softplus(-logit), jax.nn.softplus(logit))
        return Losses(losses, metrics=_accuracy(class_logits(logit[:, None]), batch))


@dataclass(frozen=True)
class FocalLoss:
    """``-a (1 - p)^gamma log p``, where ``p`` is the probability of a row's own class: what is known well counts less.

    ``a`` is ``alpha`` for a label of 1 and ``1 - alpha`` for a label of 0. The factor is a part of the function that is
    minimised, and probabilities are no longer calibrated; ``weighting=focal`` multiplies a loss by a constant instead.

    Args:
        gamma: At least 0; 0 leaves ``a`` alone.
        alpha: In (0, 1); None lets both labels weigh 1.

    Source: Lin et al. (2017), equation 5, with their gamma and alpha.
    """

    TASK: ClassVar[Task] = "pointwise"

    gamma: float = 2.0
    alpha: float | None = 0.25

    def __post_init__(self) -> None:
        check_ranges(self, "objective", {"gamma": at_least(0), "alpha": INSIDE_ONE.or_null()})

    def check_inputs(self, inputs: Columns) -> None:
        """Refuse more than two classes.

        Raises:
            OptionError: There are.
        """
        _require_two_classes("focal", inputs)

    def __call__(self, model: Any, batch: Batch, rng: BatchRng) -> Losses:
        """Compute the losses, ``[batch]``."""
        logit, positive = model(batch, rng)[:, 0].astype(jnp.float32), batch["label"] == 1
        signed = jnp.where(positive, logit, -logit)
        # The power by logarithms: that of a probability which rounds to 0 would have no gradient.
        factor = jnp.exp(-self.gamma * jax.nn.softplus(signed))
        if self.alpha is not None:
            factor *= jnp.where(positive, self.alpha, 1 - self.alpha)
        losses = factor * jax.nn.softplus(-signed)
        return Losses(losses, metrics=_accuracy(class_logits(logit[:, None]), batch))


def class_logits(outputs: Float[Array, "batch outputs"]) -> Float[Array, "batch classes"]:
    """Give every class a logit in float32; one output is that of the second of two classes, beside 0.

    >>> class_logits(jnp.array([[2.0]])).tolist(), class_logits(jnp.array([[1.0, 3.0, 2.0]])).tolist()
    ([[0.0, 2.0]], [[1.0, 3.0, 2.0]])
    """
    outputs = outputs.astype(jnp.float32)
    return jnp.concatenate([jnp.zeros_like(outputs), outputs], axis=1) if outputs.shape[1] == 1 else outputs


def _accuracy(logits: Float[Array, "batch classes"], batch: Batch) -> dict[str, Float[Array, ""]]:
    right = (logits.argmax(axis=1) == batch["label"]).astype(jnp.float32)
    return {"accuracy": (batch.weight * right).sum() / jnp.maximum(batch.weight.sum(), 1e-9)}


def _require_two_classes(name: str, inputs: Columns) -> None:
    _refuse_numbers(name, inputs)
    if inputs.n_classes != 2:
        raise OptionError(
            f"objective={name} is for two classes, and the label has {inputs.n_classes}: take cross_entropy, or make "
            "two of them by examples.positive_from"
        )


def _refuse_numbers(name: str, inputs: Columns) -> None:
    if inputs.n_classes == 0:
        raise OptionError(f"objective={name} is for classes, and examples.target=number: take objective=mse")
