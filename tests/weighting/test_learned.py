import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from curriculum_rec.data.examples import Examples
from curriculum_rec.errors import OptionError
from curriculum_rec.weighting import LearnToReweight, MetaWeightNet, Screener, Seen
from curriculum_rec.weighting.learned import BEARING, PLACE, RARITY

N = 40
RNG = np.random.default_rng(0)
LOSSES = RNG.gamma(2.0, 2.0, N).astype(np.float32)
COUNTS = RNG.random(N) < 0.8
HELPS = RNG.standard_normal(N).astype(np.float32)


def seen(losses=LOSSES, counts=COUNTS, axis_name=None, **facts):
    return Seen.of(
        jnp.asarray(losses, jnp.float32),
        jnp.asarray(counts),
        progress=jnp.float32(0.1),
        axis_name=axis_name,
        facts={name: jnp.asarray(fact, jnp.float32) for name, fact in facts.items()},
    )


def test_what_helps_the_meta_split_weighs_in_proportion_and_the_sum_is_one():
    weight, _ = LearnToReweight()(seen(**{BEARING: HELPS}), {})
    expected = np.where(COUNTS, np.maximum(HELPS, 0), 0)
    np.testing.assert_allclose(weight, expected / expected.sum(), rtol=1e-5)
    assert float(weight.sum()) == pytest.approx(1, abs=1e-6)
    twice = seen(np.tile(LOSSES, 2), np.tile(COUNTS, 2), **{BEARING: np.tile(HELPS, 2)})
    np.testing.assert_allclose(LearnToReweight()(twice, {})[0], np.tile(weight, 2) / 2, rtol=1e-5)
    np.testing.assert_array_equal(LearnToReweight()(seen(**{BEARING: -np.abs(HELPS)}), {})[0], 0)


def test_the_network_is_what_its_parameters_say():
    rule = MetaWeightNet(hidden=5, seed=3)
    memory = rule.begin()
    (a, kernel_a), (b, kernel_b) = ((memory[f"leaf_{number:02}"], memory[f"leaf_{number + 1:02}"]) for number in (0, 2))
    hidden = np.maximum(LOSSES[:, None] @ np.asarray(kernel_a) + np.asarray(a), 0)
    expected = 1 / (1 + np.exp(-(hidden @ np.asarray(kernel_b) + np.asarray(b))[:, 0]))
    np.testing.assert_allclose(rule.preview(seen(), memory), expected, rtol=1e-5)
    assert np.abs(kernel_b).max() <= 1 / np.sqrt(5)
    other = MetaWeightNet(hidden=5, seed=4).begin()
    assert (np.asarray(other["leaf_01"]) != np.asarray(kernel_a)).any()


def test_the_meta_network_learns_to_weigh_what_helps():
    """Losses above 4 hurt the meta split, those below help it."""
    rule = MetaWeightNet(hidden=16, learning_rate=0.02, virtual_rate=1.0)
    batch = seen(**{BEARING: np.where(LOSSES > 4, -1.0, 1.0)})
    memory = jax.lax.fori_loop(0, 300, lambda _, memory: rule(batch, memory)[1], rule.begin())
    weight = np.asarray(rule.preview(batch, memory))
    assert weight[LOSSES < 3.5].min() > 0.8
    assert weight[LOSSES > 4.5].max() < 0.2


def test_the_screener_finds_the_weights_that_minimise_its_loss():
    """Those are 1 for losses above the margin, and l / margin below it."""
    rarity = np.repeat([0.0, 0.5, 1.0], 12)
    losses = np.repeat([0.0, 0.5, 3.0], 12)
    batch = seen(losses, np.ones(36, bool), **{RARITY: rarity, PLACE: np.tile(np.arange(12) / 12, 3)})
    rule = Screener(margin=1.0, hidden=16, learning_rate=0.02)
    before = np.asarray(rule(batch, rule.begin())[0])
    assert (before > 0).all() and (before < 1).all()
    memory = jax.lax.fori_loop(0, 600, lambda _, memory: rule(batch, memory)[1], rule.begin())
    weight = np.asarray(rule(batch, memory)[0]).reshape(3, 12)
    np.testing.assert_allclose(weight.mean(axis=1), [0, 0.5, 1], atol=0.06)


def test_the_screener_knows_rarity_and_place(tiny_examples):
    facts = Screener().facts(tiny_examples)
    counts = tiny_examples.item_counts[tiny_examples.targets]
    assert facts[RARITY][counts.argmax()] == 0
    assert (np.diff(facts[RARITY][np.argsort(counts)]) <= 0).all()
    begins = tiny_examples.target_offsets[:-1]
    np.testing.assert_array_equal(facts[PLACE][begins], 0)
    assert (facts[PLACE] >= 0).all() and (facts[PLACE] < 1).all()
    with pytest.raises(OptionError, match="no 'target' sequences"):
        Screener().facts(Examples.from_arrays({"x": np.zeros(3)}, batch_size=8))


@pytest.mark.parametrize("rule", [LearnToReweight(), MetaWeightNet(hidden=4), Screener(hidden=4)], ids=str)
def test_weights_on_several_devices_are_those_on_one(rule):
    facts = {BEARING: HELPS, RARITY: RNG.random(N), PLACE: RNG.random(N)}
    alone, memory = rule(seen(**facts), rule.begin())

    def on_device(losses, counts, facts):
        return rule(seen(losses, counts, "data", **facts), rule.begin())

    parts = jax.tree.map(lambda leaf: jnp.asarray(leaf).reshape(4, -1), (LOSSES, COUNTS, facts))
    spread, spread_memory = jax.vmap(on_device, axis_name="data")(*parts)
    np.testing.assert_allclose(spread.reshape(-1), alone, rtol=1e-5, atol=1e-7)
    for name, value in memory.items():
        np.testing.assert_allclose(spread_memory[name][0], value, rtol=1e-4, atol=1e-6)


def test_the_networks_optimizer_is_adam_with_the_decay_in_its_gradient():
    network, x = MetaWeightNet(hidden=3, weight_decay=0.5).network, jnp.asarray(LOSSES)[:, None]
    memory = network.begin()
    after = network.learn(memory, x, lambda weight: 0.0 * weight.sum())
    for number in range(4):
        before = memory[f"leaf_{number:02}"]
        optimizer = optax.adam(1e-3)
        updates, _ = optimizer.update(0.5 * before, optimizer.init(before))
        np.testing.assert_allclose(after[f"leaf_{number:02}"], before + updates, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LearnToReweight(meta_share=1.0), "meta_share=1"),
        (lambda: LearnToReweight(meta_batch=0), "meta_batch=0"),
        (lambda: MetaWeightNet(hidden=0), "hidden=0"),
        (lambda: MetaWeightNet(learning_rate=0.0), "learning_rate=0"),
        (lambda: MetaWeightNet(virtual_rate=0.0), "virtual_rate=0"),
        (lambda: Screener(margin=0.0), "margin=0"),
        (lambda: Screener(weight_decay=-1.0), "weight_decay=-1"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
