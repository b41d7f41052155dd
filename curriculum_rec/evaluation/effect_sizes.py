"""How large a paired difference is (host), whatever the number of pairs: in standard deviations, and in pairs won."""

from __future__ import annotations

import numpy as np
from scipy import stats
from scipy.special import gammaln

from curriculum_rec.errors import OptionError


def standardised_mean_difference(difference: np.ndarray) -> float | None:
    """Give the mean of paired differences in units of their own standard deviation, corrected for small samples.

    Args:
        difference: ``[n]``, ours minus the baseline's.

    Returns:
        Hedges' g of the differences: Cohen's ``d_z`` times ``J(n - 1)``, without which few pairs would look larger than
        many. None with fewer than three pairs, where it has no mean, or where all differences are equal.

    Source: Hedges (1981), Distribution Theory for Glass's Estimator of Effect Size, equation 6e; Cohen (1988), 2.3.5.

    >>> standardised_mean_difference(np.array([1.0, 2.0, 3.0])).__round__(6)  # 2 / 1 times J(2) = 1 / sqrt(pi)
    1.128379
    """
    difference = np.asarray(difference, np.float64)
    n = len(difference)
    if n < 3 or np.ptp(difference) <= 1e-12 * np.abs(difference).max():
        return None
    return float(difference.mean() / difference.std(ddof=1) * hedges_correction(n - 1))


def hedges_correction(degrees: int) -> float:
    """Give the factor J by which a standardised difference with so many degrees of freedom is unbiased.

    Raises:
        OptionError: There are fewer than two degrees of freedom.

    >>> round(hedges_correction(9), 4)
    0.9139
    """
    if degrees < 2:
        raise OptionError(f"degrees={degrees}: Hedges' correction needs at least 2")
    half = degrees / 2
    return float(np.exp(gammaln(half) - gammaln(half - 0.5)) / np.sqrt(half))


def share_won(difference: np.ndarray) -> float:
    """Give the share of pairs in which ours is better, level ones counting half.

    >>> share_won(np.array([1.0, 0.0, -1.0, 2.0]))
    0.625
    """
    difference = np.asarray(difference)
    return float((np.sign(difference).mean() + 1) / 2)


def rank_biserial(difference: np.ndarray) -> float | None:
    """Give the matched-pairs rank-biserial correlation, the effect size of Wilcoxon's test, in [-1, 1].

    Ranks of the sizes of the differences are summed over the pairs won and over those lost; it is the difference of
    the sums as a share of both. Level pairs are left out.

    Returns:
        The correlation; None where all pairs are level.

    Source: Kerby (2014), The Simple Difference Formula.

    >>> rank_biserial(np.array([1.0, 2.0, -3.0]))
    0.0
    """
    apart = without_rounding(difference)
    if not len(apart):
        return None
    ranks = stats.rankdata(np.abs(apart))
    return float((ranks * np.sign(apart)).sum() / ranks.sum())


def wilcoxon_p(difference: np.ndarray) -> float:
    """Give the two-sided p-value of Wilcoxon's signed-rank test; level pairs are left out.

    It is exact for up to 50 pairs without ties, and for up to 13 with them; else it is the normal approximation.

    Args:
        difference: ``[n]``, ours minus the baseline's.

    Returns:
        The p-value; 1 where all pairs are level.

    Source: Wilcoxon (1945), Individual Comparisons by Ranking Methods; SciPy's implementation.

    >>> wilcoxon_p(np.array([1.0, 2.0, 3.0]))
    0.25
    """
    apart = without_rounding(difference)
    return float(stats.wilcoxon(apart, method="auto").pvalue) if len(apart) else 1.0


def without_rounding(difference: np.ndarray) -> np.ndarray:
    """Leave out level pairs and make sizes equal that differ by rounding alone, whose ranks would be chance."""
    difference = np.asarray(difference, np.float64)
    largest = np.abs(difference).max(initial=0.0)
    if largest == 0:
        return difference[:0]
    rounded = np.round(difference / largest, 12)
    return rounded[rounded != 0]
