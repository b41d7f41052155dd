import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import lambertw

from curriculum_rec.errors import OptionError
from curriculum_rec.weighting import (
    Focal,
    Gaussian,
    GeneralisedCrossEntropy,
    HardThreshold,
    LinearThreshold,
    LogarithmicThreshold,
    LogisticThreshold,
    Mentor,
    MixtureThreshold,
    PolynomialThreshold,
    Seen,
    SuperLoss,
    Truncated,
)
from curriculum_rec.weighting.robust import lambert_w

SELF_PACED = [
    HardThreshold, LinearThreshold, LogarithmicThreshold, MixtureThreshold, PolynomialThreshold, LogisticThreshold
]  # fmt: skip
RULES = [*(rule() for rule in SELF_PACED), SuperLoss(), Focal(), GeneralisedCrossEntropy(), Truncated()]
RULES += [Gaussian(), Mentor()]
LOSSES = np.random.default_rng(0).gamma(2.0, 2.0, (12, 5)).astype(np.float32)
COUNTS = np.random.default_rng(1).random((12, 5)) < 0.8


def seen(losses=LOSSES, counts=COUNTS, progress=0.2):
    losses, counts = jnp.asarray(losses, jnp.float32), jnp.asarray(counts)
    return Seen.of(losses, counts, progress=jnp.float32(progress), axis_name=None)


