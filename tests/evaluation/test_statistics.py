"""Paired tests and whole comparisons: size, power, direction, independent oracles, and cases by hand."""

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_rec.errors import OptionError, RunError
from curriculum_rec.evaluation.intervals import cluster_interval
from curriculum_rec.evaluation.statistics import compare, compare_by_user, holm, paired, sign_flip_test

NUMBERS = st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=7)


@pytest.mark.parametrize("alternative", ["two-sided", "greater"])
def test_sign_flip_rejects_a_true_null_as_often_as_it_says(alternative):
    difference = np.random.default_rng(0).normal(size=(2000, 10))
    p, _ = sign_flip_test(difference, alternative=alternative)
    assert (p <= 0.05).mean() == pytest.approx(0.05, abs=0.015)


def test_sign_flip_finds_a_difference_of_one_deviation_more_often_than_half_a_deviation():
    noise = np.random.default_rng(1).normal(size=(2000, 10))
    power = [(sign_flip_test(noise + shift)[0] <= 0.05).mean() for shift in (0.0, 0.5, 1.0)]
    assert power[0] < 0.08 < 0.2 < power[1] < 0.5 < 0.7 < power[2]


@pytest.mark.parametrize("alternative", ["two-sided", "greater"])
def test_ours_better_gives_a_small_p(alternative):
    # A test with the sides the wrong way round gives .99999 here.
    baseline = np.random.default_rng(2).normal(0.1, 0.01, 10)
    ours = baseline + 0.02
    assert sign_flip_test(ours - baseline, alternative=alternative)[0] < 0.01
    assert sign_flip_test(baseline - ours, alternative="greater")[0] == 1.0


@given(NUMBERS, st.floats(0, 1, width=32))
def test_p_does_not_rise_when_every_difference_does(difference, more):
    before, after = (sign_flip_test(np.array(difference) + shift, alternative="greater")[0] for shift in (0.0, more))
    assert after <= before


@given(st.lists(st.integers(-5, 5), min_size=6, max_size=6), st.sampled_from(["two-sided", "greater"]))
def test_sign_flip_equals_enumeration(difference, alternative):
    size = abs if alternative == "two-sided" else float
    observed = size(sum(difference))
    flips = [
        size(sum(sign * value for sign, value in zip(signs, difference, strict=True)))
        for signs in itertools.product([1, -1], repeat=6)
    ]
    p, smallest = sign_flip_test(np.array(difference), alternative=alternative)
    assert p == sum(flipped >= observed for flipped in flips) / 64
    assert smallest == (2 if alternative == "two-sided" else 1) / 64


def test_random_flips_approach_the_exact_test():
    difference = np.random.default_rng(3).normal(0.4, 1, 12)
    exact, random = sign_flip_test(difference)[0], sign_flip_test(difference, draws=4000)
    assert random[0] == pytest.approx(float(exact), abs=4 * np.sqrt(exact * (1 - exact) / 4000))
    assert random[1] == 1 / 4001
    assert random[0] != exact
    assert sign_flip_test(np.ones(40), draws=200)[0] == 1 / 201


def test_pairs_that_are_level_change_no_p():
    difference = np.random.default_rng(4).normal(0.3, 1, (3, 40))
    with_level = np.concatenate([difference[:, :20], np.zeros((3, 60)), difference[:, 20:]], axis=1)
    p, _ = sign_flip_test(with_level, draws=4000)
    np.testing.assert_array_equal(p, sign_flip_test(difference, draws=4000)[0])
    assert sign_flip_test(np.zeros(40), draws=4000)[0] == 1
    assert sign_flip_test(np.zeros(4))[0] == 1


@pytest.mark.parametrize(("n", "smallest"), [(3, 0.25), (5, 0.0625), (6, 0.03125)])
def test_the_smallest_reachable_p_is_named_and_reached(n, smallest):
    p, named = sign_flip_test(np.arange(1.0, n + 1))
    assert p == named == smallest


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_never_lowers_and_keeps_the_order(p):
    adjusted = holm(p)
    assert (adjusted >= p).all() and (adjusted <= 1).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()
    assert adjusted[order[0]] == min(1, len(p) * min(p))


