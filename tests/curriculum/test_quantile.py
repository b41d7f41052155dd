import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from curriculum_rec.curriculum.quantile import apply_order, quantiles
from curriculum_rec.errors import OptionError

scores = st.lists(st.integers(-20, 20), min_size=1, max_size=60).map(lambda values: np.array(values, float))
seeds = st.integers(0, 2**31)


@given(scores, seeds)
def test_quantiles_are_the_midpoints_with_mean_one_half(difficulty, seed):
    result, n = quantiles(difficulty, seed=seed), len(difficulty)
    np.testing.assert_array_equal(np.sort(result), (np.arange(n) + 0.5) / n)
    assert result.mean() == pytest.approx(0.5, abs=1e-15)


@given(scores, seeds)
def test_harder_examples_get_higher_quantiles(difficulty, seed):
    result = quantiles(difficulty, seed=seed)
    harder = difficulty[:, None] > difficulty[None, :]
    assert (result[:, None] > result[None, :])[harder].all()


@pytest.mark.parametrize("transform", [lambda x: 3 * x - 7, np.exp, lambda x: x**3, np.arctan])
@given(scores, seeds)
def test_only_the_order_of_difficulties_matters(transform, difficulty, seed):
    np.testing.assert_array_equal(quantiles(transform(difficulty), seed=seed), quantiles(difficulty, seed=seed))


def test_infinite_difficulties_are_ranked_and_nan_is_refused():
    assert quantiles(np.array([np.inf, 0.0, -np.inf]), seed=0).tolist() == [5 / 6, 3 / 6, 1 / 6]
    with pytest.raises(OptionError, match="2 examples is not a number"):
        quantiles(np.array([np.nan, 0.0, np.nan]), seed=0)


def test_ties_are_broken_by_the_seed_and_not_by_position():
    ties = np.zeros(2000)
    first, second = quantiles(ties, seed=1), quantiles(ties, seed=2)
    for result in (first, second):
        assert abs(spearmanr(result, np.arange(2000)).statistic) < 4 / np.sqrt(2000)
    assert abs(spearmanr(first, second).statistic) < 4 / np.sqrt(2000)
    np.testing.assert_array_equal(first, quantiles(ties, seed=1))


@given(scores, seeds)
def test_order_modes(difficulty, seed):
    q, n = quantiles(difficulty, seed=seed), len(difficulty)
    rank = np.rint(q * n - 0.5)
    for order in ("curriculum", "standard"):
        np.testing.assert_array_equal(apply_order(q, order, seed=seed), q)
    anti = apply_order(q, "anti", seed=seed)
    np.testing.assert_array_equal(np.rint(anti * n - 0.5), n - 1 - rank)
    np.testing.assert_array_equal(np.sort(apply_order(q, "random", seed=seed)), np.sort(q))


@pytest.mark.parametrize("seed", range(5))
def test_random_order_knows_nothing_of_difficulty(seed):
    q = quantiles(np.arange(4000.0), seed=seed)
    random = apply_order(q, "random", seed=seed)
    assert abs(spearmanr(random, q).statistic) < 4 / np.sqrt(4000)
    assert abs(spearmanr(random, apply_order(q, "random", seed=seed + 1)).statistic) < 4 / np.sqrt(4000)


def test_unknown_order_is_refused():
    with pytest.raises(OptionError, match="curriculum, anti, random, standard"):
        apply_order(np.array([0.5]), "hard", seed=0)
