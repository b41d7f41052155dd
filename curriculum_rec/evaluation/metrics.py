"""Ranking metrics for one relevant item a row (host): first per row, then means a user, then their mean.

``rank`` counts from 1; a rank between two integers is the mean over a tied block, so that a scorer which cannot tell
items apart is not rewarded for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from curriculum_rec.errors import OptionError


def hit_rate(rank: np.ndarray, k: int) -> np.ndarray:
    """``1[rank <= k]``.

    >>> hit_rate(np.array([1.0, 3.0]), 2).tolist()
    [1.0, 0.0]
    """
    return (rank <= k).astype(np.float64)


def ndcg(rank: np.ndarray, k: int) -> np.ndarray:
    """``1[rank <= k] / log2(1 + rank)``; with one relevant item the ideal gain is 1.

    Source: Järvelin and Kekäläinen (2002).

    >>> ndcg(np.array([1.0, 3.0]), 10).tolist()
    [1.0, 0.5]
    """
    return hit_rate(rank, k) / np.log2(1 + rank)


def reciprocal_rank(rank: np.ndarray, k: int) -> np.ndarray:
    """``1[rank <= k] / rank``.

    >>> reciprocal_rank(np.array([4.0, 11.0]), 10).tolist()
    [0.25, 0.0]
    """
    return hit_rate(rank, k) / rank


METRICS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "hr": hit_rate,
    "ndcg": ndcg,
    "mrr": reciprocal_rank,
    "recall": hit_rate,  # hits / relevant items, and there is one
}
"""Metric names as they stand before the ``@``."""


def user_metrics(rank: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Compute metrics row by row.

    Args:
        rank: float64 ``[m]``, from 1.
        names: Such as ``ndcg@10``.

    Returns:
        float64 ``[m]`` for each name.

    >>> user_metrics(np.array([2.0]), ["hr@1", "mrr@5"])
    {'hr@1': array([0.]), 'mrr@5': array([0.5])}
    """
    result = {}
    for name in names:
        function, k = parse_metric(name)
        result[name] = function(rank, k)
    return result


def mean_metrics(rank: np.ndarray, names: Sequence[str], *, user: np.ndarray | None = None) -> dict[str, float]:
    """Average each metric: over a user's rows, then over users, so that every user counts the same.

    Args:
        rank: float64 ``[m]``, from 1.
        names: Such as ``ndcg@10``.
        user: Whose rows they are, int ``[m]``; None where each has one.

    >>> mean_metrics(np.array([1.0, 5.0, 5.0]), ["hr@1"], user=np.array([7, 8, 8]))
    {'hr@1': 0.5}
    >>> mean_metrics(np.array([1.0, 5.0, 5.0]), ["hr@1"], user=np.array([7, 7, 8]))
    {'hr@1': 0.25}
    """
    return {name: float(user_means(values, user).mean()) for name, values in user_metrics(rank, names).items()}


def user_means(values: np.ndarray, user: np.ndarray | None) -> np.ndarray:
    """Average the values of every user's rows.

    Args:
        values: float64 ``[m]``.
        user: int ``[m]``; None where each has one row.

    Returns:
        float64, one a user in ascending order; the values as they are where each has one row.
    """
    if user is None:
        return values
    distinct, row = np.unique(user, return_inverse=True)
    if len(distinct) == len(user):
        return values
    return np.bincount(row, values) / np.bincount(row)


def parse_metric(name: str) -> tuple[Callable[[np.ndarray, int], np.ndarray], int]:
    """Take a name such as ``ndcg@10`` apart.

    Raises:
        OptionError: There is no such metric.
    """
    kind, _, k = name.partition("@")
    if kind not in METRICS or not k.isdecimal() or int(k) < 1:
        raise OptionError(
            f"'{name}' is no metric: write one of {', '.join(METRICS)}, then @ and a number, as in ndcg@10"
        )
    return METRICS[kind], int(k)