def test_holm_by_hand():
    # Sorted .01, .02, .03, .5: 4 x .01, then 3 x .02, then 2 x .03 (raised to what came before), then .5.
    assert holm([0.03, 0.01, 0.5, 0.02]).tolist() == pytest.approx([0.06, 0.04, 0.5, 0.06])


def test_pairs_are_of_equal_seeds():
    assert paired({1: 0.5, 0: 0.25, 7: 9.0}, {0: 0.125, 1: 0.5, 2: 4.0}).tolist() == [0.125, 0.0]
    with pytest.raises(RunError, match=r"no seed is on both sides: \[0\] here, \[1\] there"):
        paired({0: 1.0}, {1: 1.0})


def test_comparison_of_several_arms():
    baseline = {seed: 0.1 + 0.01 * (seed % 3) for seed in range(6)}
    better = {seed: value + 0.02 + 0.001 * seed for seed, value in baseline.items()}
    level = {seed: value + 0.01 * (-1) ** seed for seed, value in baseline.items()}
    found = compare({"better": (better, baseline), "level": (level, baseline)})
    assert {arm.n_arms for arm in found.values()} == {2}
    assert found["better"].p == found["better"].smallest_p == 2 / 64
    assert found["better"].adjusted_p == 4 / 64
    assert found["better"].difference == pytest.approx(0.0225)
    assert (found["better"].won, found["better"].rank_biserial, found["better"].wilcoxon_p) == (1, 1, 2 / 64)
    # Mean .0225, standard deviation .001 sqrt(3.5), J(5) = .8408.
    assert found["better"].effect == pytest.approx(0.0225 / (0.001 * np.sqrt(3.5)) * 0.8408, rel=1e-4)
    assert (found["level"].won, found["level"].rank_biserial, found["level"].wilcoxon_p) == (0.5, 0, 1)
    assert 0 < found["better"].low < found["better"].difference < found["better"].high
    assert found["level"].p == found["level"].adjusted_p == 1.0
    assert found["level"].low < 0 < found["level"].high


def test_comparison_by_user_keeps_a_users_seeds_together():
    # Users 0 to 5 gain 1 under each of 20 seeds: 6 signs, not 120, so that p is no smaller than 2 / 2^6.
    found = compare_by_user({"a": np.ones((20, 6)), "b": np.tile([1.0, -1.0, 2.0, -2.0, 3.0, -3.0], (20, 1))})
    assert (found["a"].n, found["a"].p, found["a"].adjusted_p) == (6, 2 / 64, 4 / 64)
    assert (found["b"].difference, found["b"].p) == (0.0, 1.0)
    values = np.random.default_rng(9).normal(size=(3, 30))
    found = compare_by_user({"a": values})["a"]
    assert (found.low, found.high) == cluster_interval(values)


def test_few_seeds_are_warned_of():
    three = {0: 1.0, 1: 1.0, 2: 1.0}
    with pytest.warns(UserWarning, match=r"3 paired seeds are too few for a claim: with 3, no p is below 0\.25"):
        found = compare({"a": (three, dict.fromkeys(three, 0.0))})
    assert found["a"].p == 0.25
    with pytest.warns(UserWarning, match="1 paired seeds"):
        found = compare({"a": ({0: 1.0}, {0: 0.0})})["a"]
    assert (found.low, found.effect, found.won, found.wilcoxon_p) == (None, None, 1, 1)
    five = dict.fromkeys(range(5), 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compare({"a": (five, five)})


@pytest.mark.parametrize("wrong", [np.zeros((3, 0)), np.array([1.0, np.nan]), np.array(1.0)])
def test_nothing_to_test(wrong):
    with pytest.raises(OptionError, match="at least one paired difference"):
        sign_flip_test(wrong)


def test_other_mistakes():
    with pytest.raises(OptionError, match="alternative=less: it must be one of two-sided, greater"):
        sign_flip_test(np.ones(3), alternative="less")


def test_arms_that_are_tested_together_have_the_p_that_each_has_alone():
    stream = np.random.default_rng(3)
    differences = {f"a{n}": stream.normal(0.1, 1, (2, 40 if n < 3 else 7)) for n in range(5)}
    together = compare_by_user(differences)
    assert list(together) == list(differences)
    for name, difference in differences.items():
        p, smallest = sign_flip_test(difference.mean(axis=0))
        assert (together[name].p, together[name].smallest_p) == (float(p), smallest)