def penalty(rule, v, threshold):
    """The regulariser whose minimiser the closed form is, and the factor by which losses are scaled for it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        match rule:
            case HardThreshold():
                return -threshold * v, 1.0
            case LinearThreshold():
                return threshold * (v**2 / 2 - v), 1.0
            case LogarithmicThreshold(half=half):
                z = 1 - half
                return z * v - z**v / np.log(z), half / threshold
            case MixtureThreshold(lower=lower):
                z = threshold * lower * threshold / (threshold - lower * threshold)
                return -z * np.log(v + z / threshold), 1.0
            case PolynomialThreshold(power=power):
                return threshold * (v**power / power - v), 1.0
            case LogisticThreshold():
                c = 1 + np.exp(-threshold)
                entropy = np.where(v > 0, v * np.log(np.maximum(v, 1e-300)), 0)
                return (c - v) * np.log(c - v) + entropy - threshold * v, 1.0


@pytest.mark.parametrize("rule", [rule() for rule in SELF_PACED] + [PolynomialThreshold(power=1.5)], ids=str)
@pytest.mark.parametrize("threshold", [0.3, 2.0])
def test_closed_forms_minimise_what_they_say(rule, threshold):
    grid = np.linspace(0, 1, 200_001)
    for loss in np.linspace(0.01, 2.5 * threshold, 23):
        regulariser, scale = penalty(rule, grid, threshold)
        best = grid[np.argmin(grid * loss * scale + regulariser)]
        weight = rule.weight(jnp.float32(loss), jnp.float32(threshold))
        assert float(weight) == pytest.approx(best, abs=2e-5), loss


@pytest.mark.parametrize("rule", [rule() for rule in SELF_PACED], ids=str)
def test_self_paced_weights_fall_with_the_loss_and_all_are_one_in_the_end(rule):
    weight, memory = rule(seen(), {})
    order = np.argsort(LOSSES.ravel())
    assert memory == {}
    assert (np.diff(np.asarray(weight).ravel()[order]) <= 1e-6).all()
    assert 0 <= weight.min() < weight.max() <= 1
    np.testing.assert_array_equal(rule(seen(progress=0.5), {})[0], 1)


def test_the_polynomial_is_a_root():
    """CurBench computes (1 - l / threshold) / (power - 1): .25 where .707 is meant."""
    weight = PolynomialThreshold(power=3.0).weight(jnp.float32(0.5), jnp.float32(1.0))
    assert float(weight) == pytest.approx(math.sqrt(0.5), abs=1e-6)


def test_the_logarithm_holds_for_any_threshold():
    """CurBench gives NaN for every threshold from 1 on."""
    weight = LogarithmicThreshold().weight(jnp.linspace(0, 4, 9), jnp.float32(2.0))
    assert np.isfinite(weight).all()
    assert float(weight[0]) == pytest.approx(1)
    np.testing.assert_array_equal(weight[4:], 0)


@pytest.mark.parametrize("share", [0.1, 0.25, 1.0])
def test_a_share_of_what_counts_lies_below_the_threshold(share):
    weight, _ = HardThreshold(start=share)(seen(progress=0.0), {})
    n = COUNTS.sum()
    assert np.asarray(weight)[COUNTS].sum() == math.ceil(share * n - 1e-4)


def test_lambert_w_equals_scipys():
    x = np.concatenate([-1 / np.e + np.logspace(-6, -1, 40), np.linspace(-0.3, 5, 60), np.logspace(0, 6, 30)])
    np.testing.assert_allclose(lambert_w(jnp.asarray(x, jnp.float32)), lambertw(x).real, rtol=2e-5, atol=2e-4)


def test_super_loss_minimises_what_it_says_and_starts_at_the_batch_mean():
    rule = SuperLoss(scale=0.7)
    weight, memory = rule(seen(), rule.begin())
    tau = LOSSES[COUNTS].mean()
    assert float(memory["mean"] / memory["share"]) == pytest.approx(tau, rel=1e-5)
    grid = np.linspace(1e-4, np.e, 400_000)
    beta = (LOSSES - tau) / 0.7
    for sigma, b, loss in zip(np.asarray(weight).ravel(), beta.ravel(), LOSSES.ravel(), strict=True):
        if b > -2 / np.e + 0.05:
            best = grid[np.argmin((loss - tau) * grid + 0.7 * np.log(grid) ** 2)]
            assert sigma == pytest.approx(best, abs=2e-4)
    assert weight.max() <= np.e + 1e-3
    at_tau, _ = rule(seen(np.full((2, 2), tau), np.ones((2, 2), bool)), rule.begin())
    np.testing.assert_allclose(at_tau, 1, atol=1e-5)
    assert (np.sign(np.log(np.asarray(weight))) == -np.sign(LOSSES - tau)).all()


def test_super_loss_remembers_a_running_mean():
    rule = SuperLoss(decay=0.9)
    memory, expected, share = rule.begin(), 0.0, 0.0
    for number in range(4):
        _, memory = rule(seen(LOSSES + number), memory)
        expected, share = 0.9 * expected + 0.1 * (LOSSES + number)[COUNTS].mean(), 0.9 * share + 0.1
    assert float(memory["mean"] / memory["share"]) == pytest.approx(expected / share, rel=1e-5)


@pytest.mark.parametrize("progress", [0.0, 0.1, 0.25, 0.5, 0.9])
def test_truncation_leaves_exactly_its_share_of_the_targets_out(progress):
    rule = Truncated(max_rate=0.3)
    weight = np.asarray(rule(seen(progress=progress), {})[0])
    n_dropped = math.floor(0.3 * min(1, progress / 0.5) * COUNTS.sum() + 1e-4)
    dropped = COUNTS & (weight == 0)
    assert dropped.sum() == n_dropped
    assert LOSSES[dropped].min(initial=np.inf) >= LOSSES[COUNTS & (weight == 1)].max()
    assert set(np.unique(weight)) <= {0, 1}


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_rate_of_truncation_never_jumps_nor_falls(power):
    """ADT's schedule ends at rate^power and then jumps to the rate: .04 to .2 for power 2."""
    rates = np.asarray(jax.vmap(Truncated(max_rate=0.2, power=power).rate)(jnp.linspace(0, 1, 1001)))
    assert (np.diff(rates) >= 0).all()
    assert np.diff(rates)[50:].max() < 0.005
    assert rates[-1] == pytest.approx(0.2)


def test_focal_and_generalised_cross_entropy_by_hand():
    p = np.exp(-LOSSES)
    np.testing.assert_allclose(Focal(gamma=2.0)(seen(), {})[0], (1 - p) ** 2, rtol=1e-5)
    np.testing.assert_allclose(GeneralisedCrossEntropy(q=0.7)(seen(), {})[0], p**0.7, rtol=1e-5)
    slope = jax.vmap(jax.grad(lambda loss: (1 - jnp.exp(-loss) ** 0.7) / 0.7))(jnp.asarray(LOSSES.ravel()))
    np.testing.assert_allclose(p.ravel() ** 0.7, slope, rtol=1e-4)


