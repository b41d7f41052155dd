"""Models of the label of a row (device): logistic regression, a multilayer perceptron, and one of residual blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from curriculum_rec.data.features.schema import dense_width
from curriculum_rec.data.inputs import Columns
from curriculum_rec.data.task import Task
from curriculum_rec.errors import OptionError
from curriculum_rec.models.axes import CLASSES, FEATURES, HIDDEN, STREAM, Axis, LeafAxis, consumed, linear_axes
from curriculum_rec.models.batch import Batch, BatchRng, dropout
from curriculum_rec.models.feature_input import FeatureInput, Widths, check_widths
from curriculum_rec.models.fields import FieldVectors
from curriculum_rec.models.row_stack import RowStack, RowStackOptions
from curriculum_rec.ranges import BELOW_ONE, check_ranges, one_of

Activation = Literal["relu", "sigmoid", "tanh", "gelu"]
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,
}


@dataclass(frozen=True)
class LogisticRegression:
    """Options of logistic regression: one weight a number and a code, and a bias, for every output.

    Parameters: ``(d + codes + 1) outputs``, where ``d`` are the numbers of dense features, ``codes`` the sizes of
    categorical ones, and ``outputs`` is 1 for two classes, else the number of classes. All begin at 0.
    """

    TASK: ClassVar[Task] = "pointwise"

    def __call__(self, *, inputs: Columns, depth: int | None, rngs: nnx.Rngs) -> LogisticRegressionModel:
        """Build the model."""
        _refuse_depth("logistic_regression", depth)
        return LogisticRegressionModel(inputs, rngs=rngs)


class LogisticRegressionModel(nnx.Module):
    """See :class:`LogisticRegression`."""

    def __init__(self, inputs: Columns, *, rngs: nnx.Rngs) -> None:
        self.fields = FieldVectors(inputs.schema, inputs.n_outputs, scale=0.0, rngs=rngs)
        self.bias = nnx.Param(jnp.zeros(inputs.n_outputs))
        self.n_dense = dense_width(inputs.schema)
        if self.n_dense:  # a checkpoint cannot hold an empty array
            self.weight = nnx.Param(jnp.zeros((self.n_dense, inputs.n_outputs)))

    def __call__(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch outputs"]:
        """Give the logits of every row."""
        del rng
        bias = self.bias[...]
        logits = self.fields(batch["categorical"]).sum(axis=1).astype(bias.dtype) + bias[None, :]
        return logits + batch["dense"].astype(bias.dtype) @ self.weight[...] if self.n_dense else logits

    def axes(self) -> dict[str, Any]:
        """Name the axes of the parameters."""
        classes = Axis(CLASSES, len(self.bias))
        weight = {"weight": (consumed(Axis(FEATURES, self.n_dense)), classes)} if self.n_dense else {}
        return {"fields": self.fields.axes(units=CLASSES), "bias": (classes,), **weight}


@dataclass(frozen=True)
class MLPClassifier:
    """Options of a multilayer perceptron over all features.

    Parameters: ``codes embedding_width`` and ``(a + 1) b`` for every two neighbouring layers ``a``, ``b``, of which
    the first is ``d + fields embedding_width`` and the last the outputs (:class:`LogisticRegression`). Where fields
    have widths of their own, ``codes embedding_width`` and ``fields embedding_width`` are sums over the fields.

    Args:
        hidden: Sizes of the hidden layers.
        activation: What follows each of them.
        embedding_width: Size of the vector of a code; or one for every field, by its name, in a table of its own.
        dropout: Rate in [0, 1) on every hidden layer.
    """

    TASK: ClassVar[Task] = "pointwise"

    hidden: tuple[int, ...] = (128, 64)
    activation: Activation = "relu"
    embedding_width: Widths = 16
    dropout: float = 0.0

    def __post_init__(self) -> None:
        ranges = {
            "activation": one_of(*get_args(Activation)),
            "dropout": BELOW_ONE,
        }
        check_ranges(self, "model", ranges)
        check_widths(self.embedding_width)
        if not self.hidden or min(self.hidden) < 1:
            raise OptionError(f"model.hidden={list(self.hidden)}: it needs at least one layer, of at least one unit")

    def __call__(self, *, inputs: Columns, depth: int | None, rngs: nnx.Rngs) -> MLPClassifierModel:
        """Build the model."""
        _refuse_depth("mlp_classifier", depth)
        return MLPClassifierModel(self, inputs, rngs=rngs)


class MLPClassifierModel(nnx.Module):
    """See :class:`MLPClassifier`."""

    def __init__(self, options: MLPClassifier, inputs: Columns, *, rngs: nnx.Rngs) -> None:
        self.fields = FeatureInput(inputs.schema, options.embedding_width, rngs=rngs)
        sizes = (self.fields.width, *options.hidden)
        layers = {f"hidden_{number}": nnx.Linear(a, b, rngs=rngs) for number, (a, b) in _numbered_pairs(sizes)}
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.layers = tuple(layers)
        self.out = nnx.Linear(sizes[-1], inputs.n_outputs, rngs=rngs)
        self.activation = options.activation
        self.rate = options.dropout

    def __call__(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch outputs"]:
        """Give the logits of every row."""
        x = self.fields(batch).astype(self.out.kernel.dtype)
        for name in self.layers:
            x = ACTIVATIONS[self.activation](getattr(self, name)(x))
            x = dropout(x, self.rate, None if rng is None else rng.named(name))
        return self.out(x)

    def axes(self) -> dict[str, Any]:
        """Name the axes of the parameters; every hidden layer has units of its own."""
        units: LeafAxis = self.fields.units()
        axes: dict[str, Any] = {"fields": self.fields.axes()}
        for number, name in enumerate(self.layers):
            hidden = Axis(f"{HIDDEN} {number}", getattr(self, name).out_features)
            axes[name] = linear_axes(units, hidden)
            units = hidden
        return {**axes, "out": linear_axes(units, Axis(CLASSES, self.out.out_features))}


@dataclass(frozen=True)
class ResidualClassifier(RowStackOptions):
    """Options of a stack of residual blocks over all features, which can grow; they are every row stack's.

    Parameters: ``codes embedding_width``, those of the stack over ``d + fields embedding_width`` inputs
    (:class:`RowStackOptions`), and ``(width + 1) outputs``.

    Source: Gorishniy et al. (2021), ResNet for tabular data.
    """

    def __call__(self, *, inputs: Columns, depth: int | None, rngs: nnx.Rngs) -> ResidualClassifierModel:
        """Build the model."""
        return ResidualClassifierModel(self, inputs, depth=self.depth if depth is None else depth, rngs=rngs)


class ResidualClassifierModel(RowStack):
    """See :class:`ResidualClassifier`."""

    BELOW_BLOCKS: ClassVar[tuple[str, ...]] = ("fields", "project")
    ABOVE_BLOCKS: ClassVar[tuple[str, ...]] = ("norm", "out")

    def __init__(self, options: ResidualClassifier, inputs: Columns, *, depth: int, rngs: nnx.Rngs) -> None:
        self.fields = FeatureInput(inputs.schema, options.embedding_width, rngs=rngs)
        super().__init__(options, self.fields.width, depth=depth, rngs=rngs)
        self.out = nnx.Linear(options.width, inputs.n_outputs, rngs=rngs)

    def __call__(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch outputs"]:
        """Give the logits of every row."""
        return self.out(self.deep(self.fields(batch), rng, progress=batch.progress))

    def axes(self) -> dict[str, Any]:
        """Name the axes of the parameters."""
        return {
            "fields": self.fields.axes(),
            **self.stack_axes(self.fields.units()),
            "out": linear_axes(Axis(STREAM, self.out.in_features), Axis(CLASSES, self.out.out_features)),
        }


def _numbered_pairs(sizes: tuple[int, ...]) -> Any:
    return enumerate(pairwise(sizes))


def _refuse_depth(name: str, depth: int | None) -> None:
    if depth is not None:
        raise OptionError(f"model={name} has no blocks, so no stage can give it a depth: take residual_classifier")
