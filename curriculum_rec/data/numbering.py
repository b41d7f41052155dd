"""Ids as numbers (host): text is looked at once, everything after that compares and sorts small integers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import polars as pl

WIDEST = 4
"""A table over a range of integers may have so many times more places than there are values."""

SORTED_AT_ONCE = 2**21
"""More rows than these are sorted in two halves, beside each other."""

BLOCK = 2**17
"""Values that are worked on at once: what is computed on the way then takes the same memory again and again."""


def blocks(n: int) -> Iterator[slice]:
    """Cut ``range(n)`` into slices.

    >>> list(blocks(BLOCK + 1))
    [slice(0, 131072, None), slice(131072, 131073, None)]
    """
    return (slice(begin, min(begin + BLOCK, n)) for begin in range(0, n, BLOCK))


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Call functions of large arrays beside each other; NumPy and Polars let other threads go on meanwhile.

    >>> at_once(lambda: 1, lambda: 2)
    [1, 2]
    """
    with ThreadPoolExecutor(len(calls)) as pool:
        return [running.result() for running in [pool.submit(call) for call in calls]]


def count(value: np.ndarray, n: int) -> np.ndarray:
    """Count each of ``range(n)``, int64 ``[n]``.

    >>> count(np.array([2, 0, 2], np.uint8), 3).tolist()
    [1, 0, 2]
    """
    total = np.zeros(n, np.int64)
    for block in blocks(len(value)):
        total += np.bincount(value[block], minlength=n)
    return total


def whole_numbers(column: pl.Series) -> pl.Series | None:
    """Read a column of text as integers if each stands as an integer is written; None if any does not.

    "01" and "+1" are not how 1 is written: as ids they are others than "1".

    >>> whole_numbers(pl.Series(["10", "-9"])).to_list(), whole_numbers(pl.Series(["1", "01"])) is None
    ([10, -9], True)
    """
    value = column.cast(pl.Int64, strict=False)
    if value.null_count() > column.null_count() or not (value.cast(pl.String) == column).all():
        return None
    return value


def number_integers(value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the distinct integers of an array in ascending order.

    Args:
        value: Any integers ``[n]``, at least one.

    Returns:
        The distinct ones, and for each entry the place of its value among them, int32 ``[n]``.

    >>> [part.tolist() for part in number_integers(np.array([7, -2, 7]))]
    [[-2, 7], [1, 0, 1]]
    """
    low, high = int(value.min()), int(value.max())
    if high - low < max(WIDEST * len(value), 2**16):
        first, present, place = value.dtype.type(low), np.zeros(high - low + 1, bool), np.empty(len(value), np.int32)
        for block in blocks(len(value)):
            present[value[block] - first] = True
        number = np.cumsum(present, dtype=np.int32) - np.int32(1)
        for block in blocks(len(value)):
            place[block] = number[value[block] - first]
        return np.flatnonzero(present).astype(value.dtype) + first, place
    distinct = pl.Series(value).unique().sort()
    return distinct.to_numpy(), np.searchsorted(distinct.to_numpy(), value).astype(np.int32)


def as_categories(column: pl.Series) -> pl.Series:
    """Let a column of text be numbers that show as their texts (``pl.Enum``), the categories in the order of ids.

    Filters, joins and groups then work on numbers. Columns that are no text stay as they are.

    >>> column = as_categories(pl.Series(["10", "9", None, "10"]))
    >>> column.to_list(), column.to_physical().to_list()
    (['10', '9', None, '10'], [1, 0, None, 1])
    """
    if column.dtype != pl.String or column.null_count() == len(column):
        return column
    value = column.cast(pl.Int64, strict=False)
    if value.has_nulls():
        return column.cast(pl.Enum(in_order(column.drop_nulls().unique())))
    distinct, place = number_integers(value.to_numpy())
    texts = pl.Series(column.name, distinct).cast(pl.String)
    # No way of writing an integer is shorter than the usual one, so that the sum tells whether all are the usual one.
    if count(place, len(texts)) @ texts.str.len_bytes().to_numpy() < column.str.len_bytes().sum():
        return column.cast(pl.Enum(in_order(column.unique())))
    return texts.cast(pl.Enum(texts)).gather(place)


def in_order(distinct: pl.Series) -> pl.Series:
    """Sort ids: by value if all are integers, else as text."""
    value = whole_numbers(distinct) if distinct.dtype == pl.String else None
    return distinct.sort() if value is None else value.sort().cast(pl.String)


def places(column: pl.Series) -> np.ndarray:
    """Give each value a number, equal ones the same, ``[n]`` of small integers from 0; missing ones are equal, too.

    >>> places(as_categories(pl.Series(["b", "a", "b"]))).tolist(), places(pl.Series([70, -5])).tolist()
    ([1, 0, 1], [1, 0])
    """
    if column.dtype == pl.String:
        column = as_categories(column)
    if column.has_nulls() or not (column.dtype == pl.Enum or column.dtype.is_integer()):
        return column.rank("dense").fill_null(0).to_numpy()
    return column.to_physical().to_numpy() if column.dtype == pl.Enum else number_integers(column.to_numpy())[1]


def row_order(user: np.ndarray, timestamp: np.ndarray | None) -> np.ndarray | None:
    """Sort rows by user, then time, those with equal times as they stand.

    Args:
        user: int32 ``[n]``, not negative.
        timestamp: Numbers ``[n]``; None keeps each user's rows as they stand.

    Returns:
        The rows' numbers, int64 ``[n]``; None where they are in order already.

    >>> row_order(np.array([2, 1, 2], np.int32), np.array([5, 9, 4])).tolist()
    [1, 2, 0]
    """
    key = user if timestamp is None else _packed(user, timestamp)
    if key is None:
        order = np.argsort(np.asarray(timestamp), kind="stable")
        return order[np.argsort(user[order], kind="stable")]
    if all((key[block][1:] >= key[block][:-1]).all() for block in _overlapping(len(key))):
        return None
    if len(key) < SORTED_AT_ONCE:
        return np.argsort(key, kind="stable")
    middle = np.sort(key[:: len(key) // 1000])[500]
    halves = np.flatnonzero(key < middle), np.flatnonzero(key >= middle)
    return np.concatenate(at_once(*(partial(_sorted_by, key, rows) for rows in halves)))


def _sorted_by(key: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return rows[np.argsort(key[rows], kind="stable")]


def _packed(user: np.ndarray, timestamp: np.ndarray) -> np.ndarray | None:
    """Put user and time into one number each, uint64 ``[n]``; None if they do not fit."""
    if not len(user) or not np.issubdtype(timestamp.dtype, np.integer):
        return None
    first, last = int(timestamp.min()), int(timestamp.max())
    bits = (last - first).bit_length()
    if int(user.max()).bit_length() + bits > 64:
        return None
    key = np.empty(len(user), np.uint64)
    for block in blocks(len(user)):
        since = timestamp[block].astype(np.uint64) - np.uint64(first % 2**64)
        key[block] = (user[block].astype(np.uint64) << np.uint64(bits)) | since if bits < 64 else since
    return key


def _overlapping(n: int) -> Iterator[slice]:
    """Cut ``range(n)`` into slices that each begin with the last place of the one before."""
    return (slice(max(block.start - 1, 0), block.stop) for block in blocks(n))
