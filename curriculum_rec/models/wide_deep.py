"""Wide and deep (device): a linear model, with products of features if wanted, beside a stack of residual blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int32

from curriculum_rec.data.features.schema import Schema, code_columns
from curriculum_rec.data.inputs import Columns
from curriculum_rec.errors import OptionError
from curriculum_rec.models.axes import CLASSES, CROSSES, STREAM, Axis, consumed
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.classifiers import LogisticRegressionModel
from curriculum_rec.models.feature_input import FeatureInput
from curriculum_rec.models.row_stack import RowStack, RowStackOptions
from curriculum_rec.models.touched import rows_of
from curriculum_rec.ranges import at_least, check_ranges


@dataclass(frozen=True)
class WideDeep(RowStackOptions):
    """Options of a wide and a deep part whose logits are added; those not named here are every row stack's.

    Parameters: ``(d + codes + 1) outputs`` of the linear model, ``outputs`` times the sum of the sizes of the crosses'
    tables, ``codes embedding_width``, those of the stack over ``d + fields embedding_width`` inputs
    (:class:`~curriculum_rec.models.row_stack.RowStackOptions`), and ``width outputs``.

    Args:
        crosses: Products of categorical features for the wide part, each a list of their names: a weight for every
            combination of their values.
        cross_buckets: Most weights of a cross; combinations beyond them share weights, by a hash.

    Source: Cheng et al. (2016). Deviations: residual blocks instead of plain layers, and one optimizer for both parts.
    """

    crosses: tuple[tuple[str, ...], ...] = ()
    cross_buckets: int = 16384

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "model", {"cross_buckets": at_least(1)})

    def __call__(self, *, inputs: Columns, depth: int | None, rngs: nnx.Rngs) -> WideDeepModel:
        """Build the model.

        Raises:
            OptionError: A cross names something else than categorical features.
        """
        return WideDeepModel(self, inputs, depth=self.depth if depth is None else depth, rngs=rngs)


class WideDeepModel(RowStack):
    """See :class:`WideDeep`."""

    BELOW_BLOCKS: ClassVar[tuple[str, ...]] = ("fields", "project")

    def __init__(self, options: WideDeep, inputs: Columns, *, depth: int, rngs: nnx.Rngs) -> None:
        self.wide = LogisticRegressionModel(inputs, rngs=rngs)
        self.crosses = CrossedCodes(options, inputs) if options.crosses else None
        self.fields = FeatureInput(inputs.schema, options.embedding_width, rngs=rngs)
        super().__init__(options, self.fields.width, depth=depth, rngs=rngs)
        self.out = nnx.Linear(options.width, inputs.n_outputs, use_bias=False, rngs=rngs)

    def __call__(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch outputs"]:
        """Give the logits of every row."""
        logits = self.wide(batch) + self.out(self.deep(self.fields(batch), rng, progress=batch.progress))
        return logits if self.crosses is None else logits + self.crosses(batch["categorical"]).astype(logits.dtype)

    def axes(self) -> dict[str, Any]:
        """Name the axes of the parameters."""
        stream, classes = Axis(STREAM, self.out.in_features), Axis(CLASSES, self.out.out_features)
        return {
            "wide": self.wide.axes(),
            **({} if self.crosses is None else {"crosses": self.crosses.axes()}),
            "fields": self.fields.axes(),
            **self.stack_axes(self.fields.units()),
            "out": {"kernel": (consumed(stream), classes)},
        }


class CrossedCodes(nnx.Module):
    """A weight for every combination of values of some features, which begin at 0; one that is unknown has none.

    Args:
        options: Those of the model.
        inputs: The features and the outputs.
    """

    def __init__(self, options: WideDeep, inputs: Columns) -> None:
        crosses = [_columns_and_sizes(inputs.schema, names) for names in options.crosses]
        self.columns = tuple(columns for columns, _ in crosses)
        self.factors = tuple(sizes for _, sizes in crosses)
        self.sizes = tuple(min(math.prod(sizes), options.cross_buckets) for sizes in self.factors)
        self.embedding = nnx.Param(jnp.zeros((sum(self.sizes), inputs.n_outputs)))

    def __call__(self, codes: Int32[Array, "batch columns"]) -> Float[Array, "batch outputs"]:
        """Add the weights up that each row has."""
        rows, known, begin = [], [], 0
        for columns, factors, size in zip(self.columns, self.factors, self.sizes, strict=True):
            own = codes[:, jnp.array(columns, jnp.int32)]
            rows.append(begin + combination(own, factors, size))
            known.append((own > 0).all(axis=1))
            begin += size
        weights = rows_of(self.embedding[...], jnp.stack(rows, axis=1))
        return (weights * jnp.stack(known, axis=1)[:, :, None].astype(weights.dtype)).sum(axis=1)

    def axes(self) -> dict[str, Any]:
        """Name the axes of the table."""
        n, n_outputs = self.embedding.shape
        return {"embedding": (Axis(CROSSES, n), Axis(CLASSES, n_outputs))}


def combination(codes: Int32[Array, "batch features"], sizes: tuple[int, ...], buckets: int) -> Int32[Array, " batch"]:
    """Number the combinations of codes; where there are more than ``buckets`` they share numbers, by a hash.

    Args:
        codes: Those of each row.
        sizes: How many codes each feature has.
        buckets: How many numbers there are.

    >>> combination(jnp.array([[1, 2], [0, 3]], jnp.int32), (2, 4), 8).tolist()
    [6, 3]
    """
    number = jnp.zeros(len(codes), jnp.uint32)
    for column, size in enumerate(sizes):
        number = number * jnp.uint32(size) + codes[:, column].astype(jnp.uint32)
    if math.prod(sizes) > buckets:
        number = number * jnp.uint32(0x9E3779B9)
        number = (number ^ (number >> 16)) % jnp.uint32(buckets)
    return number.astype(jnp.int32)


def _columns_and_sizes(schema: Schema, names: tuple[str, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    columns = code_columns(schema)
    sizes = {field.name: field.size for field in schema if field.kind == "categorical"}
    if len(names) < 2 or len(set(names)) < len(names) or any(name not in sizes for name in names):
        raise OptionError(
            f"model.crosses: [{', '.join(names)}] must be at least two different categorical features; there are: "
            f"{', '.join(sizes) or 'none'}"
        )
    return tuple(columns[name] for name in names), tuple(sizes[name] for name in names)
