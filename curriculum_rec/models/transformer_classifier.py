"""A Transformer over the features of a row (device): each number is a token, and their mean says the class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from curriculum_rec.errors import OptionError
from curriculum_rec.models.axes import CLASSES, FEATURES, STREAM, Axis, linear_axes
from curriculum_rec.models.batch import Batch, BatchRng, dropout
from curriculum_rec.models.blocks import apply_blocks, stack_axes, stack_blocks
from curriculum_rec.models.norms import make_norm, norm_axes
from curriculum_rec.models.transformer import TransformerBlock, TransformerOptions
from curriculum_rec.ranges import at_least, check_value


@dataclass(frozen=True)
class TransformerClassifier(TransformerOptions):
    """Options of the classifier; they are every Transformer's. A row has no order, so its positions are its features.

    Parameters: ``2 n_features width`` for the tokens, ``2 width`` for the last layer norm (``width`` for an RMS norm),
    ``(width + 1) n_outputs``, and ``depth`` times those of a block (:class:`TransformerOptions`).

    Source: tokens as in the FT-Transformer (Gorishniy et al., 2021), equation 1; the mean of the tokens instead of its
    extra one, pre-norm blocks and a learnt gate on each residual branch are ours.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.positions != "learnt":
            raise OptionError(
                f"model.positions={self.positions}: features have no order, so there are no distances between them; "
                "leave model.positions=learnt"
            )

    def __call__(
        self, *, n_features: int, n_outputs: int, depth: int | None = None, rngs: nnx.Rngs
    ) -> TransformerClassifierModel:
        """Build the model.

        Args:
            n_features: Numbers that a row has.
            n_outputs: Numbers that the model gives: one for two classes, else one a class.
            depth: Another depth than the options' own.
            rngs: Random streams for the initial values.
        """
        check_value("n_features", n_features, at_least(1))
        check_value("n_outputs", n_outputs, at_least(1))
        depth = self.depth if depth is None else depth
        return TransformerClassifierModel(self, n_features=n_features, n_outputs=n_outputs, depth=depth, rngs=rngs)


class TransformerClassifierModel(nnx.Module):
    """The network; see :class:`TransformerClassifier` for its options."""

    def __init__(
        self, options: TransformerClassifier, *, n_features: int, n_outputs: int, depth: int, rngs: nnx.Rngs
    ) -> None:
        self.tokens = FeatureTokens(n_features, options.width, rngs=rngs)
        self.blocks = stack_blocks(
            lambda rngs: TransformerBlock(options, max_length=n_features, causal=False, rngs=rngs), depth, rngs
        )
        self.norm = make_norm(options.norm, options.width, rngs)
        self.output = nnx.Linear(options.width, n_outputs, rngs=rngs)
        self.rate = options.dropout
        self.remat = options.remat
        self.drop = options.drop

    def __call__(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch outputs"]:
        """Map ``batch["dense"]``, float32 ``[batch, n_features]``, to logits."""
        x = dropout(self.tokens(batch["dense"]), self.rate, None if rng is None else rng.named("embedding"))
        hidden = apply_blocks(self.blocks, x, rng, remat=self.remat, drop=self.drop, progress=batch.progress)
        return self.output(self.norm(hidden).mean(axis=1))

    def axes(self) -> dict[str, Any]:
        """Name the axes of the parameters."""
        stream, classes = Axis(STREAM, self.output.in_features), Axis(CLASSES, self.output.out_features)
        return {
            "tokens": self.tokens.axes(),
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
