"""Neural matrix factorisation (device): the product of a user's and an item's vector, beside blocks over both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from curriculum_rec.data.features.schema import Field, Schema, code_columns
from curriculum_rec.data.inputs import Columns
from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.fields import FieldVectors
from curriculum_rec.models.row_stack import RowStack, RowStackOptions


@dataclass(frozen=True)
class NeuMF(RowStackOptions):
    """Options of neural matrix factorisation; those not named here are every row stack's.

    It reads the codes of a user and of an item and no other feature. Product and stack have vectors of their own.

    Parameters: ``2 (users + items) embedding_width``, where ``users`` and ``items`` are the codes of the two features,
    those of the stack over ``2 embedding_width`` inputs (:class:`~curriculum_rec.models.row_stack.RowStackOptions`),
    and ``(embedding_width + width + 1) outputs``.

    Args:
        user: The categorical feature that says who; its last part is enough where no other has that.
        item: The one that says what.

    Source: He et al. (2017), equations 8 to 12. Deviations: residual blocks instead of a tower, and both parts are
    trained at once, from random values.
    """

    ONE_WIDTH: ClassVar[str] = "multiplies the vectors of user and item"

    user: str = "user"
    item: str = "item"

    def __call__(self, *, inputs: Columns, depth: int | None, rngs: nnx.Rngs) -> NeuMFModel:
        """Build the model.

        Raises:
            OptionError: There are no such features.
        """
        return NeuMFModel(self, inputs, depth=self.depth if depth is None else depth, rngs=rngs)


class NeuMFModel(RowStack):
    """See :class:`NeuMF`."""

    BELOW_BLOCKS: ClassVar[tuple[str, ...]] = ("vectors", "project")

    def __init__(self, options: NeuMF, inputs: Columns, *, depth: int, rngs: nnx.Rngs) -> None:
        pair = named_field(inputs.schema, "user", options.user), named_field(inputs.schema, "item", options.item)
        if pair[0] == pair[1]:
            raise OptionError(f"model.user and model.item are both '{pair[0].name}': name two features")
        columns = code_columns(inputs.schema)
        self.columns = tuple(columns[field.name] for field in pair)
        width = options.one_width()
        self.factors = FieldVectors(pair, width, scale=0.05, rngs=rngs)
        self.vectors = FieldVectors(pair, width, scale=0.05, rngs=rngs)
        super().__init__(options, 2 * width, depth=depth, rngs=rngs)
        self.out = nnx.Linear(width + options.width, inputs.n_outputs, rngs=rngs)

    def __call__(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch outputs"]:
        """Give the logits of every row."""
        codes = batch["categorical"][:, jnp.array(self.columns, jnp.int32)]
        vectors = self.vectors(codes)
        deep = self.deep(vectors.reshape(len(vectors), -1), rng, progress=batch.progress)
        product = self.factors(codes).prod(axis=1).astype(deep.dtype)
        return self.out(jnp.concatenate([product, deep], axis=1))


def named_field(schema: Schema, option: str, name: str) -> Field:
    """Find a categorical feature by its name or the last part of it.

    Args:
        schema: All features.
        option: Who asks, for the sentence.
        name: The name.

    Raises:
        OptionError: There is none, or there are several.

    >>> named_field((Field("interaction.ids.user", "categorical", 9, 1),), "user", "user").size
    9
    """
    single = [field for field in schema if field.kind == "categorical"]
    found = [field for field in single if field.name == name] or [
        field for field in single if field.name.rpartition(".")[2] == name
    ]
    if len(found) != 1:
        there = ", ".join(field.name for field in single) or "none"
        raise OptionError(f"model.{option}={name} must name one categorical feature; there are: {there}")
    return found[0]
