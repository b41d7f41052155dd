"""Numbers on a common scale (host), by statistics of the training part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import polars as pl

from curriculum_rec.data.features.contract import Fitted, fit_each
from curriculum_rec.data.features.schema import Field, Schema
from curriculum_rec.data.values import column_of, numbers_of
from curriculum_rec.errors import DataError
from curriculum_rec.ranges import at_least, check_ranges, one_of

Scale = Literal["standard", "min_max", "quantile", "log", "none"]


@dataclass(frozen=True)
class Numeric:
    """Numbers, or vectors of them, scaled. A missing number counts as the training mean.

    Args:
        columns: The columns, each scaled by itself; None takes that of the feature's name.
        scale: ``standard`` to mean 0 and standard deviation 1, ``min_max`` from 0 to 1 over the training values,
            ``quantile`` to the share of training values below, ``log`` to ``sign(x) log(1 + |x|)`` and then as
            ``standard``, ``none`` as they are.
        indicator: Whether a number of its own says 1 where a value is missing.
        n_quantiles: Quantiles that ``quantile`` keeps, and interpolates between.
    """

    columns: tuple[str, ...] | None = None
    scale: Scale = "standard"
    indicator: bool = False
    n_quantiles: int = 100

    def __post_init__(self) -> None:
        check_ranges(self, "features", {"scale": one_of(*get_args(Scale)), "n_quantiles": at_least(2)})

    def fit(self, frame: pl.DataFrame, *, name: str) -> Fitted:
        """Take the statistics of the training values."""

        def fit_one(column: str, called: str) -> FittedNumeric:
            scaler = Scaler.of(matrix_of(frame, column), self.scale, self.n_quantiles)
            return FittedNumeric(called, column, scaler, self.indicator)

        return fit_each(self.columns, name, fit_one)


@dataclass(frozen=True)
class Scaler:
    """A scale for each column of a matrix.

    Attributes:
        scale: As :class:`Numeric` has it.
        fill: What stands for a missing number, before scaling, ``[d]``.
        shift: What is taken away, ``[d]``.
        divisor: What the rest is divided by, ``[d]``.
        quantiles: Ascending training quantiles ``[n_quantiles, d]``; with no rows unless they are the scale.
    """

    scale: str
    fill: np.ndarray
    shift: np.ndarray
    divisor: np.ndarray
    quantiles: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, scale: Scale, n_quantiles: int = 100) -> Scaler:
        """Take the statistics of float64 values ``[n, d]``, NaN where one is missing."""
        known = _log(values) if scale == "log" else values
        width = values.shape[1]
        zeros, empty = np.zeros(width), np.zeros((0, width))
        columns = [column[~np.isnan(column)] for column in known.T]
        columns = [column if len(column) else np.zeros(1) for column in columns]
        fill = np.array([column.mean() for column in columns]).reshape(width)
        low, high = (np.array([each(c) for c in columns]).reshape(width) for each in (np.min, np.max))
        std = np.array([column.std() for column in columns]).reshape(width)
        if scale == "quantile":
            share = np.linspace(0, 1, n_quantiles)
            table = np.stack([np.quantile(c, share) for c in columns], axis=1) if width else empty
            return cls(scale, fill, zeros, zeros + 1, np.maximum.accumulate(table))
        if scale == "none":
            return cls(scale, fill, zeros, zeros + 1, empty)
        shift, divisor = (low, high - low) if scale == "min_max" else (fill, std)
        # A column that never changes tells nothing; rounding must not make a difference out of it.
        constant = divisor <= 1e-12 * np.maximum(np.abs(shift), 1)
        return cls(scale, fill, shift, np.where(constant, 1.0, divisor), empty)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Scale float64 values ``[n, d]``."""
        values = _log(values) if self.scale == "log" else values
        values = np.where(np.isnan(values), self.fill, values)
        if self.scale != "quantile":
            return (values - self.shift) / self.divisor
        share = np.linspace(0, 1, len(self.quantiles))
        # From both sides, so that a value that fills several quantiles gets the middle of them.
        below = [np.interp(x, q, share) for x, q in zip(values.T, self.quantiles.T, strict=True)]
        above = [-np.interp(-x, -q[::-1], -share[::-1]) for x, q in zip(values.T, self.quantiles.T, strict=True)]
        middle = (np.array(below) + np.array(above)).T.reshape(values.shape) / 2
        low, high = self.quantiles[0], self.quantiles[-1]
        return np.where(values <= low, 0.0, np.where(values >= high, 1.0, middle))


@dataclass(frozen=True)
class FittedNumeric:
    """See :class:`Numeric`."""

    name: str
    column: str
    scaler: Scaler
    indicator: bool

    @property
    def fields(self) -> Schema:
        """One dense field."""
        width = len(self.scaler.fill) + self.indicator
        return (Field(self.name, "dense", width, width),)

    def transform(self, frame: pl.DataFrame) -> np.ndarray:
        """Give float32 numbers ``[n, width]``.

        Raises:
            DataError: A vector has another length than in training.
        """
        values = matrix_of(frame, self.column)
        if values.shape[1] != len(self.scaler.fill):
            raise DataError(
                f"features: column '{self.column}' has vectors of {values.shape[1]} numbers, and training had "
                f"{len(self.scaler.fill)}"
            )
        scaled = self.scaler(values)
        if self.indicator:
            scaled = np.concatenate([scaled, np.isnan(values).any(axis=1, keepdims=True)], axis=1)
        return scaled.astype(np.float32)


def matrix_of(frame: pl.DataFrame, column: str) -> np.ndarray:
    """Read a column of numbers, or of vectors of one length, as float64 ``[n, d]``, NaN where one is missing.

    Raises:
        DataError: There is no such column, or it holds something else.
    """
    values = column_of(frame, column, wanted_by="features")
    if not isinstance(values.dtype, pl.List | pl.Array):
        return numbers_of(frame, column, wanted_by="features").to_numpy().reshape(-1, 1)
    lists = values.cast(pl.List(pl.Float64))
    lengths = lists.list.len().drop_nulls().unique()
    if len(lengths) != 1:
        raise DataError(f"features: column '{column}' must hold vectors of one length")
    matrix = np.full((len(values), int(lengths[0])), np.nan)
    present = lists.is_not_null().to_numpy()
    flat = lists.drop_nulls().explode()
    matrix[present] = flat.cast(pl.Float64).fill_null(np.nan).to_numpy().reshape(-1, matrix.shape[1])
    if np.isinf(matrix).any():
        raise DataError(f"features: column '{column}' holds a number without bound")
    return matrix


def _log(values: np.ndarray) -> np.ndarray:
    return np.sign(values) * np.log1p(np.abs(values))
