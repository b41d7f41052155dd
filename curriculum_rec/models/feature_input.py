"""All features of a row side by side (device), with one table of vectors, or one of its own width for every field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int32

from curriculum_rec.data.features.schema import Schema, dense_width
from curriculum_rec.errors import OptionError
from curriculum_rec.models.axes import CODES, EMBEDDING, FEATURES, FIELDS, Axis, Joined, Product
from curriculum_rec.models.batch import Batch
from curriculum_rec.models.fields import FieldVectors
from curriculum_rec.ranges import at_least, check_value

Widths = int | Mapping[str, int]
"""Sizes of the vectors of codes: one for all fields, or that of each field by its name."""


def check_widths(widths: Widths) -> None:
    """Check the option ``embedding_width`` of a model.

    Raises:
        OptionError: A width is below 1.
    """
    for option, width in ({"": widths} if isinstance(widths, int) else {f".{n}": w for n, w in widths.items()}).items():
        check_value(f"model.embedding_width{option}", width, at_least(1))


def tables_of(schema: Schema) -> tuple[Schema, ...]:
    """Divide features with codes into those that share a table: a field, and the histories after it.

    >>> from curriculum_rec.data.features.schema import Field
    >>> item, seen = Field("item", "categorical", 9, 1), Field("seen", "history", 9, 4)
    >>> [[field.name for field in table] for table in tables_of((Field("job", "categorical", 5, 1), item, seen))]
    [['job'], ['item', 'seen']]
    """
    tables: list[Schema] = []
    for field in schema:
        if field.kind == "history":
            tables[-1] = (*tables[-1], field)
        elif field.kind != "dense":
            tables.append((field,))
    return tuple(tables)


def widths_by_name(schema: Schema, widths: Mapping[str, int]) -> dict[str, int]:
    """Give every field its width.

    Args:
        schema: All features.
        widths: By the fields' names, or by the last parts of these where no other field has that.

    Raises:
        OptionError: A name is no field's, or a field has no width.

    >>> from curriculum_rec.data.features.schema import Field
    >>> widths_by_name((Field("user.job", "categorical", 9, 1),), {"job": 2})
    {'user.job': 2}
    """
    names = [table[0].name for table in tables_of(schema)]
    there = ", ".join(names) or "none"
    found: dict[str, int] = {}
    for given, width in widths.items():
        meant = [name for name in names if name == given] or [n for n in names if n.rpartition(".")[2] == given]
        if len(meant) != 1 or meant[0] in found:
            raise OptionError(
                f"model.embedding_width.{given} must name one field with a table of its own, once; there are: {there}"
            )
        found[meant[0]] = width
    if missing := [name for name in names if name not in found]:
        raise OptionError(
            f"model.embedding_width has no width for {', '.join(missing)}: name every field, or give one number for all"
        )
    return {name: found[name] for name in names}


@dataclass(frozen=True)
class FieldTable:
    """Where the vectors of one field stand in a :class:`FeatureInput` with a table a field.

    Attributes:
        name: The field's.
        path: Names on the way to the parameter ``[codes, width]``.
        width: Size of a vector.
        columns: The columns of codes that are looked up in it, from the first to before the second.
        has_unknown: Whether code 0 of each of them is looked up as well; elsewhere it fills up.
    """

    name: str
    path: tuple[str, ...]
    width: int
    columns: tuple[int, int]
    has_unknown: tuple[bool, ...]


class FieldTables(nnx.Module):
    """A table of its own for every field; vectors of the widths that each has stand side by side.

    Parameters: of every field its size times its width; a history has the vectors of its item.

    Args:
        schema: The features.
        widths: Of every field, by its name.
        scale: Standard deviation of the initial values.
        rngs: Random streams for these.
    """

    def __init__(self, schema: Schema, widths: Mapping[str, int], *, scale: float, rngs: nnx.Rngs) -> None:
        tables = tables_of(schema)
        ends = accumulate((sum(field.length for field in table) for table in tables), initial=0)
        self.columns = tuple(pairwise(ends))
        self.names = tuple(table[0].name for table in tables)
        self.attributes = tuple(f"field_{number}" for number in range(len(tables)))
        for attribute, table in zip(self.attributes, tables, strict=True):
            setattr(self, attribute, FieldVectors(table, widths[table[0].name], scale=scale, rngs=rngs))

    def __call__(self, codes: Int32[Array, "batch columns"]) -> Float[Array, "batch width"]:
        """Give the vectors of all features of each row, one after the other."""
        if not self.names:
            return jnp.zeros((len(codes), 0))
        parts = [
            table(codes[:, begin:end]).reshape(len(codes), -1)
            for table, (begin, end) in zip(self.each(), self.columns, strict=True)
        ]
        return jnp.concatenate(parts, axis=1)

    def each(self) -> list[FieldVectors]:
        """Give the tables, in order."""
        return [getattr(self, attribute) for attribute in self.attributes]

    def axes(self) -> dict[str, Any]:
        """Name the axes of the tables."""
        named = zip(self.attributes, self.names, self.each(), strict=True)
        return {
            attribute: table.axes(codes=f"{CODES} {name}", units=f"{EMBEDDING} {name}")
            for attribute, name, table in named
        }


class FeatureInput(nnx.Module):
    """All features of a row as one vector: the numbers, then the vectors of codes.

    Parameters: with one width for all fields, it times the sizes of them all; else those of :class:`FieldTables`.

    Args:
        schema: The features.
        widths: Sizes of the vectors of codes.
        rngs: Random streams for the initial values.
    """

    def __init__(self, schema: Schema, widths: Widths, *, rngs: nnx.Rngs) -> None:
        self.n_dense = dense_width(schema)
        self.names = tuple(table[0].name for table in tables_of(schema))
        self.vectors: FieldVectors | FieldTables
        if isinstance(widths, int):
            self.vectors = FieldVectors(schema, widths, scale=0.05, rngs=rngs)
        else:
            self.vectors = FieldTables(schema, widths_by_name(schema, widths), scale=0.05, rngs=rngs)
        self.width = self.units().size

    def __call__(self, batch: Batch) -> Float[Array, "batch width"]:
        """Put the features of each row side by side."""
        vectors = self.vectors(batch["categorical"])
        return jnp.concatenate([batch["dense"].astype(vectors.dtype), vectors.reshape(len(vectors), -1)], axis=1)

    @property
    def widths(self) -> dict[str, int]:
        """The width of every field's vectors, by its name."""
        if isinstance(self.vectors, FieldVectors):
            return dict.fromkeys(self.names, self.vectors.width)
        return dict(zip(self.names, (table.width for table in self.vectors.each()), strict=True))

    def tables(self) -> tuple[FieldTable, ...]:
        """Say where each field's vectors stand; there is nothing to say where all stand in one table."""
        if isinstance(self.vectors, FieldVectors):
            return ()
        return tuple(
            FieldTable(name, ("vectors", attribute, "embedding"), table.width, columns, _has_unknown(table))
            for name, attribute, table, columns in zip(
                self.names, self.vectors.attributes, self.vectors.each(), self.vectors.columns, strict=True
            )
        )

    def units(self) -> Joined:
        """Say which units a row's vector has, one after the other."""
        numbers = (Axis(FEATURES, self.n_dense),) if self.n_dense else ()
        if not isinstance(self.vectors, FieldVectors):
            fields = zip(self.names, self.vectors.each(), strict=True)
            own = [Axis(f"{EMBEDDING} {name}", table.width) for name, table in fields for _ in table.lengths]
            return Joined((*numbers, *own))
        n, width = self.vectors.n_fields, self.vectors.width
        return Joined((*numbers, *((Product((Axis(FIELDS, n), Axis(EMBEDDING, width))),) if n else ())))

    def axes(self) -> dict[str, Any]:
        """Name the axes of the tables."""
        return {"vectors": self.vectors.axes()}


def _has_unknown(table: FieldVectors) -> tuple[bool, ...]:
    pairs = zip(table.is_single, table.lengths, strict=True)
    return tuple(is_single for is_single, length in pairs for _ in range(length))