def test_gaussian_weights_by_hand_grow_milder_round_by_round():
    p, rule = np.exp(-LOSSES), Gaussian(sharpness=10.0, factor=0.4, rounds=5)
    assert rule.normalise == "weight"
    for progress, tau in [(0.0, 10), (0.19, 10), (0.2, 4), (0.5, 1.6), (0.99, 10 * 0.4**4), (1.0, 10 * 0.4**4)]:
        weight = rule(seen(progress=progress), {})[0]
        np.testing.assert_allclose(weight, np.exp(-tau * (1 - p) ** 2), rtol=1e-4)


def test_a_mentor_weighs_all_then_the_easy_ones_and_softens_in_the_end():
    rule, memory, running, share = Mentor(decay=0.5, slope=2.0), Mentor().begin(), 0.0, 0.0
    for progress in (0.0, 0.17, 0.18, 0.5, 0.89, 0.9, 1.0):
        losses = LOSSES + progress
        weight, memory = rule(seen(losses, progress=progress), memory)
        ordered = np.sort(losses[COUNTS])
        running = 0.5 * running + 0.5 * ordered[math.ceil(0.75 * len(ordered) - 1e-4) - 1]
        share = 0.5 * share + 0.5
        beyond = losses - running / share
        np.testing.assert_allclose(memory["mean"] / memory["share"], running / share, rtol=1e-5)
        sharp = np.abs(beyond) > 1e-4
        if progress < 0.18:
            np.testing.assert_array_equal(weight, 1)
        elif progress < 0.9:
            np.testing.assert_array_equal(np.asarray(weight)[sharp], (beyond <= 0)[sharp])
        else:
            np.testing.assert_allclose(weight, np.clip(1 - beyond / 2, 0, 1), atol=1e-5)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_weights_on_several_devices_are_those_on_one(rule):
    alone, memory = rule(seen(), rule.begin())

    def on_device(losses, counts):
        part = Seen.of(losses, counts, progress=jnp.float32(0.2), axis_name="data")
        return rule(part, rule.begin())

    spread, spread_memory = jax.vmap(on_device, axis_name="data")(
        jnp.asarray(LOSSES.reshape(4, 3, 5)), jnp.asarray(COUNTS.reshape(4, 3, 5))
    )
    np.testing.assert_allclose(spread.reshape(12, 5), alone, rtol=1e-6)
    for name, value in memory.items():
        np.testing.assert_allclose(spread_memory[name], np.full(4, value), rtol=1e-6)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_weights_are_finite_without_anything_that_counts(rule):
    weight, memory = rule(seen(counts=np.zeros_like(COUNTS)), rule.begin())
    assert np.isfinite(weight).all()
    assert all(np.isfinite(value).all() for value in memory.values())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        *[(lambda rule=rule: rule(start=0.0), "start=0") for rule in SELF_PACED],
        (lambda: HardThreshold(full_at=0.0), "full_at=0"),
        (lambda: LogarithmicThreshold(half=1.0), "half=1"),
        (lambda: MixtureThreshold(lower=1.0), "lower=1"),
        (lambda: PolynomialThreshold(power=1.0), "power=1"),
        (lambda: SuperLoss(scale=0.0), "scale=0"),
        (lambda: SuperLoss(decay=1.0), "decay=1"),
        (lambda: Focal(gamma=-1.0), "gamma=-1"),
        (lambda: GeneralisedCrossEntropy(q=1.0), "q=1"),
        (lambda: Gaussian(sharpness=-1.0), "sharpness=-1"),
        (lambda: Gaussian(factor=0.0), "factor=0"),
        (lambda: Gaussian(rounds=0), "rounds=0"),
        (lambda: Mentor(share=0.0), "share=0"),
        (lambda: Mentor(decay=1.0), "decay=1"),
        (lambda: Mentor(slope=0.0), "slope=0"),
        (lambda: Mentor(burn_in=-0.1), "burn_in=-0.1"),
        (lambda: Mentor(hard_until=1.1), "hard_until=1.1"),
        (lambda: Truncated(max_rate=1.0), "max_rate=1"),
        (lambda: Truncated(power=math.nan), "power=nan"),
        (lambda: Focal(normalise="none"), "normalise=none"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
