"""DeepFM (device): a factorisation machine and a stack of residual blocks over the same vectors of features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from curriculum_rec.data.inputs import Columns
from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.classifiers import LogisticRegressionModel
from curriculum_rec.models.fields import FeatureVectors
from curriculum_rec.models.row_stack import RowStack, RowStackOptions


@dataclass(frozen=True)
class DeepFM(RowStackOptions):
    """Options of DeepFM; they are every row stack's. The logit is a linear model's, a product's and the stack's.

    A number is a feature of its own, whose vector is the number times a learnt one; a multi-valued feature has the mean
    of the vectors of its values.

    Parameters: ``d + codes + 1`` of the linear model, ``(d + codes) embedding_width``, those of the stack over
    ``(d + fields) embedding_width`` inputs (:class:`~curriculum_rec.models.row_stack.RowStackOptions`), and ``width``.

    Source: Guo et al. (2017), equations 1 to 4. Deviation: residual blocks instead of plain layers.
    """

    ONE_WIDTH: ClassVar[str] = "multiplies the vectors of features with each other"

    def __call__(self, *, inputs: Columns, depth: int | None, rngs: nnx.Rngs) -> DeepFMModel:
        """Build the model.

        Raises:
            OptionError: The label is neither one of two classes nor a number.
        """
        if inputs.n_outputs != 1:
            raise OptionError(
                f"model=deepfm gives one logit, for two classes or a number, and the label has {inputs.n_classes} "
                "classes: take wide_deep or dcn_v2, or make two of them by examples.positive_from"
            )
        return DeepFMModel(self, inputs, depth=self.depth if depth is None else depth, rngs=rngs)


class DeepFMModel(RowStack):
    """See :class:`DeepFM`."""

    def __init__(self, options: DeepFM, inputs: Columns, *, depth: int, rngs: nnx.Rngs) -> None:
        self.linear = LogisticRegressionModel(inputs, rngs=rngs)
        self.features = FeatureVectors(inputs.schema, options.one_width(), rngs=rngs)
        super().__init__(options, self.features.n_features * options.one_width(), depth=depth, rngs=rngs)
        self.out = nnx.Linear(options.width, 1, use_bias=False, rngs=rngs)

    def __call__(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch outputs"]:
        """Give the logit of every row."""
        vectors = self.features(batch)
        deep = self.out(self.deep(vectors.reshape(len(vectors), -1), rng, progress=batch.progress))
        pairs = products_of_pairs(vectors.astype(jnp.float32)).sum(axis=1, keepdims=True)
        return self.linear(batch) + pairs.astype(deep.dtype) + deep


def products_of_pairs(vectors: Float[Array, "batch features width"]) -> Float[Array, "batch width"]:
    """``sum_{i < j} v_i * v_j``, entry by entry, in linear time: ``((sum v)^2 - sum v^2) / 2``.

    Source: Rendle (2010), Factorization Machines, lemma 3.1.

    >>> products_of_pairs(jnp.array([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])).tolist()
    [[23.0, 44.0]]
    """
    return (vectors.sum(axis=1) ** 2 - (vectors**2).sum(axis=1)) / 2
