"""What lists of recommendations are like beyond being right (host): known, alike, in the tail, fitting to a taste.

Lists are int32 ``[q, k]``, best first, 0 where a list is shorter. A metric of lists gives one number a list; one of
exposure looks at all lists together.
"""

from __future__ import annotations

import numpy as np

STEP = 2**22
"""Numbers that are held at once."""

SMOOTHING = 0.01
"""The share of the user's own distribution in that of a list, so that no logarithm is of 0 (Steck, 2018)."""


def list_mean(lists: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Average a number of items over each list.

    It makes ``novelty`` of self-information, ``popularity`` of counts and ``tail_share`` of 0 and 1.

    Args:
        lists: ``[q, k]``.
        value: float64 ``[n_items + 1]``.

    >>> list_mean(np.array([[1, 2], [2, 0]]), np.array([9.0, 1.0, 3.0])).tolist()
    [2.0, 3.0]
    """
    inside = lists > 0
    return (value[lists] * inside).sum(axis=1) / np.maximum(inside.sum(axis=1), 1)


def self_information(n_with: np.ndarray, n_users: int) -> np.ndarray:
    """Give ``-log2`` of the share of users who have each item, in bits; an item of nobody counts as one of one user.

    Its mean over a list is the ``novelty``.

    Source: Zhou, Kuscsik, Liu, Medo, Wakeling and Zhang (2010), Solving the apparent diversity-accuracy dilemma.

    >>> self_information(np.array([0, 4, 1]), 4).tolist()
    [2.0, 0.0, 2.0]
    """
    return np.log2(n_users) - np.log2(np.maximum(n_with, 1))


def in_tail(counts: np.ndarray, *, head: float = 0.8) -> np.ndarray:
    """Say which items are in the long tail: not among the fewest items that hold ``head`` of all interactions.

    The share of a list that lies there is ``tail_share``.

    Args:
        counts: Interactions of every item, ``[n_items + 1]``; equal counts are taken by the lower id.
        head: The share of the head.

    Source: Abdollahpouri, Burke and Mobasher (2019), Managing Popularity Bias in Recommender Systems with Personalized
    Re-ranking, average percentage of long tail items; where the tail begins is our choice.

    >>> in_tail(np.array([0, 6, 2, 1, 1])).tolist()
    [False, False, False, True, True]
    """
    order = np.argsort(-counts[1:], kind="stable") + 1
    before = np.cumsum(counts[order]) - counts[order]
    tail = np.zeros(len(counts), bool)
    tail[order] = before >= head * counts.sum()
    return tail


def intra_list_diversity(lists: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Average ``1 - cosine`` over all pairs of a list; an item without a vector is unlike every other. 0 without pairs.

    Args:
        lists: ``[q, k]``.
        vectors: float64 ``[n_items + 1, d]`` of length 1, or 0 where nothing is known.

    Source: Smyth and McClave (2001); Ziegler, McNee, Konstan and Lausen (2005).

    >>> vectors = np.array([[0.0, 0], [1, 0], [1, 0], [0, 1]])
    >>> intra_list_diversity(np.array([[1, 2, 3], [1, 2, 0]]), vectors).round(4).tolist()
    [0.6667, 0.0]
    """
    # The cosines of all pairs add up to half of |sum of vectors|^2 less the sum of their squares.
    length = (vectors**2).sum(axis=1)
    result = np.empty(len(lists))
    step = max(1, STEP // max(lists.shape[1] * vectors.shape[1], 1))
    for begin in range(0, len(lists), step):
        block = lists[begin : begin + step]
        inside = (block > 0).astype(np.float64)
        total = (vectors[block] * inside[:, :, None]).sum(axis=1)
        alike = (total**2).sum(axis=1) - (length[block] * inside).sum(axis=1)
        n = inside.sum(axis=1)
        pairs = n * (n - 1)
        result[begin : begin + step] = np.where(pairs > 0, 1 - alike / np.maximum(pairs, 1), 0.0)
    return np.clip(result, 0.0, None)


def miscalibration(own: np.ndarray, listed: np.ndarray) -> np.ndarray:
    """Give how far each list is from its user's taste, ``KL(p ; (1 - a) q + a p)`` with a = 0.01, in nats; 0 is best.

    Args:
        own: p, the distribution over groups such as genres in the history, float64 ``[q, groups]``, rows that add up
            to 1; a row of 0 where nothing is known, of which the answer is not a number.
        listed: q, that of the list, a row of 0 where nothing is known.

    Source: Steck (2018), Calibrated Recommendations, with all items of history and list weighing the same.

    >>> miscalibration(np.array([[0.5, 0.5]] * 2), np.array([[0.5, 0.5], [1.0, 0.0]])).round(4).tolist()
    [0.0, 1.9585]
    """
    smooth = (1 - SMOOTHING) * listed + SMOOTHING * own
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(own > 0, own * np.log(own / smooth), 0.0)
    return np.where(own.sum(axis=1) > 0, terms.sum(axis=1), np.nan)


def group_shares(row: np.ndarray, item: np.ndarray, groups: np.ndarray, n_rows: int) -> np.ndarray:
    """Give the distribution over groups of the items of each row.

    Args:
        row: Which row each item is of, ``[n]``, not falling.
        item: The items, ``[n]``; 0 is none.
        groups: float64 ``[n_items + 1, groups]``, each item's own distribution, 0 where it has no group.
        n_rows: How many rows there are.

    Returns:
        float64 ``[n_rows, groups]``; items without a group do not count, and a row with none is 0.

    >>> groups = np.array([[0.0, 0], [1, 0], [0.5, 0.5], [0, 0]])
    >>> group_shares(np.array([0, 0, 0, 1]), np.array([1, 2, 3, 3]), groups, 2).tolist()
    [[0.75, 0.25], [0.0, 0.0]]
    """
    found = np.zeros((n_rows, groups.shape[1]))
    step = max(1, STEP // max(groups.shape[1], 1))
    for begin in range(0, len(row), step):
        np.add.at(found, row[begin : begin + step], groups[item[begin : begin + step]])
    total = found.sum(axis=1, keepdims=True)
    return np.divide(found, total, out=np.zeros_like(found), where=total > 0)


def exposure(lists: np.ndarray, n_items: int) -> np.ndarray:
    """Count how often each item is listed, int64 ``[n_items]``.

    >>> exposure(np.array([[1, 2], [2, 0]]), 3).tolist()
    [1, 2, 0]
    """
    return np.bincount(lists.reshape(-1), minlength=n_items + 1)[1:]


def coverage(shown: np.ndarray) -> float:
    """Give the share of the catalogue that is in a list at all.

    Source: Ge, Delgado-Battenfeld and Jannach (2010), Beyond Accuracy: catalogue coverage.

    >>> coverage(np.array([1, 2, 0, 0]))
    0.5
    """
    return float((shown > 0).mean())


def gini(shown: np.ndarray) -> float:
    """Give ``sum over j of (2 j - n - 1) c_j / (n sum c)``, the counts c in ascending order, of all n items.

    0 where all are listed equally often, ``1 - 1 / n`` where one item has all the places; lower is more even.

    Source: Fleder and Hosanagar (2009).

    >>> gini(np.array([3, 3, 3])), gini(np.array([0, 4, 0, 0]))
    (0.0, 0.75)
    """
    n, ordered = len(shown), np.sort(shown)
    return float(((2 * np.arange(1, n + 1) - n - 1) * ordered).sum() / (n * max(ordered.sum(), 1)))


def entropy(shown: np.ndarray) -> float:
    """Give ``-sum p log2 p`` of the shares of all places that items have, in bits; at most ``log2(n_items)``.

    Source: Adomavicius and Kwon (2012), Improving Aggregate Recommendation Diversity.

    >>> entropy(np.array([1, 1, 0, 2]))
    1.5
    """
    share = shown[shown > 0] / max(shown.sum(), 1)
    return float(-(share * np.log2(share)).sum())
