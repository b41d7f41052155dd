"""A Transformer over the features of a row (device): numbers and codes are tokens, their mean says the class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from curriculum_rec.data.features.schema import dense_width
from curriculum_rec.data.inputs import Columns
from curriculum_rec.data.task import Task
from curriculum_rec.errors import OptionError
from curriculum_rec.models.axes import CLASSES, CODES, FEATURES, STREAM, Axis, linear_axes
from curriculum_rec.models.batch import Batch, BatchRng, dropout
from curriculum_rec.models.blocks import apply_blocks, stack_axes, stack_blocks
from curriculum_rec.models.fields import FieldVectors
from curriculum_rec.models.norms import make_norm, norm_axes
from curriculum_rec.models.transformer import TransformerBlock, TransformerOptions


@dataclass(frozen=True)
class TransformerClassifier(TransformerOptions):
    """Options of the classifier; they are every Transformer's. A row has no order, so its positions are its features.

    Parameters: ``(2 d + codes) width`` for the tokens, ``2 width`` for the last layer norm (``width`` for an RMS norm),
    ``(width + 1) outputs``, and ``depth`` times those of a block (:class:`TransformerOptions`). ``d`` are the numbers
    of dense features, ``codes`` the sizes of categorical ones, ``outputs`` 1 for two classes, else their number.

    Source: tokens as in the FT-Transformer (Gorishniy et al., 2021), equation 1; the mean of the tokens instead of its
    extra one, pre-norm blocks and a learnt gate on each residual branch are ours.
    """

    TASK: ClassVar[Task] = "pointwise"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.positions != "learnt":
            raise OptionError(
                f"model.positions={self.positions}: features have no order, so there are no distances between them; "
                "leave model.positions=learnt"
            )

    def __call__(self, *, inputs: Columns, depth: int | None = None, rngs: nnx.Rngs) -> TransformerClassifierModel:
        """Build the model."""
        return TransformerClassifierModel(self, inputs, depth=self.depth if depth is None else depth, rngs=rngs)


class TransformerClassifierModel(nnx.Module):
    """The network; see :class:`TransformerClassifier` for its options."""

    BELOW_BLOCKS: ClassVar[tuple[str, ...]] = ("tokens", "fields")
    ABOVE_BLOCKS: ClassVar[tuple[str, ...]] = ("norm", "output")

    def __init__(self, options: TransformerClassifier, inputs: Columns, *, depth: int, rngs: nnx.Rngs) -> None:
        self.n_dense = dense_width(inputs.schema)
        self.tokens = FeatureTokens(self.n_dense, options.width, rngs=rngs) if self.n_dense else None
        self.fields = FieldVectors(inputs.schema, options.width, scale=options.width**-0.5, rngs=rngs)
        n_tokens = self.n_dense + self.fields.n_fields
        self.blocks = stack_blocks(
            lambda rngs: TransformerBlock(options, max_length=n_tokens, causal=False, rngs=rngs), depth, rngs
        )
        self.norm = make_norm(options.norm, options.width, rngs)
        self.output = nnx.Linear(options.width, inputs.n_outputs, rngs=rngs)
        self.rate = options.dropout
        self.remat = options.remat
        self.drop = options.drop

    def __call__(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch outputs"]:
        """Map ``batch["dense"]``, float32 ``[batch, d]``, and ``batch["categorical"]`` to logits."""
        x = self.fields(batch["categorical"]).astype(self.output.kernel.dtype)
        if self.tokens is not None:
            x = jnp.concatenate([self.tokens(batch["dense"].astype(x.dtype)), x], axis=1)
        x = dropout(x, self.rate, None if rng is None else rng.named("embedding"))
        hidden = apply_blocks(self.blocks, x, rng, remat=self.remat, drop=self.drop, progress=batch.progress)
        return self.output(self.norm(hidden).mean(axis=1))

    def axes(self) -> dict[str, Any]:
        """Name the axes of the parameters."""
        stream, classes = Axis(STREAM, self.output.in_features), Axis(CLASSES, self.output.out_features)
        fields: dict[str, Any] = {}
        if self.fields.n_fields:
            codes, width = self.fields.embedding.shape
            fields["fields"] = {"embedding": (Axis(CODES, codes), Axis(STREAM, width))}
        return {
            **fields,
            **({} if self.tokens is None else {"tokens": self.tokens.axes()}),
            "blocks": stack_axes(self.blocks),
            "norm": norm_axes(self.norm, STREAM),
            "output": linear_axes(stream, classes),
        }


class FeatureTokens(nnx.Module):
    """One vector a feature: ``x_j w_j + b_j``.

    Args:
        n_features: Numbers that a row has.
        width: Size of a vector.
        rngs: Random streams for the initial values.
    """

    def __init__(self, n_features: int, width: int, *, rngs: nnx.Rngs) -> None:
        def table() -> nnx.Param[Array]:
            return nnx.Param(width**-0.5 * jax.random.normal(rngs.params(), (n_features, width)))

        self.weight, self.bias = table(), table()

    def __call__(self, x: Float[Array, "batch features"]) -> Float[Array, "batch features width"]:
        """Give the tokens of rows."""
        return x[:, :, None] * self.weight[...][None] + jnp.broadcast_to(
            self.bias[...][None], (len(x), *self.bias.shape)
        )

    def axes(self) -> dict[str, Any]:
        """Name the axes of the parameters."""
        n, width = self.weight.shape
        axes = Axis(FEATURES, n), Axis(STREAM, width)
        return {"weight": axes, "bias": axes}
