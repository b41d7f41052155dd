import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from curriculum_rec.data.examples import Bucket, Examples
from curriculum_rec.errors import OptionError
from curriculum_rec.weighting import DiverseThreshold, GroupRobust, HardThreshold, InversePropensity, Seen
from curriculum_rec.weighting.contract import FACT, with_facts
from curriculum_rec.weighting.groups import GROUP, PROPENSITY, REFERENCE, popularity_groups, rank_in_group

N = 60
RNG = np.random.default_rng(0)
LOSSES = RNG.gamma(2.0, 2.0, N).astype(np.float32)
COUNTS = RNG.random(N) < 0.8
GROUPS = RNG.integers(0, 4, N).astype(np.int32)


def seen(losses=LOSSES, counts=COUNTS, group=GROUPS, progress=0.1, **facts):
    losses, counts = jnp.asarray(losses, jnp.float32), jnp.asarray(counts)
    facts = {GROUP: jnp.asarray(group, jnp.int32)} | {name: jnp.asarray(fact) for name, fact in facts.items()}
    return Seen.of(losses, counts, progress=jnp.float32(progress), axis_name=None, facts=facts)


def test_groups_hold_about_as_many_targets_each_and_keep_items_together(tiny_examples):
    group = popularity_groups(tiny_examples, 4)
    counts = tiny_examples.item_counts[tiny_examples.targets]
    assert (np.diff(group[np.argsort(counts, kind="stable")]) >= 0).all()  # rarest first
    for item in np.unique(tiny_examples.targets):
        assert len(set(group[tiny_examples.targets == item])) == 1
    heaviest = max((counts == c).sum() for c in np.unique(counts))
    assert abs(np.bincount(group, minlength=4) - len(group) / 4).max() <= heaviest


def test_groups_without_item_counts_take_those_of_the_targets(tiny_examples):
    own = Examples(tiny_examples.buckets, np.bincount(tiny_examples.targets))
    np.testing.assert_array_equal(popularity_groups(Examples(tiny_examples.buckets), 5), popularity_groups(own, 5))


def test_a_rule_is_told_of_the_very_target_whose_loss_it_weighs(tiny_examples):
    """BOD gives its weight generator (user, user) where (user, item) is meant."""
    told = with_facts(tiny_examples, InversePropensity(power=1.0, max_weight=1e9))
    assert told.batches_per_epoch == tiny_examples.batches_per_epoch
    for bucket, plain in zip(told.buckets, tiny_examples.buckets, strict=True):
        target, fact = bucket.arrays["target"], bucket.arrays[f"{FACT}{PROPENSITY}"]
        np.testing.assert_array_equal(target, plain.arrays["target"])
        most = tiny_examples.item_counts[tiny_examples.targets].max()
        expected = most / np.maximum(tiny_examples.item_counts[target], 1)
        np.testing.assert_allclose(fact[target > 0], expected[target > 0], rtol=1e-6)
        assert (fact[target == 0] == 0).all()


def test_ranks_inside_groups_by_hand():
    losses, group = jnp.array([3.0, 1.0, 2.0, 1.0, 5.0]), jnp.array([0, 1, 0, 1, 0])
    np.testing.assert_array_equal(rank_in_group(losses, group, 2), [1, 0, 0, 1, 2])


@pytest.mark.parametrize("diversity", [0.5, 1.0, 3.0])
def test_diverse_weights_minimise_what_they_say(diversity):
    rule = DiverseThreshold(start=0.3, diversity=diversity, groups=3)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        losses, group = rng.gamma(2.0, 2.0, 9).astype(np.float32), rng.integers(0, 3, 9)
        batch = seen(losses, np.ones(9, bool), group, progress=0.0)
        threshold = float(rule.threshold(batch)[1])

        def cost(v, losses=losses, group=group, threshold=threshold):
            norms = sum(np.sqrt((v[group == g] ** 2).sum()) for g in range(3))
            return (v * losses).sum() - threshold * v.sum() - diversity * threshold * norms

        best = min(cost(np.array(v)) for v in itertools.product([0.0, 1.0], repeat=9))
        weight = np.asarray(rule(batch, {})[0])
        assert cost(weight) == pytest.approx(best, abs=1e-4)
        inside = rng.random((200, 9))
        assert min(map(cost, inside)) >= cost(weight) - 1e-4  # no weights between 0 and 1 are better


def test_without_diversity_the_threshold_is_the_hard_one_and_with_it_no_group_is_left_out():
    plain = HardThreshold(start=0.2)(seen(), {})[0]
    np.testing.assert_array_equal(DiverseThreshold(start=0.2, diversity=0.0, groups=4)(seen(), {})[0], plain)
    losses = np.where(GROUPS == 3, 3.0, 1.0) + 0.001 * np.arange(N)
    rule = DiverseThreshold(start=0.2, diversity=2.5, groups=4)
    weight = np.asarray(rule(seen(losses), {})[0])
    hard = COUNTS & (GROUPS == 3)
    # The first of a group is below 1 + 2.5 thresholds, the second below 1 + 2.5 / (sqrt 2 + 1), about 2.
    assert (weight[hard].sum(), weight[hard][0]) == (1, 1)
    assert np.asarray(HardThreshold(start=0.2)(seen(losses), {})[0])[hard].sum() == 0
    np.testing.assert_array_equal(rule(seen(losses, progress=0.5), {})[0], 1)


