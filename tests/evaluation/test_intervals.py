"""Bootstrap intervals: SciPy's as the oracle, coverage by simulation, and cases by hand."""

import numpy as np
import pytest
from scipy import stats

from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.intervals import bootstrap_interval, cluster_interval, ratio_interval
from curriculum_rec.streams import host_stream


def test_bootstrap_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(4)
    intervals = [bootstrap_interval(rng.exponential(1.0, 40), resamples=400, seed=run) for run in range(300)]
    covered = np.mean([low <= 1 <= high for low, high in intervals])
    assert 0.88 <= covered <= 0.98  # BCa of a skewed sample of 40 is known to be a little short of .95


def test_bootstrap_interval_repeats_by_seed():
    values = np.random.default_rng(5).normal(size=20)
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval(values) != bootstrap_interval(values, seed=1)


def test_cluster_interval_by_hand():
    # Two users of opposite values, each the same under 50 seeds: a resample has both users (mean 0, half of the time),
    # or twice the same one (mean 1 or -1, a quarter each). Resampled as 100 values the mean would stay near 0.
    values = np.tile([1.0, -1.0], (50, 1))
    assert cluster_interval(values) == (-1.0, 1.0)
    low, high = bootstrap_interval(values.ravel())
    assert -0.3 < low < high < 0.3


def test_cluster_interval_is_that_of_independent_users():
    rng = np.random.default_rng(6)
    user, seed_noise = rng.normal(0.1, 1, 400), rng.normal(0, 0.1, (3, 400))
    low, high = cluster_interval(user + seed_noise)
    half = 1.96 * np.sqrt((1 + 0.01 / 3) / 400)
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)


def scipys(data, statistic, *, resamples=2000, seed=0):
    found = stats.bootstrap(
        data,
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        method="BCa",
        rng=host_stream(seed, "bootstrap"),
    ).confidence_interval
    return pytest.approx((found.low, found.high), rel=1e-9)


@pytest.mark.parametrize("n", [2, 5, 10, 200])
def test_bootstrap_interval_is_scipys(n):
    values = np.random.default_rng(n).exponential(1.0, n)
    mean = scipys((values,), np.mean, seed=3)
    assert bootstrap_interval(values, resamples=2000, seed=3) == mean


def test_ratio_interval_is_scipys():
    rng = np.random.default_rng(10)
    above, below = rng.exponential(1.0, 60), rng.integers(0, 4, 60).astype(float)

    def ratio(x, y, axis=-1):
        return x.sum(axis=axis) / y.sum(axis=axis)

    assert ratio_interval(above, below, resamples=2000) == scipys((above, below), ratio)


@pytest.mark.parametrize(("n", "least", "most"), [(5, 0.79, 0.87), (10, 0.88, 0.93), (30, 0.905, 0.96)])
def test_coverage_is_short_of_its_level_with_few_pairs(n, least, most):
    # What docs/statistics.md says; a Student interval of normal differences would cover 95 %.
    rng = np.random.default_rng(n)
    intervals = [bootstrap_interval(rng.normal(size=n), resamples=400, seed=run) for run in range(1000)]
    assert least < np.mean([low <= 0 <= high for low, high in intervals]) < most


def test_users_with_many_values_are_resampled_whole():
    # 40 users who each have one taste and up to 50 values of it: as if independent, the interval is far too short.
    rng = np.random.default_rng(12)
    covered = {"users": 0, "values": 0}
    for run in range(200):
        counts = rng.integers(1, 50, 40)
        tastes = rng.normal(0, 1, 40)
        values = np.repeat(tastes, counts) + rng.normal(0, 0.1, counts.sum())
        sums = np.bincount(np.repeat(np.arange(40), counts), values)
        by_user = ratio_interval(sums, counts, resamples=400, seed=run)
        by_value = bootstrap_interval(values, resamples=400, seed=run)
        for name, (low, high) in (("users", by_user), ("values", by_value)):
            covered[name] += low <= 0 <= high
    assert covered["users"] >= 0.88 * 200 > 0.6 * 200 > covered["values"]


def test_too_few_units_with_a_denominator_give_no_interval():
    assert ratio_interval(np.array([1.0, 0.0, 0.0]), np.array([2.0, 0.0, 0.0])) == (0.5, 0.5)
    assert ratio_interval(np.array([1.0, 0.5, 0.0]), np.array([2.0, 2.0, 0.0])) is None
    assert ratio_interval(np.zeros(3), np.zeros(3)) is None


def test_mistakes():
    with pytest.raises(OptionError, match="at least two values"):
        bootstrap_interval(np.ones(1))
    with pytest.raises(OptionError, match="at least two units"):
        ratio_interval(np.ones(3), np.ones(2))
