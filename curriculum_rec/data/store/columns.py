"""Columns that are not in memory (host): what is taken of them is an array, and so is what is computed with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class OnDisk(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of one axis of which entries are got when they are asked for.

    Arithmetic and comparisons read all of it: they are right, and as large as they would be in memory.
    """

    dtype: np.dtype
    ndim = 1

    def __init__(self, n: int, dtype: Any) -> None:
        self._n, self.dtype = n, np.dtype(dtype)

    @property
    def shape(self) -> tuple[int]:
        """Its length."""
        return (self._n,)

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            begin, stop, step = index.indices(self._n)
            return self.between(begin, max(begin, stop)) if step == 1 else self.at(np.arange(begin, stop, step))
        rows = np.asarray(index)
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)
        rows = np.where(rows < 0, rows + self._n, rows)
        if rows.size and not (rows.min() >= 0 and rows.max() < self._n):
            raise IndexError(f"row {rows.max()} of {self._n}")
        return self.at(rows.reshape(-1)).reshape(rows.shape)[()]

    def at(self, rows: np.ndarray) -> np.ndarray:
        """Get entries, ``[m]``."""
        raise NotImplementedError

    def between(self, begin: int, stop: int) -> np.ndarray:
        """Get neighbouring entries."""
        return self.at(np.arange(begin, stop))

    def astype(self, dtype: Any) -> np.ndarray:
        """Read all of it in another type."""
        return self[:].astype(dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self.astype(dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return getattr(ufunc, method)(*(x[:] if isinstance(x, OnDisk) else x for x in inputs), **options)


class Column(OnDisk):
    """Arrays below each other, each perhaps a file that is mapped into memory.

    Args:
        parts: Arrays of one type and one axis.

    >>> column = Column([np.array([5, 6]), np.array([7])])
    >>> column[np.array([[2, 0]])].tolist(), column[1:].tolist(), int(column[-1])
    ([[7, 5]], [6, 7], 7)
    """

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        self._parts = tuple(parts)
        self._begin = np.cumsum([0, *(len(part) for part in parts)])
        super().__init__(int(self._begin[-1]), parts[0].dtype)

    def at(self, rows: np.ndarray) -> np.ndarray:
        """Get entries."""
        if len(self._parts) == 1:
            return np.asarray(self._parts[0][rows])
        taken = np.empty(len(rows), self.dtype)
        of_part = np.searchsorted(self._begin, rows, side="right") - 1
        for number in np.unique(of_part):
            mine = of_part == number
            taken[mine] = self._parts[number][rows[mine] - self._begin[number]]
        return taken

    def between(self, begin: int, stop: int) -> np.ndarray:
        """Get neighbouring entries."""
        pieces = []
        for number, part in enumerate(self._parts):
            low, high = max(begin, self._begin[number]), min(stop, self._begin[number + 1])
            if low < high:
                pieces.append(part[low - self._begin[number] : high - self._begin[number]])
        return np.concatenate(pieces) if pieces else np.empty(0, self.dtype)


class UserOfRow(OnDisk):
    """The user of each row, where rows are sorted by user.

    Args:
        offsets: int64 ``[n_users + 2]``; the rows of user ``u`` are ``offsets[u]:offsets[u + 1]``.

    >>> UserOfRow(np.array([0, 0, 2, 3]))[:].tolist()
    [1, 1, 2]
    """

    def __init__(self, offsets: np.ndarray) -> None:
        self._offsets = offsets
        super().__init__(int(offsets[-1]), np.int32)

    def at(self, rows: np.ndarray) -> np.ndarray:
        """Get entries."""
        return (np.searchsorted(self._offsets, rows, side="right") - 1).astype(np.int32)


class PartOfRow(OnDisk):
    """The part of each row, where a user's parts follow each other in time.

    Args:
        offsets: As in :class:`UserOfRow`.
        sizes: int64 ``[n_users + 1, n_parts]``, rows of each part of each user.

    >>> PartOfRow(np.array([0, 0, 3]), np.array([[0, 0, 0], [1, 1, 1]]))[:].tolist()
    [0, 1, 2]
    """

    def __init__(self, offsets: np.ndarray, sizes: np.ndarray) -> None:
        self._offsets, self._ends = offsets, offsets[:-1, None] + np.cumsum(sizes, axis=1)
        super().__init__(int(offsets[-1]), np.int8)

    def at(self, rows: np.ndarray) -> np.ndarray:
        """Get entries."""
        user = np.searchsorted(self._offsets, rows, side="right") - 1
        return (rows[:, None] >= self._ends[user]).sum(axis=1).astype(np.int8)
