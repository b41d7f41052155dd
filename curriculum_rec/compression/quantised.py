"""Whole numbers of few bits (host): every row of a matrix has a scale of its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float32, Int8, UInt8

from curriculum_rec.compression.contract import Form, Scope, with_matrices
from curriculum_rec.models.structure import Tree
from curriculum_rec.ranges import check_ranges, one_of

Clip = Literal["greedy", "none"]
"""Whether the ends of a row's range are moved inwards where this lowers the row's squared error."""

STEPS, SHARE_TRIED = 200, 0.16
"""The search moves an end by a 200th of the range at a time, until the range is 16 % shorter."""


@dataclass(frozen=True)
class ScaledRows(Form):
    """Rows of int8 codes, each with the number that a code of 1 stands for.

    Attributes:
        codes: int8, the axis that shares a scale moved to the end.
        scale: float32, one a row.
        axis: Where that axis belongs, from the end.
    """

    codes: Int8[np.ndarray, "*rows width"]
    scale: Float32[np.ndarray, "*rows 1"]
    axis: int

    def dense(self) -> np.ndarray:
        """Multiply codes and scales."""
        return np.moveaxis(self.codes * self.scale, -1, self.axis)


@dataclass(frozen=True)
class AffineRows(Form):
    """Rows of unsigned codes, each with the numbers that 0 and a step stand for.

    Attributes:
        codes: uint8, the axis that shares a scale moved to the end; two codes a byte where they have 4 bits.
        scale: float32, one a row.
        low: float32, one a row.
        bits: 8 or 4.
        width: Codes of a row.
        axis: Where that axis belongs, from the end.
    """

    codes: UInt8[np.ndarray, "*rows bytes"]
    scale: Float32[np.ndarray, "*rows 1"]
    low: Float32[np.ndarray, "*rows 1"]
    bits: int
    width: int
    axis: int

    def dense(self) -> np.ndarray:
        """Multiply codes and scales, and add the low ends."""
        codes = self.codes if self.bits == 8 else halves(self.codes)[..., : self.width]
        return np.moveaxis(codes * self.scale + self.low, -1, self.axis)


@dataclass(frozen=True)
class Int8Rows:
    """Symmetric 8-bit codes: ``scale = max |row| / 127``, so that 0 stays 0 and errors are at most half a scale.

    Bytes: ``rows (width + 4)`` for a table, about 27 % of float32 at width 64.

    Args:
        scope: ``all`` matrices, the item table's rows and each output of a linear layer by itself, or the ``table``.
    """

    scope: Scope = "all"

    def __post_init__(self) -> None:
        check_ranges(self, "method", {"scope": one_of(*get_args(Scope))})

    def __call__(self, params: Tree, *, seed: int) -> Tree:
        """Compress; arguments and errors as in the contract."""
        del seed
        return with_matrices(params, scaled_rows, self.scope)


@dataclass(frozen=True)
class Int8Affine:
    """8-bit codes over each row's own range: ``scale = (max - min) / 255``, up to twice as fine as symmetric ones.

    Bytes: ``rows (width + 8)`` for a table.

    Args:
        scope: As for symmetric codes.
    """

    scope: Scope = "all"

    def __post_init__(self) -> None:
        check_ranges(self, "method", {"scope": one_of(*get_args(Scope))})

    def __call__(self, params: Tree, *, seed: int) -> Tree:
        """Compress; arguments and errors as in the contract."""
        del seed
        return with_matrices(params, partial(affine_rows, bits=8, clip="none"), self.scope)


@dataclass(frozen=True)
class Int4Rows:
    """4-bit codes over each row's own range, whose ends may be clipped: ``scale = (max - min) / 15``.

    Bytes: ``rows (width / 2 + 8)`` for a table, about 16 % of float32 at width 64.

    Args:
        clip: ``greedy`` moves the ends of a row's range inwards where this lowers the row's error; ``none`` keeps them.
        scope: ``table``, since the network's own matrices are few and bear coarse codes less well, or ``all``.

    Source: Guan et al. (2019), Post-Training 4-bit Quantization on Embedding Tables; scales are float32 here.
    """

    clip: Clip = "greedy"
    scope: Scope = "table"

    def __post_init__(self) -> None:
        check_ranges(self, "method", {"scope": one_of(*get_args(Scope)), "clip": one_of(*get_args(Clip))})

    def __call__(self, params: Tree, *, seed: int) -> Tree:
        """Compress; arguments and errors as in the contract."""
        del seed
        return with_matrices(params, partial(affine_rows, bits=4, clip=self.clip), self.scope)


def scaled_rows(matrix: Float32[np.ndarray, "*shape"], axis: int = -1) -> ScaledRows:
    """Give symmetric 8-bit codes of a matrix.

    Args:
        matrix: float32, at least one axis.
        axis: The axis that shares a scale, from the end.

    >>> form = scaled_rows(np.array([[127.0, -63.5, 0.4]], np.float32))
    >>> form.codes.tolist(), form.dense().tolist()
    ([[127, -64, 0]], [[127.0, -64.0, 0.0]])
    """
    rows = np.moveaxis(matrix, axis, -1)
    scale = np.abs(rows).max(axis=-1, keepdims=True) / np.float32(127)
    codes = np.rint(rows / _or_one(scale)).astype(np.int8)
    return ScaledRows(np.ascontiguousarray(codes), scale, axis)


def affine_rows(matrix: Float32[np.ndarray, "*shape"], axis: int = -1, *, bits: int, clip: Clip) -> AffineRows:
    """Give codes of a matrix over each row's own range.

    Args:
        matrix: float32, at least one axis.
        axis: The axis that shares a range, from the end.
        bits: 8 or 4.
        clip: Whether ranges are clipped.

    >>> form = affine_rows(np.array([[0.0, 1.0, 15.0]], np.float32), bits=4, clip="none")
    >>> form.codes.tolist(), form.dense().tolist()
    ([[16, 15]], [[0.0, 1.0, 15.0]])
    """
    rows = np.moveaxis(matrix, axis, -1)
    low, high = rows.min(axis=-1, keepdims=True), rows.max(axis=-1, keepdims=True)
    if clip == "greedy":
        low, high = clipped_range(rows, low, high, bits=bits)
    codes, scale = _affine_codes(rows, low, high, bits)
    packed = codes.astype(np.uint8) if bits == 8 else pairs(codes.astype(np.uint8))
    return AffineRows(packed, scale, low, bits, rows.shape[-1], axis)


def clipped_range(rows: np.ndarray, low: np.ndarray, high: np.ndarray, *, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Search for the range of each row whose codes have the least squared error.

    From the whole range, the end whose move inwards costs less is moved, step by step; the best range seen is taken.

    Args:
        rows: float32 ``[..., width]``.
        low: Smallest number of each row, ``[..., 1]``.
        high: Largest.
        bits: Of a code.

    Source: Guan et al. (2019), algorithm 1.
    """
    step = (high - low) / np.float32(STEPS)
    best_low, best_high, best = low, high, _squared_error(rows, low, high, bits)
    for _ in range(round(STEPS * SHARE_TRIED)):
        up, down = _squared_error(rows, low + step, high, bits), _squared_error(rows, low, high - step, bits)
        low, high = np.where(up < down, low + step, low), np.where(up < down, high, high - step)
        found = np.minimum(up, down)
        best_low, best_high = np.where(found < best, low, best_low), np.where(found < best, high, best_high)
        best = np.minimum(found, best)
    return best_low, best_high


