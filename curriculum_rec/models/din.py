"""Deep interest network (device): what a user did before counts by how it relates to the item in question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from curriculum_rec.data.features.schema import dense_width
from curriculum_rec.data.inputs import Columns
from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.fields import FieldVectors, known_mean
from curriculum_rec.models.row_stack import RowStack, RowStackOptions
from curriculum_rec.ranges import at_least, check_ranges


@dataclass(frozen=True)
class DIN(RowStackOptions):
    """Options of the deep interest network; those not named here are every row stack's.

    Each history (``features/feature=history``) enters as the sum of its items' vectors, each times a weight that a
    small network computes from that vector and the vector of the row's own item.

    Parameters: ``codes embedding_width``, a history having the codes of its item; for every history
    ``(4 embedding_width + 1) a + a + (a + 1)`` with ``a = attention_width``; those of the stack over
    ``d + fields embedding_width`` inputs (:class:`~curriculum_rec.models.row_stack.RowStackOptions`), and
    ``(width + 1) outputs``.

    Args:
        attention_width: Hidden units of the network that weighs an item of a history, at least 1.

    Source: Zhou et al. (2018), equation 3 and figure 2, without a softmax over the weights, as they say. Deviations:
    residual blocks instead of plain layers, the parametric rectifier instead of Dice, whose statistics are a batch's.
    """

    ONE_WIDTH: ClassVar[str] = "compares items of a history with the row's own by products of their vectors"

    attention_width: int = 36

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "model", {"attention_width": at_least(1)})

    def __call__(self, *, inputs: Columns, depth: int | None, rngs: nnx.Rngs) -> DINModel:
        """Build the model.

        Raises:
            OptionError: No feature is a history.
        """
        if not any(field.kind == "history" for field in inputs.schema):
            raise OptionError(
                "model=din weighs what a user did before, and no feature says it: add one by "
                "+features/feature@features.interaction.features.NAME=history, which needs columns of users, items "
                "and times"
            )
        return DINModel(self, inputs, depth=self.depth if depth is None else depth, rngs=rngs)


class DINModel(RowStack):
    """See :class:`DIN`."""

    BELOW_BLOCKS: ClassVar[tuple[str, ...]] = ("fields", "attention_*", "project")

    def __init__(self, options: DIN, inputs: Columns, *, depth: int, rngs: nnx.Rngs) -> None:
        width = options.one_width()
        kinds = [field.kind for field in inputs.schema if field.kind != "dense"]
        self.units = tuple(f"attention_{place}" if kind == "history" else None for place, kind in enumerate(kinds))
        for name in filter(None, self.units):
            setattr(self, name, ActivationUnit(width, options.attention_width, rngs=rngs))
        self.fields = FieldVectors(inputs.schema, width, scale=0.05, rngs=rngs)
        n_inputs = dense_width(inputs.schema) + self.fields.n_fields * width
        super().__init__(options, n_inputs, depth=depth, rngs=rngs)
        self.out = nnx.Linear(options.width, inputs.n_outputs, rngs=rngs)

    def __call__(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch outputs"]:
        """Give the logits of every row."""
        dtype = self.project.kernel.dtype
        inputs, item = [batch["dense"].astype(dtype)], None
        for name, (found, known) in zip(self.units, self.fields.parts(batch["categorical"]), strict=True):
            vectors = found.astype(dtype)
            if name is None:
                item = vectors[:, 0]
                inputs.append(item if vectors.shape[1] == 1 else known_mean(vectors, known)[:, 0])
            else:
                inputs.append(getattr(self, name)(item, vectors, known))
        return self.out(self.deep(jnp.concatenate(inputs, axis=1), rng, progress=batch.progress))


class ActivationUnit(nnx.Module):
    """``sum_j w(h_j, v) h_j``, where ``w = W2 prelu(W1 [h, v, h - v, h * v] + b1) + b2``, over the known ``h_j``.

    Args:
        width: Size of the vectors.
        hidden: Hidden units of ``w``.
        rngs: Random streams for the initial values.
    """

    def __init__(self, width: int, hidden: int, *, rngs: nnx.Rngs) -> None:
        self.hidden = nnx.Linear(4 * width, hidden, rngs=rngs)
        self.slope = nnx.Param(jnp.full(hidden, 0.25, jnp.float32))  # weakly typed, it would be compiled twice
        self.weight = nnx.Linear(hidden, 1, rngs=rngs)

    def __call__(
        self,
        item: Float[Array, "batch width"],
        history: Float[Array, "batch length width"],
        known: Bool[Array, "batch length"],
    ) -> Float[Array, "batch width"]:
        """Add the vectors of a history up, each with its weight for the item."""
        own = jnp.broadcast_to(item[:, None, :], history.shape)
        both = jnp.concatenate([history, own, history - own, history * own], axis=2)
        hidden = self.hidden(both)
        slope = self.slope[...].astype(hidden.dtype)[None, None, :]
        hidden = jnp.where(hidden > 0, hidden, slope * hidden)
        weight = self.weight(hidden) * known[:, :, None].astype(hidden.dtype)
        return (weight * history).sum(axis=1)
