"""Off-policy estimates in a world whose true policy values are known, by hand, and against enumeration."""

from dataclasses import replace

import numpy as np
import pytest

from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.evaluation.off_policy import (
    Feedback,
    Overlap,
    clipped_ips,
    direct,
    doubly_robust,
    estimates,
    ips,
    logged_mean,
    replay,
    self_normalised_ips,
)

RNG = np.random.default_rng(0)
REWARD = RNG.uniform(0.2, 0.8, (4, 5))  # of 4 contexts and 5 items
LOGGING, POLICY = (np.exp(RNG.normal(0, scale, (4, 5))) for scale in (0.7, 1.2))
LOGGING, POLICY = (each / each.sum(axis=1, keepdims=True) for each in (LOGGING, POLICY))
TRUTH = float((POLICY * REWARD).sum(axis=1).mean())
N_USERS, ROWS = 60, 5


def draw(rng, probabilities):
    return (probabilities.cumsum(axis=1) > rng.random((len(probabilities), 1))).argmax(axis=1)


def logged(seed, *, model=REWARD, logging=LOGGING, policy=POLICY):
    """A log of users who each ask five times, and are all a little more or less pleased than others."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(N_USERS), ROWS)
    context, mood = rng.integers(0, 4, len(user)), rng.uniform(-0.2, 0.2, N_USERS)[user]
    item = draw(rng, logging[context])
    reward = (rng.random(len(user)) < REWARD[context, item] + mood).astype(float)
    predicted = None if model is None else model[context, item]
    expected = None if model is None else (policy * model).sum(axis=1)[context]
    return Feedback(user, reward, logging[context, item], policy[context, item], predicted, expected)


@pytest.fixture(scope="module")
def values():
    """What 1,500 logs say, by every method."""
    methods = {
        "logged": logged_mean,
        "ips": ips,
        "self_normalised_ips": self_normalised_ips,
        "clipped_ips": lambda log: clipped_ips(log, 2.0),
        "doubly_robust": doubly_robust,
        "mismatched": lambda log: doubly_robust(replace(log, predicted=log.predicted * 0 + 2, expected=log.expected)),
        "constant": lambda log: doubly_robust(logged_with(log, np.full_like(REWARD, 0.9))),
    }
    logs = [logged(seed) for seed in range(1500)]
    found = {name: np.array([method(log).value for log in logs]) for name, method in methods.items()}
    return found | {"replay": np.array([replay(log, seed=seed).value for seed, log in enumerate(logs)])}


def logged_with(log, model):
    """A model that says the same of every item."""
    return replace(log, predicted=np.full_like(log.reward, model[0, 0]), expected=np.full_like(log.reward, model[0, 0]))


@pytest.mark.parametrize("name", ["ips", "doubly_robust", "constant", "replay"])
def test_estimates_are_unbiased(values, name):
    error = values[name].std() / np.sqrt(len(values[name]))
    assert values[name].mean() == pytest.approx(TRUTH, abs=4 * error)
    assert error < 0.003


def test_what_is_biased_is_so_in_the_known_direction(values):
    assert values["clipped_ips"].mean() < TRUTH - 0.02
    assert abs(values["logged"].mean() - TRUTH) > 0.02
    # A model whose mean over the policy does not belong to what it foretells is no model.
    assert abs(values["mismatched"].mean() - TRUTH) > 0.5


def test_variances_are_in_the_known_order(values):
    spread = {name: each.std() for name, each in values.items()}
    assert spread["self_normalised_ips"] < 0.9 * spread["ips"]
    assert spread["doubly_robust"] < 0.97 * spread["self_normalised_ips"]
    assert spread["replay"] > spread["self_normalised_ips"]
    assert values["self_normalised_ips"].mean() == pytest.approx(TRUTH, abs=0.01)


def test_intervals_hold_the_truth():
    held, n = dict.fromkeys(["ips", "self_normalised_ips", "doubly_robust", "replay"], 0), 200
    for seed in range(n):
        found = estimates(logged(seed), resamples=300, seed=seed)
        for name in held:
            held[name] += found[name].low <= TRUTH <= found[name].high
    assert min(held.values()) >= 0.90 * n, held
    assert held["ips"] <= 0.99 * n


def test_rows_of_a_user_are_no_users():
    log = logged(3)
    many = replace(log, **{name: np.tile(each, 20) for name, each in vars(log).items()})
    once, often = estimates(log)["ips"], estimates(many)["ips"]
    assert often.value == pytest.approx(once.value)
    assert (often.low, often.high) == pytest.approx((once.low, once.high))  # nobody new was asked


def test_replay_of_a_uniform_log_keeps_what_both_chose():
    rng, n = np.random.default_rng(5), 400
    chosen, shown = rng.integers(0, 5, n), rng.integers(0, 5, n)
    log = Feedback(np.arange(n), rng.random(n), np.full(n, 0.2), (chosen == shown).astype(float))
    assert replay(log, seed=1).value == pytest.approx(log.reward[chosen == shown].mean())
    assert replay(log, seed=2).denominator.tolist() == (chosen == shown).tolist()
    assert self_normalised_ips(log).value == pytest.approx(replay(log).value)


def test_by_hand():
    log = Feedback(
        user=np.array([1, 1, 2]),
        reward=np.array([1.0, 0.0, 2.0]),
        propensity=np.array([0.5, 0.25, 0.1]),
        probability=np.array([0.25, 0.25, 0.8]),
        predicted=np.array([0.5, 0.5, 1.0]),
        expected=np.array([0.7, 0.2, 0.9]),
    )  # weights 1/2, 1, 8
    assert ips(log).value == pytest.approx((0.5 + 0 + 16) / 3)
    assert self_normalised_ips(log).value == pytest.approx(16.5 / 9.5)
    assert clipped_ips(log, 2.0).value == pytest.approx((0.5 + 4) / 3)
    assert clipped_ips(log).value == pytest.approx((0.5 + 2 * np.sqrt(3)) / 3)
    assert direct(log).value == pytest.approx(1.8 / 3)
    assert doubly_robust(log).value == pytest.approx((0.7 + 0.25 + 0.2 - 0.5 + 0.9 + 8) / 3)
    overlap = Overlap.of(log, np.array([0.0, 0.3, 0.0]))
    assert (overlap.users, overlap.matched, overlap.max_weight) == (2, 1, pytest.approx(8))
    assert overlap.effective_rows == pytest.approx(9.5**2 / 65.25)
    assert overlap.unsupported == pytest.approx(0.1)


def test_the_logging_policy_itself_is_worth_its_mean():
    log = logged(7, policy=LOGGING)
    found = estimates(log)
    for name in ("ips", "clipped_ips", "self_normalised_ips", "replay"):
        assert found[name].value == pytest.approx(log.reward.mean())
    assert Overlap.of(log).effective_rows == pytest.approx(len(log.reward))
    assert Overlap.of(log).doubts() == []


def test_doubts():
    assert Overlap.of(logged(1)).doubts() == []
    log = logged(1)
    few = replace(log, probability=np.where(np.arange(300) < 10, log.propensity, 0))
    sentences = " ".join(Overlap.of(few, 0.5).doubts())
    assert "50.0% of the policy's probability" in sentences
    assert "tell as much as 10.0" in sentences
    assert "mean is 0.033 where 1 was expected" in sentences
    halved = replace(log, propensity=log.propensity / 2)
    assert "mean is" in " ".join(Overlap.of(halved).doubts())


def test_one_user_has_no_interval():
    log = replace(logged(1), user=np.zeros(N_USERS * ROWS, int))
    assert estimates(log)["ips"].low is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"propensity": np.zeros(300)}, r"each must lie in \(0, 1\]"),
        ({"propensity": np.full(300, 1.5)}, r"each must lie in \(0, 1\]"),
        ({"probability": np.full(300, 1.5)}, r"must lie in \[0, 1\]"),
        ({"reward": np.full(300, np.nan)}, "reward is not a finite number in 300 rows"),
        ({"reward": np.ones(3)}, "columns of one length"),
        ({"probability": np.zeros(300)}, "shows none of the logged items"),
        ({"predicted": None}, "give both, or none"),
    ],
)
def test_mistakes(change, sentence):
    with pytest.raises((DataError, OptionError), match=sentence):
        estimates(replace(logged(0), **change))


def test_estimates_without_a_model():
    log = logged(0, model=None)
    assert list(estimates(log, resamples=50)) == ["logged", "replay", "ips", "clipped_ips", "self_normalised_ips"]
    with pytest.raises(OptionError, match="needs a reward model"):
        doubly_robust(log)
    with pytest.raises(OptionError, match="clip=0"):
        estimates(log, clip=0)
