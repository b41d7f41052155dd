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
