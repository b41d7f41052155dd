"""The corrected t-test: by hand, against SciPy's plain one, and its error rate where folds share training data."""

import math

import numpy as np
import pytest
from scipy import stats

from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.cross_validation import compare_by_fold, corrected_t_test
from curriculum_rec.evaluation.statistics import holm


def test_by_hand():
    # Mean 0.02, standard deviation 0.01, so t = 0.02 / (0.01 sqrt(1/3 + 1/2)) with 2 degrees of freedom, for which
    # p = 1 - t / sqrt(2 + t^2).
    p, low, high = corrected_t_test(np.array([0.01, 0.02, 0.03]))
    t = 2 / math.sqrt(5 / 6)
    assert p == pytest.approx(1 - t / math.sqrt(2 + t**2))
    assert (low + high) / 2 == pytest.approx(0.02)
    assert (high - low) / 2 == pytest.approx(4.302652729749464 * 0.01 * math.sqrt(5 / 6))


def test_it_is_a_plain_t_test_with_a_greater_error():
    difference = np.random.default_rng(0).normal(0.3, 1, 10)
    plain = stats.ttest_1samp(difference, 0)
    p, _, _ = corrected_t_test(difference)
    t = plain.statistic * math.sqrt((1 / 10) / (1 / 10 + 1 / 9))
    assert p == pytest.approx(2 * stats.t.sf(abs(t), 9)) and p > plain.pvalue


def test_interval_and_p_agree():
    for seed in range(50):
        p, low, high = corrected_t_test(np.random.default_rng(seed).normal(0.8, 1, 5))
        assert (p < 0.05) == (low > 0 or high < 0)


def test_a_true_null_is_rejected_five_times_in_a_hundred_where_a_plain_test_rejects_far_more():
    # The correction assumes that the differences of two folds correlate by n_test / (n_test + n_train) = 1/k.
    stream, k, studies = np.random.default_rng(1), 5, 4000
    shared, own = stream.normal(size=(studies, 1)), stream.normal(size=(studies, k))
    differences = math.sqrt(1 / k) * shared + math.sqrt(1 - 1 / k) * own
    ours = np.mean([corrected_t_test(each)[0] < 0.05 for each in differences])
    plain = np.mean(stats.ttest_1samp(differences, 0, axis=1).pvalue < 0.05)
    assert 0.035 < ours < 0.065
    assert plain > 0.12


def test_equal_differences_are_certain_and_no_difference_is_none():
    assert corrected_t_test(np.zeros(5)) == (1.0, 0.0, 0.0)
    assert corrected_t_test(np.full(5, 0.5)) == (0.0, 0.5, 0.5)


def test_a_family_is_corrected_together():
    differences = {"a": np.array([0.1, 0.2, 0.15]), "b": np.array([-0.1, 0.2, 0.0])}
    found = compare_by_fold(differences)
    raw = [corrected_t_test(each)[0] for each in differences.values()]
    assert [each.adjusted_p for each in found.values()] == holm(raw).tolist()
    assert (found["b"].won, found["b"].n) == (1, 3)
    assert compare_by_fold({}) == {}


@pytest.mark.parametrize("difference", [np.array([1.0]), np.array([1.0, np.nan])])
def test_too_few_or_no_numbers_are_refused(difference):
    with pytest.raises(OptionError, match="at least two of them, and numbers only"):
        corrected_t_test(difference)
