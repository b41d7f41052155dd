"""Metrics of predicted classes (host): first per row where they are means, then over all rows."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax
from scipy.stats import rankdata

Probabilities = np.ndarray
"""Logarithms of the probabilities of classes, float64 ``[n, classes]``."""


def log_probabilities(outputs: np.ndarray) -> Probabilities:
    """Turn a model's outputs into logarithms of probabilities.

    Args:
        outputs: ``[n, classes]``, or ``[n, 1]``, the logit of the second of two classes.

    >>> np.exp(log_probabilities(np.array([[0.0]]))).tolist()
    [[0.5, 0.5]]
    """
    outputs = np.asarray(outputs, np.float64)
    logits = np.concatenate([np.zeros_like(outputs), outputs], axis=1) if outputs.shape[1] == 1 else outputs
    return log_softmax(logits, axis=1)


def correct(log_p: Probabilities, label: np.ndarray) -> np.ndarray:
    """``1[argmax p = label]``; of equal classes the first is predicted.

    >>> correct(np.log([[0.2, 0.8], [0.5, 0.5]]), np.array([1, 1])).tolist()
    [1.0, 0.0]
    """
    return (log_p.argmax(axis=1) == label).astype(np.float64)


def row_log_loss(log_p: Probabilities, label: np.ndarray) -> np.ndarray:
    """``-log p(label)``, lower is better; nothing is clipped.

    >>> row_log_loss(np.log([[0.5, 0.5]]), np.array([1])).round(4).tolist()
    [0.6931]
    """
    return -np.take_along_axis(log_p, label[:, None], axis=1)[:, 0]


def auc(score: np.ndarray, positive: np.ndarray) -> float:
    """How often a positive row has a higher score than a negative one, an equal score being half of that.

    Args:
        score: ``[n]``.
        positive: bool ``[n]``.

    Returns:
        In [0, 1]; NaN without rows of both kinds.

    Source: the Mann-Whitney statistic over the number of pairs (Hanley and McNeil, 1982).

    >>> auc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, True, False, True]))
    0.875
    """
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    above = rankdata(score)[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(above / (n_positive * n_negative))


def group_auc(score: np.ndarray, positive: np.ndarray, group: np.ndarray) -> float:
    """Average the AUC of groups such as users, each counting with its rows; groups of one kind are left out.

    Args:
        score: ``[n]``.
        positive: bool ``[n]``.
        group: int ``[n]``.

    Returns:
        In [0, 1]; NaN where no group has rows of both kinds.

    Source: Zhou et al. (2018), Deep Interest Network, equation 8, weighted by impressions.

    >>> score, positive = np.array([0.1, 0.9, 0.8, 0.2, 0.3, 0.7]), np.array([0, 1, 0, 1, 1, 1], bool)
    >>> group_auc(score, positive, np.array([1, 1, 2, 2, 2, 3])).__round__(2)
    0.4
    """
    _, group = np.unique(group, return_inverse=True)
    n, n_positive = np.bincount(group), np.bincount(group, positive)
    order = np.lexsort((score, group))
    first = np.cumsum(n) - n
    # Ranks within a group, those of equal scores their mean: from the first and the last place of each block.
    new = np.ones(len(score), bool)
    new[1:] = (np.diff(score[order]) != 0) | (np.diff(group[order]) != 0)
    begin = np.flatnonzero(new)
    rank = np.empty(len(score))
    rank[order] = np.repeat((begin + np.append(begin[1:], len(score)) - 1) / 2, np.diff(begin, append=len(score)))
    rank += 1 - first[group]
    above = np.bincount(group, rank * positive) - n_positive * (n_positive + 1) / 2
    pairs = n_positive * (n - n_positive)
    both = pairs > 0
    if not both.any():
        return float("nan")
    return float((above[both] / pairs[both] * n[both]).sum() / n[both].sum())


def expected_calibration_error(log_p: Probabilities, label: np.ndarray, *, bins: int = 15) -> float:
    """Give the mean distance between what is promised and what comes true, over bins of equal width.

    Of two classes it is the probability of the second that is compared with its share, of more that of the predicted
    class with the accuracy: ``sum over bins of n_b / n |mean promise - mean outcome|``. Lower is better.

    Source: Naeini, Cooper and Hauskrecht (2015); Guo, Pleiss, Sun and Weinberger (2017), with 15 bins.

    >>> expected_calibration_error(np.log([[0.7, 0.3]] * 10), np.array([1] * 3 + [0] * 7)).__round__(12)
    0.0
    >>> expected_calibration_error(np.log([[0.9, 0.1]] * 4), np.array([1, 1, 0, 0])).__round__(12)
    0.4
    """
    if log_p.shape[1] == 2:
        promise, outcome = np.exp(log_p[:, 1]), (label == 1).astype(np.float64)
    else:
        promise, outcome = np.exp(log_p.max(axis=1)), correct(log_p, label)
    place = np.clip(np.ceil(promise * bins).astype(np.int64) - 1, 0, bins - 1)
    apart = np.bincount(place, promise, bins) - np.bincount(place, outcome, bins)
    return float(np.abs(apart).sum() / len(label))
