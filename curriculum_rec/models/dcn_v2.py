"""DCN-V2 (device): cross layers, each of which multiplies the input in once more, and a stack of residual blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from curriculum_rec.data.inputs import Columns
from curriculum_rec.errors import OptionError
from curriculum_rec.models.axes import CLASSES, RANK, STREAM, Axis, Joined, LeafAxis, consumed, linear_axes
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.feature_input import FeatureInput
from curriculum_rec.models.row_stack import RowStack, RowStackOptions
from curriculum_rec.ranges import at_least, check_ranges, one_of

Structure = Literal["stacked", "parallel"]
"""Whether the blocks come after the cross layers, or both begin with the features and end side by side."""


@dataclass(frozen=True)
class DCNv2(RowStackOptions):
    """Options of DCN-V2; those not named here are every row stack's.

    Parameters: with ``n = d + fields embedding_width`` inputs ``codes embedding_width``, ``cross_layers (n^2 + n)``, or
    with a rank ``cross_layers (2 n rank + n)``, those of the stack over ``n`` inputs
    (:class:`~curriculum_rec.models.row_stack.RowStackOptions`), and ``(width + 1) outputs``, which are
    ``(n + width + 1) outputs`` if ``parallel``.

    Args:
        cross_layers: Number of cross layers, at least 1; ``l`` of them make products of up to ``l + 1`` features.
        rank: None gives each cross layer a full matrix; a number below ``n`` a product ``U V`` of that rank.
        structure: ``stacked`` or ``parallel``.

    Source: Wang et al. (2021), equations 1 to 3 and figure 1. Deviations: residual blocks instead of plain layers, and
    one product of low rank instead of a gated mixture of several.
    """

    cross_layers: int = 2
    rank: int | None = None
    structure: Structure = "stacked"

    def __post_init__(self) -> None:
        super().__post_init__()
        ranges = {
            "cross_layers": at_least(1),
            "rank": at_least(1).or_null(),
            "structure": one_of(*get_args(Structure)),
        }
        check_ranges(self, "model", ranges)

    def __call__(self, *, inputs: Columns, depth: int | None, rngs: nnx.Rngs) -> DCNv2Model:
        """Build the model.

        Raises:
            OptionError: The rank is not below that of a full matrix.
        """
        build = StackedDCNv2Model if self.structure == "stacked" else ParallelDCNv2Model
        return build(self, inputs, depth=self.depth if depth is None else depth, rngs=rngs)


class DCNv2Model(RowStack):
    """See :class:`DCNv2`.

    Args:
        options: The model's.
        inputs: The features and the outputs.
        depth: Number of blocks.
        is_parallel: Whether what the cross layers make goes to the output.
        rngs: Random streams for the initial values.
    """

    def __init__(
        self, options: DCNv2, inputs: Columns, *, depth: int, is_parallel: bool = False, rngs: nnx.Rngs
    ) -> None:
        self.fields = FeatureInput(inputs.schema, options.embedding_width, rngs=rngs)
        n = self.fields.width
        if options.rank is not None and options.rank >= n:
            raise OptionError(
                f"model.rank={options.rank}: the {n} inputs have a matrix of rank {n} at most: choose fewer, or null "
                "for a full matrix"
            )
        self.crosses = tuple(f"cross_{number}" for number in range(options.cross_layers))
        for name in self.crosses:
            setattr(self, name, CrossLayer(n, options.rank, rngs=rngs))
        super().__init__(options, n, depth=depth, rngs=rngs)
        self.out = nnx.Linear(options.width + n * is_parallel, inputs.n_outputs, rngs=rngs)

    def inputs_and_crossed(self, batch: Batch) -> tuple[Float[Array, "batch n"], Float[Array, "batch n"]]:
        """Give the features of every row, and what the cross layers make of them."""
        inputs = self.fields(batch).astype(self.project.kernel.dtype)
        crossed = inputs
        for name in self.crosses:
            crossed = getattr(self, name)(inputs, crossed)
        return inputs, crossed

    def axes(self) -> dict[str, Any]:
        """Name the axes of the parameters; the cross layers multiply units by themselves, so that these stay the same.

        In parallel, what the cross layers make stands before the stream where the output takes both up.
        """
        units, stream = self.fields.units(), Axis(STREAM, self.project.out_features)
        is_parallel = self.out.in_features > stream.size
        last = Joined((*units.parts, stream)) if is_parallel else stream
        return {
            "fields": self.fields.axes(),
            **{name: getattr(self, name).axes(units) for name in self.crosses},
            **self.stack_axes(units),
            "out": linear_axes(last, Axis(CLASSES, self.out.out_features)),
        }


class StackedDCNv2Model(DCNv2Model):
    """The blocks come after the cross layers."""

    BELOW_BLOCKS: ClassVar[tuple[str, ...]] = ("fields", "cross_*", "project")

    def __call__(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch outputs"]:
        """Give the logits of every row."""
        _, crossed = self.inputs_and_crossed(batch)
        return self.out(self.deep(crossed, rng, progress=batch.progress))


class ParallelDCNv2Model(DCNv2Model):
    """The blocks stand beside the cross layers."""

    def __init__(self, options: DCNv2, inputs: Columns, *, depth: int, rngs: nnx.Rngs) -> None:
        super().__init__(options, inputs, depth=depth, is_parallel=True, rngs=rngs)

    def __call__(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch outputs"]:
        """Give the logits of every row."""
        inputs, crossed = self.inputs_and_crossed(batch)
        return self.out(jnp.concatenate([crossed, self.deep(inputs, rng, progress=batch.progress)], axis=1))


class CrossLayer(nnx.Module):
    """``x0 * (W x + b) + x``, entry by entry, where ``W`` may be a product ``U V`` of low rank.

    Args:
        n: Size of ``x0`` and ``x``.
        rank: That of the product; None for a full matrix.
        rngs: Random streams for the initial values.
    """

    def __init__(self, n: int, rank: int | None, *, rngs: nnx.Rngs) -> None:
        self.reduce = None if rank is None else nnx.Linear(n, rank, use_bias=False, rngs=rngs)
        self.linear = nnx.Linear(n if rank is None else rank, n, rngs=rngs)

    def __call__(self, inputs: Float[Array, "batch n"], x: Float[Array, "batch n"]) -> Float[Array, "batch n"]:
        """Multiply the inputs in once more."""
        reduced = x if self.reduce is None else self.reduce(x)
        return inputs * self.linear(reduced) + x

    def axes(self, units: LeafAxis) -> dict[str, Any]:
        """Name the axes of the parameters.

        Args:
            units: Those of ``x0`` and ``x``.
        """
        if self.reduce is None:
            return {"linear": linear_axes(units, units)}
        rank = Axis(RANK, self.reduce.out_features)
        return {"reduce": {"kernel": (consumed(units), rank)}, "linear": linear_axes(rank, units)}
