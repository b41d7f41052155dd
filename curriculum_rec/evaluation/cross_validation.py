"""What a difference in cross-validation is worth (host): a t-test that knows that folds share their training data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.statistics import holm

LEVEL = 0.95


@dataclass(frozen=True)
class FoldComparison:
    """An arm against a baseline over folds.

    Attributes:
        n: Folds.
        difference: Their mean difference, ours minus the baseline's.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p: Of the two-sided corrected t-test.
        adjusted_p: After Holm's correction over all arms of the family.
        won: Folds in which ours is better.
    """

    n: int
    difference: float
    low: float
    high: float
    p: float
    adjusted_p: float
    won: int


def corrected_t_test(difference: np.ndarray) -> tuple[float, float, float]:
    """Test whether the mean of the differences of k folds is 0.

    Each two folds share most of their training data, so that their differences are no independent draws and a plain
    t-test finds differences where there are none. The variance of the mean is therefore taken as ``(1 / k + n_test /
    n_train)`` times that of the differences, with ``n_test / n_train = 1 / (k - 1)``. Validation data count as training
    data, because the result depends on them.

    Args:
        difference: ``[k]``, one a fold, at least two.

    Returns:
        The two-sided p-value, and the ends of the 95 % interval of the mean.

    Raises:
        OptionError: There are fewer than two differences, or one is no number.

    Source: Nadeau and Bengio, Inference for the Generalization Error (2003), for random divisions; for folds by
        Bouckaert and Frank, Evaluating the Replicability of Significance Tests for Comparing Learning Algorithms,
        2004.

    >>> p, low, high = corrected_t_test(np.array([0.01, 0.03, 0.02, 0.02]))
    >>> round(p, 4), round(low, 4), round(high, 4)
    (0.0491, 0.0002, 0.0398)
    """
    difference = np.asarray(difference, np.float64)
    n = len(difference)
    if n < 2 or not np.isfinite(difference).all():
        raise OptionError("a test over folds needs at least two of them, and numbers only")
    mean, spread = float(difference.mean()), float(difference.std(ddof=1))
    error = spread * math.sqrt(1 / n + 1 / (n - 1))
    if error == 0:
        return (1.0 if mean == 0 else 0.0), mean, mean
    half = float(student.ppf((1 + LEVEL) / 2, n - 1)) * error
    return float(2 * student.sf(abs(mean) / error, n - 1)), mean - half, mean + half


def compare_by_fold(differences: Mapping[str, np.ndarray]) -> dict[str, FoldComparison]:
    """Compare arms over folds as one family of tests: what other users of the same kind would say.

    Args:
        differences: Of every arm that was tried, one a fold, ``[k]``; the seeds of a fold are averaged.

    Returns:
        One comparison an arm.
    """
    tests = {name: corrected_t_test(difference) for name, difference in differences.items()}
    adjusted = holm([p for p, _, _ in tests.values()])
    return {
        name: FoldComparison(
            n=len(differences[name]),
            difference=float(differences[name].mean()),
            low=low,
            high=high,
            p=p,
            adjusted_p=float(corrected),
            won=int((differences[name] > 0).sum()),
        )
        for (name, (p, low, high)), corrected in zip(tests.items(), adjusted, strict=True)
    }
