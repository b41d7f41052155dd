"""Effect sizes and Wilcoxon's test: cases by hand, enumeration, unbiasedness by simulation."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.effect_sizes import (
    hedges_correction,
    rank_biserial,
    share_won,
    standardised_mean_difference,
    wilcoxon_p,
)


def test_hedges_correction_makes_the_difference_unbiased():
    difference = np.random.default_rng(0).normal(0.5, 1, (20_000, 5))
    corrected = [standardised_mean_difference(row) for row in difference]
    assert np.mean(corrected) == pytest.approx(0.5, abs=0.015)
    assert np.mean(corrected) / hedges_correction(4) > 0.58  # without it, .5 would look like .63


def test_hedges_correction_is_near_its_usual_approximation():
    for degrees in (3, 9, 49):
        assert hedges_correction(degrees) == pytest.approx(1 - 3 / (4 * degrees - 1), abs=0.005)
    with pytest.raises(OptionError, match="degrees=1"):
        hedges_correction(1)


@pytest.mark.parametrize("difference", [[], [1.0], [1.0, 2.0], [0.3] * 4, [0.1 + 0.2, 0.3, 0.3]])
def test_no_difference_in_deviations_without_deviations(difference):
    assert standardised_mean_difference(np.array(difference)) is None


@given(st.lists(st.integers(-6, 6), min_size=1, max_size=7))
def test_wilcoxon_equals_enumeration(difference):
    apart = [value for value in difference if value]
    ranks = stats.rankdata(np.abs(apart)) if apart else np.zeros(0)
    sums = [np.dot(ranks, signs) for signs in itertools.product([1, -1], repeat=len(apart))]
    observed = np.dot(ranks, np.sign(apart))
    assert wilcoxon_p(np.array(difference)) == pytest.approx(np.mean(np.abs(sums) >= abs(observed) - 1e-9))


def test_ranks_are_not_decided_by_rounding():
    difference = np.array([0.1 + 0.2, -0.3, 0.3, 0.6])  # the first is larger than the third by rounding
    assert rank_biserial(difference) == pytest.approx((2 - 2 + 2 + 4) / 10)
    assert wilcoxon_p(difference) == wilcoxon_p(np.array([1, -1, 1, 2]))


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=12))
def test_effect_sizes_turn_round_with_the_sides(difference):
    difference = np.array(difference, float)
    assert share_won(-difference) == pytest.approx(1 - share_won(difference))
    found, turned = rank_biserial(difference), rank_biserial(-difference)
    assert (found is None) == (not difference.any())
    assert found is None or (turned == pytest.approx(-found) and -1 <= found <= 1)
    assert wilcoxon_p(-difference) == pytest.approx(wilcoxon_p(difference))


def test_rank_biserial_is_scipys_statistic():
    difference = np.random.default_rng(1).normal(0.3, 1, 30)
    lost_or_won = stats.wilcoxon(difference, alternative="greater").statistic  # the sum of the ranks won
    assert rank_biserial(difference) == pytest.approx(2 * lost_or_won / (30 * 31 / 2) - 1)
    assert wilcoxon_p(difference) == stats.wilcoxon(difference, method="exact").pvalue


def test_level_pairs_show_nothing():
    assert (wilcoxon_p(np.zeros(5)), rank_biserial(np.zeros(5)), share_won(np.zeros(5))) == (1, None, 0.5)
