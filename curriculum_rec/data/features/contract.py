"""What a feature is (host): options, fitted to training values, that turn columns into numbers or codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import polars as pl

from curriculum_rec.data.features.schema import Schema


@runtime_checkable
class Fitted(Protocol):
    """A feature that has seen the training values; a frozen dataclass that can be saved."""

    @property
    def fields(self) -> Schema:
        """What it makes, in the order of the columns of :meth:`transform`; all dense, or all codes."""
        ...

    def transform(self, frame: pl.DataFrame) -> np.ndarray:
        """Turn values into float32 numbers or int32 codes, ``[n, columns]``; 0 is unknown, or the mean."""
        ...


@runtime_checkable
class Feature(Protocol):
    """Options of a feature."""

    def fit(self, frame: pl.DataFrame, *, name: str) -> Fitted:
        """Take statistics of training values.

        Args:
            frame: Training rows alone.
            name: What the feature is called; also its column, where the options name none.

        Raises:
            DataError: A column is missing or holds something else.
        """
        ...


@dataclass(frozen=True)
class Several:
    """Features of one kind, column beside column.

    Attributes:
        parts: Each of them.
    """

    parts: tuple[Fitted, ...]

    @property
    def fields(self) -> Schema:
        """What they make."""
        return tuple(field for part in self.parts for field in part.fields)

    def transform(self, frame: pl.DataFrame) -> np.ndarray:
        """Turn values into numbers or codes."""
        return np.concatenate([part.transform(frame) for part in self.parts], axis=1)


def fit_each(columns: Sequence[str] | None, name: str, fit_one: Callable[[str, str], Fitted]) -> Fitted:
    """Fit a feature to each of its columns.

    Args:
        columns: Their names; None takes the feature's own.
        name: The feature's.
        fit_one: Takes a column and what the feature of it is called.
    """
    if columns is None or len(columns) == 1:
        return fit_one(columns[0] if columns else name, name)
    return Several(tuple(fit_one(column, f"{name}.{column}") for column in columns))
