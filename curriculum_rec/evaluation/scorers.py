"""What a scorer of difficulties is worth (host): agreement with itself, and how well it finds what is known."""

from __future__ import annotations

import numpy as np
from scipy import stats

from curriculum_rec.errors import OptionError


def rank_agreement(scores: np.ndarray) -> float:
    """Average Spearman's rank correlation over all pairs of runs of a scorer.

    Args:
        scores: ``[n_seeds, n_units]``, at least two seeds.

    Raises:
        OptionError: There are fewer than two seeds.

    >>> round(rank_agreement(np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 25.0]])), 12)
    1.0
    """
    if len(scores) < 2:
        raise OptionError("the agreement of a scorer with itself needs at least two seeds")
    ranks = stats.rankdata(scores, axis=1)
    correlation = np.corrcoef(ranks)
    return float(correlation[np.triu_indices(len(scores), 1)].mean())


def roc_auc(score: np.ndarray, positive: np.ndarray) -> float:
    """Give the chance that a positive scores above a negative, ties counting half.

    Such as how well a difficulty finds planted noise.

    Args:
        score: ``[n]``.
        positive: bool ``[n]``.

    Raises:
        OptionError: All are of one kind.

    >>> roc_auc(np.array([1.0, 2.0, 2.0, 3.0]), np.array([False, False, True, True]))
    0.875
    """
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        raise OptionError("an area under the curve needs positives and negatives")
    above = stats.rankdata(score)[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(above / (n_positive * n_negative))