def pairs(codes: UInt8[np.ndarray, "*rows width"]) -> UInt8[np.ndarray, "*rows bytes"]:
    """Put two 4-bit codes into a byte, the first into its lower half.

    >>> pairs(np.array([1, 2, 3], np.uint8)).tolist(), halves(np.array([33, 3], np.uint8)).tolist()
    ([33, 3], [1, 2, 3, 0])
    """
    even = np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, codes.shape[-1] % 2)])
    return even[..., ::2] | (even[..., 1::2] << 4)


def halves(packed: UInt8[np.ndarray, "*rows bytes"]) -> UInt8[np.ndarray, "*rows width"]:
    """Undo :func:`pairs`; a row of odd length gets a code more."""
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], -1)


def _affine_codes(rows: np.ndarray, low: np.ndarray, high: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    highest = 2**bits - 1
    scale = (high - low) / np.float32(highest)
    return np.clip(np.rint((rows - low) / _or_one(scale)), 0, highest), scale


def _squared_error(rows: np.ndarray, low: np.ndarray, high: np.ndarray, bits: int) -> np.ndarray:
    codes, scale = _affine_codes(rows, low, high, bits)
    return ((codes * scale + low - rows) ** 2).sum(axis=-1, keepdims=True)


def _or_one(scale: np.ndarray) -> np.ndarray:
    return np.where(scale > 0, scale, np.float32(1))  # a row of equal numbers has code 0 throughout
