"""MostPop (host): the reference row of every table, one fixed list of items by their count."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from curriculum_rec.data.splits import EvaluationRows

BLOCK = 2**22
"""Numbers that are held at once."""


@runtime_checkable
class Pairs(Protocol):
    """Which items are no candidates in which rows: pairs sorted by row."""

    @property
    def row(self) -> np.ndarray: ...

    @property
    def item(self) -> np.ndarray: ...

    @property
    def offsets(self) -> np.ndarray: ...


def most_popular_ranks(
    counts: np.ndarray, rows: EvaluationRows, *, filter_seen: bool, left_out: Pairs | None = None
) -> np.ndarray:
    """Rank every row's target in the list of items by falling count, equal counts by the lower id.

    Args:
        counts: ``[n_items + 1]``, how often each item occurs in the part that is known.
        rows: The evaluation rows.
        filter_seen: Whether items of the row's history are taken out of the list; the target never is.
        left_out: What is taken out instead.

    Returns:
        float64 ``[m]``, from 1.
    """
    place = _places(counts)
    rank = place[rows.target].astype(np.float64)
    if filter_seen or left_out is not None:
        row, item = seen_pairs(rows) if left_out is None else (left_out.row, left_out.item)
        better = place[item] < place[rows.target[row]]
        rank -= np.bincount(row[better], minlength=len(rows))
    return rank


def most_popular_lists(counts: np.ndarray, left_out: Pairs, k: int) -> np.ndarray:
    """Give the first ``k`` of the list for every row, int32 ``[m, k]``, 0 where there are fewer.

    Args:
        counts: ``[n_items + 1]``.
        left_out: What is taken out of the list, row by row.
        k: Length of the lists.
    """
    place = _places(counts)
    item_at = np.zeros(len(counts) + k, np.int32)
    item_at[place[1:]] = np.arange(1, len(counts))
    row, taken = left_out.row, place[left_out.item]
    order = np.lexsort((taken, row))
    # The r-th item that is left, from 0, stands behind as many taken ones as have fewer than r + 1 left before them.
    left_before = taken[order] - 1 - (np.arange(len(row)) - left_out.offsets[row])
    lists = np.empty((len(left_out.offsets) - 1, k), np.int32)
    step = max(1, BLOCK // k)
    for begin in range(0, len(lists), step):
        end = min(begin + step, len(lists))
        pairs = slice(left_out.offsets[begin], left_out.offsets[end])
        inside = left_before[pairs] < k
        counted = np.zeros((end - begin, k), np.int64)
        np.add.at(counted, (row[pairs][inside] - begin, left_before[pairs][inside]), 1)
        at = 1 + np.arange(k) + np.cumsum(counted, axis=1)
        lists[begin:end] = np.where(at < len(counts), item_at[np.minimum(at, len(item_at) - 1)], 0)
    return lists


def _places(counts: np.ndarray) -> np.ndarray:
    place = np.empty(len(counts), np.int64)
    place[0] = 0
    place[np.argsort(-counts[1:], kind="stable") + 1] = np.arange(1, len(counts))
    return place


def seen_pairs(rows: EvaluationRows) -> tuple[np.ndarray, np.ndarray]:
    """List every different item of every row's history but the target, as pairs (row, item) sorted by row."""
    lengths = rows.lengths
    row = np.repeat(np.arange(len(rows)), lengths)
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    item = rows.items[rows.start[row] + within]
    other = item != rows.target[row]
    row, item = row[other], item[other]
    pair = np.unique(row * (int(rows.items.max()) + 1) + item)
    return np.divmod(pair, int(rows.items.max()) + 1)
