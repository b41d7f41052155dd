"""Bootstrap intervals (host): of means, of means over users with several values each, and of ratios of sums."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

from curriculum_rec.errors import OptionError
from curriculum_rec.streams import host_stream

BLOCK = 2**22
"""Numbers that are resampled at once."""


def bootstrap_interval(
    values: np.ndarray, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Give the bias-corrected and accelerated bootstrap interval of a mean.

    Args:
        values: ``[n]``, at least two.
        level: How often such intervals shall hold the true mean.
        resamples: Bootstrap samples.
        seed: Decides them.

    Raises:
        OptionError: There are fewer than two values.

    Source: Efron (1987), Better Bootstrap Confidence Intervals.

    >>> bootstrap_interval(np.array([1.0, 1.0, 1.0]))
    (1.0, 1.0)
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise OptionError(f"a bootstrap interval needs at least two values in one row; got shape {values.shape}")
    found = ratio_interval(values, np.ones(len(values)), level=level, resamples=resamples, seed=seed)
    if found is None:
        raise AssertionError("no resample of ones adds up to 0")
    return found


def cluster_interval(
    values: np.ndarray, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Give the bootstrap interval of a mean over users, each of whom was measured under several seeds.

    Users are resampled, each with all of its seeds, because one user's values under two seeds are no two users: an
    interval from ``users x seeds`` values as if they were independent would be too short. It says how the mean varies
    with the users; the seeds are taken as they are.

    Args:
        values: ``[n_seeds, n_users]``, such as differences of NDCG.
        level: As in :func:`bootstrap_interval`.
        resamples: As there.
        seed: As there.
    """
    return bootstrap_interval(np.asarray(values).mean(axis=0), level=level, resamples=resamples, seed=seed)


def ratio_interval(
    numerator: np.ndarray, denominator: np.ndarray, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float] | None:
    """Give the bias-corrected and accelerated bootstrap interval of a ratio of two sums over the same units.

    With a user's sum of values and the number of them it is that of the mean over all values where users are resampled
    with all that they have; with sums of weighted rewards and of weights that of a self-normalised estimate.

    Args:
        numerator: ``[n]``, one a unit, at least two.
        denominator: ``[n]``, not below 0.
        level: As in :func:`bootstrap_interval`.
        resamples: As there.
        seed: As there.

    Returns:
        Lower and upper end; None where so few units have a denominator that a resample has none.

    Source: Efron (1987); the acceleration is the jackknife's, as in SciPy, whose numbers these are.

    >>> ratio_interval(np.array([2.0, 4.0]), np.array([1.0, 2.0]))
    (2.0, 2.0)
    """
    above, below = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    if above.ndim != 1 or above.shape != below.shape or len(above) < 2:
        raise OptionError(f"an interval needs at least two units; got shapes {above.shape} and {below.shape}")
    if not below.any():
        return None
    estimate = above.sum() / below.sum()
    if np.abs(above - estimate * below).max() <= 1e-12 * np.abs(above).max():  # equal but for rounding
        return float(estimate), float(estimate)
    means = _resampled(above, below, resamples, host_stream(seed, "bootstrap"))
    if not np.isfinite(means).all():
        return None
    # A resample without any unit but the odd ones leaves the ratio as it is: such ties count half.
    bias = ndtri(((means < estimate).mean() + (means <= estimate).mean()) / 2)
    shift = ndtri(np.array([1 - level, 1 + level]) / 2) + bias
    ends = ndtr(bias + shift / (1 - _acceleration(above, below) * shift))
    if not np.isfinite(ends).all():  # the estimate lies beyond all resamples
        return None
    low, high = np.quantile(means, ends)
    return float(low), float(high)


def _resampled(above: np.ndarray, below: np.ndarray, resamples: int, stream: np.random.Generator) -> np.ndarray:
    n, is_mean = len(above), np.ptp(below) == 0
    block = max(1, BLOCK // n)
    ratios = []
    for begin in range(0, resamples, block):
        units = stream.integers(0, n, (min(block, resamples - begin), n))
        total = below.sum() if is_mean else below[units].sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios.append(above[units].sum(axis=1) / total)
    return np.concatenate(ratios)


def _acceleration(above: np.ndarray, below: np.ndarray) -> float:
    """Give the skewness of the estimate, from the estimates that leave out one unit each."""
    rest = below.sum() - below
    if (rest <= 0).any():
        return np.nan
    without = (above.sum() - above) / rest
    influence = without.mean() - without
    scale = (influence**2).sum() ** 1.5
    return float((influence**3).sum() / (6 * scale)) if scale > 0 else 0.0