def test_group_shares_sum_to_one_stay_above_the_floor_and_follow_the_worst_group():
    rule = GroupRobust(step_size=1.0, floor=0.02, groups=4)
    memory, losses = rule.begin(), LOSSES + 4.0 * (GROUPS == 2)
    expected = np.full(4, 0.25)
    for _ in range(6):
        _, memory = rule(seen(losses), memory)
        means = np.array([losses[COUNTS & (g == GROUPS)].mean() for g in range(4)])
        expected = expected * np.exp(means)
        expected = 0.98 * expected / expected.sum() + 0.02 / 4
        np.testing.assert_allclose(memory["share"], expected, rtol=1e-4)
        assert float(memory["share"].sum()) == pytest.approx(1, abs=1e-6)
        assert memory["share"].min() >= 0.02 / 4 - 1e-7
    assert int(memory["share"].argmax()) == 2


def test_the_weighted_mean_of_a_batch_is_that_of_its_groups_means():
    rule = GroupRobust(step_size=0.5, groups=4)
    weight, memory = rule(seen(), rule.begin())
    means = np.array([LOSSES[COUNTS & (g == GROUPS)].mean() for g in range(4)])
    weighted = (np.asarray(weight) * LOSSES)[COUNTS].sum() / COUNTS.sum()
    assert weighted == pytest.approx((np.asarray(memory["share"]) * means).sum(), rel=1e-5)


def test_a_reference_turns_losses_into_what_exceeds_it_and_an_absent_group_keeps_its_excess():
    rule = GroupRobust(step_size=1.0, floor=0.0, groups=3)
    reference = LOSSES - np.where(RNG.random(N) < 0.5, 1.0, -1.0).astype(np.float32)
    group = GROUPS % 2  # group 2 is absent
    memory = rule.begin() | {"excess": jnp.array([0.0, 0.0, 0.7])}
    _, after = rule(seen(group=group, **{REFERENCE: reference}), memory)
    excess = [np.maximum(LOSSES - reference, 0)[COUNTS & (group == g)].mean() for g in range(2)]
    np.testing.assert_allclose(after["excess"], [*excess, 0.7], rtol=1e-5)
    np.testing.assert_allclose(after["share"], np.exp(after["excess"]) / np.exp(after["excess"]).sum(), rtol=1e-5)


def test_inverse_propensity_by_hand():
    target = np.array([[1, 2], [1, 3]], np.int32)
    examples = Examples(
        (Bucket({"history": target, "target": target}, np.arange(2, dtype=np.int32), 8),), np.array([0, 16, 4, 1])
    )
    facts = InversePropensity(power=0.5, max_weight=3.0).facts(examples)
    np.testing.assert_allclose(facts[PROPENSITY], [1, 2, 1, 3])
    np.testing.assert_array_equal(InversePropensity(power=0.0).facts(examples)[PROPENSITY], 1)


@pytest.mark.parametrize("rule", [DiverseThreshold(groups=4), GroupRobust(groups=4)], ids=str)
def test_weights_on_several_devices_are_those_on_one(rule):
    alone, memory = rule(seen(), rule.begin())

    def on_device(losses, counts, group):
        part = Seen.of(losses, counts, progress=jnp.float32(0.1), axis_name="data", facts={GROUP: group})
        return rule(part, rule.begin())

    parts = [jnp.asarray(array).reshape(4, -1) for array in (LOSSES, COUNTS, GROUPS)]
    spread, spread_memory = jax.vmap(on_device, axis_name="data")(*parts)
    np.testing.assert_allclose(spread.reshape(-1), alone, rtol=1e-6)
    for name, value in memory.items():
        np.testing.assert_allclose(spread_memory[name], np.tile(value, (4, 1)), rtol=1e-6)


def test_rules_for_target_items_refuse_examples_without():
    examples = Examples.from_arrays({"x": np.zeros(8)}, batch_size=8)
    for rule in (DiverseThreshold(), GroupRobust(), InversePropensity()):
        with pytest.raises(OptionError, match="no 'target' sequences"):
            rule.facts(examples)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DiverseThreshold(diversity=-1.0), "diversity=-1"),
        (lambda: DiverseThreshold(groups=1), "groups=1"),
        (lambda: GroupRobust(step_size=-1.0), "step_size=-1"),
        (lambda: GroupRobust(floor=1.1), "floor=1.1"),
        (lambda: GroupRobust(groups=0), "groups=0"),
        (lambda: InversePropensity(power=math.nan), "power=nan"),
        (lambda: InversePropensity(max_weight=0.5), "max_weight=0.5"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
