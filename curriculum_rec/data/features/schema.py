"""What features look like once they are numbers (host): the one thing that a model must know of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["dense", "categorical", "multi_categorical", "history"]
"""Numbers, one code, several codes filled up with 0, or codes of earlier rows, newest first and filled up with 0.

The codes of a history are those of the categorical field before it, and so are the vectors that models give them."""


@dataclass(frozen=True)
class Field:
    """One feature.

    Attributes:
        name: Its name, with that of its owner: ``user.age``.
        kind: What it is.
        size: Numbers of a dense feature; codes that a categorical one may have, 0 among them.
        length: Columns that it takes: its size if it is dense, 1 if categorical, the most codes that there are of it
            otherwise.
    """

    name: str
    kind: Kind
    size: int
    length: int


Schema = tuple[Field, ...]


def dense_width(schema: Sequence[Field]) -> int:
    """Add up the columns of dense features.

    >>> dense_width((Field("age", "dense", 1, 1), Field("genre", "categorical", 9, 1), Field("text", "dense", 8, 8)))
    9
    """
    return sum(field.length for field in schema if field.kind == "dense")


def code_width(schema: Sequence[Field]) -> int:
    """Add up the columns of categorical features.

    >>> code_width((Field("age", "dense", 1, 1), Field("genres", "multi_categorical", 20, 3)))
    3
    """
    return sum(field.length for field in schema if field.kind != "dense")


def code_columns(schema: Sequence[Field]) -> dict[str, int]:
    """Say in which column of codes each categorical feature begins.

    >>> code_columns((Field("genres", "multi_categorical", 20, 3), Field("job", "categorical", 9, 1)))
    {'genres': 0, 'job': 3}
    """
    columns, begin = {}, 0
    for field in schema:
        if field.kind != "dense":
            columns[field.name] = begin
            begin += field.length
    return columns
