"""MostPop (host): the reference row of every table, one fixed list of items by their count."""

from __future__ import annotations

import numpy as np

from curriculum_rec.data.splits import EvaluationRows


def most_popular_ranks(counts: np.ndarray, rows: EvaluationRows, *, filter_seen: bool) -> np.ndarray:
    """Rank every row's target in the list of items by falling count, equal counts by the lower id.

    Args:
        counts: ``[n_items + 1]``, how often each item occurs in the part that is known.
        rows: The evaluation rows.
        filter_seen: Whether items of the row's history are taken out of the list; the target never is.

    Returns:
        float64 ``[m]``, from 1.
    """
    place = np.empty(len(counts), np.int64)
    place[np.argsort(-counts[1:], kind="stable") + 1] = np.arange(1, len(counts))
    rank = place[rows.target].astype(np.float64)
    if filter_seen:
        row, item = seen_pairs(rows)
        better = place[item] < place[rows.target[row]]
        rank -= np.bincount(row[better], minlength=len(rows))
    return rank


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
