"""What a course of training, or of layers, says of targets (host): pure functions of arrays ``[times, n_targets]``."""

from __future__ import annotations

import numpy as np


def learnt_after(correct: np.ndarray) -> np.ndarray:
    """Count the times before the one from which on a target is always right; all of them where it is not in the end.

    Args:
        correct: bool ``[times, n]``.

    Returns:
        int64 ``[n]``.

    >>> learnt_after(np.array([[1, 1, 0], [1, 0, 1], [1, 1, 0]], bool)).tolist()
    [0, 2, 3]
    """
    return len(correct) - np.logical_and.accumulate(correct[::-1], axis=0).sum(axis=0)


def forgetting_events(correct: np.ndarray) -> np.ndarray:
    """Count how often a target that was right is wrong the next time; without end where it was never right.

    Args:
        correct: bool ``[times, n]``.

    Returns:
        float64 ``[n]``.

    Source: Toneva et al. (2019).

    >>> forgetting_events(np.array([[0, 0, 1], [1, 0, 1], [0, 0, 1], [1, 0, 1], [0, 0, 1]], bool)).tolist()
    [2.0, inf, 0.0]
    """
    events = (correct[:-1] & ~correct[1:]).sum(axis=0)
    return np.where(correct.any(axis=0), events, np.inf)


def mean_mistakes(correct: np.ndarray) -> np.ndarray:
    """Give the share of the times at which a target was wrong.

    Args:
        correct: bool ``[times, n]``.

    >>> mean_mistakes(np.array([[1, 0], [1, 1]], bool)).tolist()
    [0.0, 0.5]
    """
    return 1 - correct.mean(axis=0)


def lack_of_confidence(probability: np.ndarray) -> np.ndarray:
    """Give 1 less the mean probability.

    Args:
        probability: ``[times, n]``.

    >>> lack_of_confidence(np.array([[0.25], [0.75]])).tolist()
    [0.5]
    """
    return 1 - probability.mean(axis=0, dtype=np.float64)


def variability(probability: np.ndarray) -> np.ndarray:
    """Give the standard deviation of the probabilities, that of a population.

    Args:
        probability: ``[times, n]``.

    >>> variability(np.array([[0.25], [0.75]])).tolist()
    [0.25]
    """
    return probability.std(axis=0, dtype=np.float64)


def ambiguity(probability: np.ndarray) -> np.ndarray:
    """Give ``c (1 - c)`` of the mean probability ``c``, the nearness to one half.

    Args:
        probability: ``[times, n]``.

    >>> ambiguity(np.array([[0.25], [0.75]])).tolist()
    [0.25]
    """
    confidence = probability.mean(axis=0, dtype=np.float64)
    return confidence * (1 - confidence)


def area_under_margin(margin: np.ndarray) -> np.ndarray:
    """Give the mean margin: how far the target's score was above the best other one's.

    Args:
        margin: ``[times, n]``.

    Source: Pleiss et al. (2020).

    >>> area_under_margin(np.array([[1.0], [-3.0]])).tolist()
    [-1.0]
    """
    return margin.mean(axis=0, dtype=np.float64)
