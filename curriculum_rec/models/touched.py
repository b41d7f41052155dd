"""Tables of which a step looks few rows up (device): the rows are differentiated in place of the table.

The gradient of a table of a million rows is a million rows, nearly all of them 0. A :class:`TouchedTable` stands in
for the table while a loss is computed. It adds zeros to every row that is looked up and notes which one it was; the
gradient for these zeros is that of the rows, and costs what the lookups cost, however long the table is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int32

from curriculum_rec.errors import OptionError
from curriculum_rec.models.structure import join_model, split_model

WHOLE = (
    "optimizer: it updates the rows that a step looks up, and this objective or model takes the whole item table, of "
    "which every row is touched; take an objective with sampled negatives, or optimizer=adamw"
)


@dataclass(frozen=True)
class TouchedTable:
    """A table that can be indexed by rows and by nothing else.

    Attributes:
        values: ``[rows, width]``, constants of the gradient.
        slots: What is added to the rows of each lookup, in the order of lookups; None while only the lookups are
            counted.
        looked_up: The rows of every lookup so far; None where they are not noted, as no gradient is asked.
        dtype: What rows are given in.
    """

    values: Array
    slots: Sequence[Array] | None = None
    looked_up: list[Array] | None = field(default_factory=list)
    dtype: Any = jnp.float32

    def __getitem__(self, items: Any) -> Any:
        """Look rows up; ``...`` gives the table itself, as it does of a parameter."""
        if items is Ellipsis:
            return self
        if not isinstance(items, jax.Array) or not jnp.issubdtype(items.dtype, jnp.integer):
            self._refuse()
        rows = jax.lax.stop_gradient(self.values)[items].astype(self.dtype)
        if self.looked_up is None:
            return rows
        if self.slots is not None:
            rows += self.slots[len(self.looked_up)].astype(self.dtype)
        self.looked_up.append(items)
        return rows

    def astype(self, dtype: Any) -> TouchedTable:
        """Give rows in another type; the table itself is not converted."""
        return replace(self, dtype=dtype)

    def without_gradient(self) -> TouchedTable:
        """Give the table for lookups of which nothing is noted."""
        return replace(self, slots=None, looked_up=None)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the table."""
        return self.values.shape

    @property
    def ndim(self) -> int:
        """Number of its axes."""
        return self.values.ndim

    def __jax_array__(self) -> NoReturn:
        self._refuse()

    def __len__(self) -> int:
        return self._refuse()

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise OptionError(WHOLE)


def whole_table(table: Any) -> Array:
    """Give all rows of a table.

    Raises:
        OptionError: Only rows that are looked up can be differentiated.
    """
    if isinstance(table, TouchedTable):
        raise OptionError(WHOLE)
    return table


def rows_of(table: Any, rows: Int32[Array, "*shape"]) -> Float[Array, "*shape width"]:
    """Look rows of a table up.

    The gradients of a row that is looked up often are added up in float32, whatever the table's type: in bfloat16 a sum
    stands still once a summand is below 1/256 of it.

    Args:
        table: ``[n, width]``, of any type, or a :class:`TouchedTable`, which adds up as its step does.
        rows: Which.
    """
    if isinstance(table, TouchedTable) or table.dtype == jnp.float32:
        return table[rows]
    return table.astype(jnp.float32)[rows].astype(table.dtype)


def without_gradient(model: Any) -> Any:
    """Give a model whose touched tables note nothing, for what is computed without a gradient, such as in a loop."""
    if not isinstance(model, nnx.Module):
        return model
    structure, params = split_model(model)
    leaves, tree = jax.tree.flatten(params)
    if not any(isinstance(leaf, TouchedTable) for leaf in leaves):
        return model
    silent = [leaf.without_gradient() if isinstance(leaf, TouchedTable) else leaf for leaf in leaves]
    return join_model(structure, jax.tree.unflatten(tree, silent))
