"""Slices of a long array as rows of one width (host), put together when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

PLACES_AT_ONCE = 2**17
"""Entries of padded rows that are filled at once."""

PLACES_TO_SPARE = 2**23
"""Entries of padded rows that are not worth a further width, which is a further program to compile."""

WIDENING = 4
"""How many times as wide as the one before it a further width is."""


@runtime_checkable
class Flat(Protocol):
    """A long array of one axis, in memory or not, of which entries can be taken."""

    @property
    def dtype(self) -> np.dtype: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any) -> Any: ...


@dataclass(frozen=True)
class Padded:
    """An array ``[n, length]`` of slices of a long one, filled from the left, that is nowhere held.

    Args:
        items: int32, the long array.
        start: int64 ``[n]``, where each slice begins.
        stop: int64 ``[n]``, where it ends, at most ``length`` later.
        length: Width of a row.

    >>> rows = Padded(np.array([7, 8, 9], np.int32), np.array([0, 2]), np.array([2, 3]), 2)
    >>> rows.shape, rows[np.array([1, 0])].tolist()
    ((2, 2), [[9, 0], [7, 8]])
    """

    items: Flat
    start: np.ndarray
    stop: np.ndarray
    length: int

    @property
    def dtype(self) -> np.dtype:
        """Type of the entries."""
        return np.dtype(np.int32)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and width."""
        return len(self.start), self.length

    @property
    def ndim(self) -> int:
        """Two."""
        return 2

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        start, stop = self.start[rows], self.stop[rows]
        padded = pad_left_aligned(self.items, start.reshape(-1), stop.reshape(-1), self.length)
        return padded.reshape(*start.shape, self.length)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)

    def take(self, rows: np.ndarray) -> Padded:
        """Take some rows, without reading them."""
        return Padded(self.items, self.start[rows], self.stop[rows], self.length)


Rows = np.ndarray | Padded
"""Rows of items, in memory or put together when they are asked for."""


def count_filled(rows: Rows) -> np.ndarray:
    """Count the entries of each row that hold an item, int64 ``[n]``.

    >>> count_filled(np.array([[3, 4], [5, 0]])).tolist()
    [2, 1]
    """
    return rows.stop - rows.start if isinstance(rows, Padded) else (rows > 0).sum(axis=1)


def take_rows(rows: Rows, chosen: np.ndarray) -> Rows:
    """Take some rows; those that are not in memory are not read for it."""
    return rows.take(chosen) if isinstance(rows, Padded) else rows[chosen]


def by_width(sizes: np.ndarray, widths: tuple[int, ...]) -> list[tuple[int, np.ndarray]]:
    """Group rows by the narrowest width that holds them, so that a few long ones do not widen all others.

    Args:
        sizes: int ``[n]``, how many entries each row holds.
        widths: Rising, at least one. The last is widened as far as the rows beyond the others stay small together;
            more follow until one holds the longest row.

    Returns:
        Of each width that is needed, itself and the numbers of its rows, both rising.

    >>> [(width, rows.tolist()) for width, rows in by_width(np.array([3, 10**8, 0, 8]), (4, 5))]
    [(4, [0, 2]), (4194304, [3]), (268435456, [1])]
    """
    n_last = (np.searchsorted(widths, sizes) >= len(widths) - 1).sum()
    all_widths = [*widths[:-1], max(widths[-1], PLACES_TO_SPARE // max(int(n_last), 1))]
    while all_widths[-1] < sizes.max(initial=0):
        all_widths.append(all_widths[-1] * WIDENING)
    place = np.searchsorted(all_widths, sizes)
    return [(all_widths[number], np.flatnonzero(place == number)) for number in np.unique(place)]


def pad_left_aligned(items: Flat, start: np.ndarray, stop: np.ndarray, length: int) -> np.ndarray:
    """Copy slices of a flat array into rows, from the left, 0 where a slice ends early.

    Args:
        items: int32 ``[n]``.
        start: ``[m]``; a slice longer than ``length`` keeps its last ``length`` items.
        stop: ``[m]``.
        length: Width of the result.

    Returns:
        int32 ``[m, length]``.

    >>> pad_left_aligned(np.array([1, 2, 3, 4], np.int32), np.array([0, 3]), np.array([3, 4]), 2).tolist()
    [[2, 3], [4, 0]]
    """
    start = np.maximum(start, stop - length)
    padded = np.zeros((len(start), length), np.int32)
    place, rows = np.arange(length), max(1, PLACES_AT_ONCE // max(length, 1))
    for begin in range(0, len(start), rows):  # what is computed on the way stays in the processor's cache
        part = slice(begin, begin + rows)
        inside = place < (stop[part] - start[part])[:, None]
        padded[part][inside] = items[(start[part, None] + place)[inside]]
    return padded
