"""Negatives whose probabilities do not come from scores of the step, and what they remember."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.stats import chisquare

from curriculum_rec.data.examples import SequenceExamples
from curriculum_rec.errors import OptionError
from curriculum_rec.models import DNN, SASRec
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.negatives import CachedHard, InBatch, Popularity, Uniform
from curriculum_rec.negatives.cached import hard_lists
from curriculum_rec.negatives.contract import Asked
from curriculum_rec.negatives.known import FILL, is_known, known_items

N_ITEMS = 12
COUNTS = np.array([0, 40, 0, 7, 1, 1, 20, 3, 3, 100, 9, 2, 1])


def rng_for(rows, seed=0):
    return BatchRng.for_rows(jax.random.key(seed), jnp.arange(rows, dtype=jnp.int32))


def sequences(rows=8, length=6, n_items=N_ITEMS, seed=0, **fields):
    """Random sequences, some shorter than others."""
    rng = np.random.default_rng(seed)
    items = rng.integers(1, n_items + 1, (rows, length + 1)).astype(np.int32)
    present = np.arange(length) < rng.integers(1, length + 1, rows)[:, None]
    arrays = {"history": jnp.asarray(items[:, :-1] * present), "target": jnp.asarray(items[:, 1:] * present)}
    return Batch(arrays, jnp.ones(rows), **fields)


@pytest.mark.parametrize("length", [1, 2, 7, 8])
def test_membership_is_that_of_sets(length):
    rng = np.random.default_rng(length)
    known = np.sort(rng.integers(1, 30, (5, length)).astype(np.int32), axis=1)
    known[2, length // 2 :] = FILL
    items = rng.integers(1, 32, (5, 4, 3)).astype(np.int32)
    expected = [
        [[item in set(row) for item in line] for line in lines] for row, lines in zip(known, items, strict=True)
    ]
    np.testing.assert_array_equal(is_known(jnp.asarray(known), jnp.asarray(items)), expected)


def test_the_whole_training_history_is_known_and_no_later_item(tiny_split):
    examples = SequenceExamples(max_length=3, bucket_lengths=(2,), positions_per_batch=24)(tiny_split)
    assert all("positives" not in bucket.arrays for bucket in examples.buckets)
    items, offsets = tiny_split.training()
    users = np.flatnonzero(np.diff(offsets) >= 2)
    longer = 0
    for bucket in examples.with_positives().buckets:
        for row, example in enumerate(bucket.example):
            history = items[offsets[users[example]] : offsets[users[example] + 1]]
            positives = bucket.arrays["positives"][row]
            assert positives.tolist() == sorted(history) + [FILL] * (len(positives) - len(history))
            longer += len(history) > bucket.arrays["target"].shape[1] + 1
    assert longer > 5
    again = examples.with_positives()
    assert again.with_positives() is again


def test_without_whole_histories_an_example_knows_its_own_items():
    batch = sequences()
    for row, known in enumerate(np.asarray(known_items(batch))):
        own = {*np.asarray(batch["history"][row]).tolist(), *np.asarray(batch["target"][row]).tolist()} - {0}
        assert set(known) - {FILL} == own
        assert (np.diff(known) >= 0).all()


@pytest.mark.parametrize(("progress", "beta"), [(0.0, 0.0), (0.25, 0.5), (1.0, 1.0)])
def test_popularity_draws_in_proportion_to_a_power_of_the_counts(progress, beta):
    rule = Popularity(beta=1.0)
    memory = rule.begin(1, n_items=N_ITEMS, item_counts=COUNTS)
    nothing = jnp.zeros((200, 100), jnp.int32)
    batch = Batch({"history": nothing, "target": nothing}, jnp.ones(200), jnp.float32(progress), memory)
    model = DNN(width=4, depth=1)(n_items=N_ITEMS, max_length=4, rngs=nnx.Rngs(0))
    asked = Asked(model, jnp.zeros((200, 100, 4)), jnp.zeros((200, 100)), batch)
    p = np.maximum(COUNTS[1:], 1) ** beta
    p = p / p.sum()
    shared, own = jax.jit(
        lambda: (
            vars(rule.shared(batch, 20_000, rng_for(1), n_items=N_ITEMS)),
            rule.per_position(asked, 1, rng_for(200)).items,
        )
    )()
    for items in (own, shared["items"]):
        assert chisquare(np.bincount(np.asarray(items).ravel(), minlength=N_ITEMS + 1)[1:], 20_000 * p).pvalue > 1e-4
    np.testing.assert_allclose(np.exp(shared["log_q"]), p[np.asarray(shared["items"]) - 1], rtol=1e-5)


def test_seldom_items_of_a_large_catalogue_are_drawn_one_by_one():
    """100,000 items share a thousandth, 1e-8 each: numbers of 23 bits would find 8,389 of them."""
    n_items, n = 100_000, 2**24
    counts = np.ones(n_items + 1)
    counts[n_items // 2] = 999 * (n_items - 1)
    rule = Popularity(beta=1.0)
    memory = rule.begin(1, n_items=n_items, item_counts=counts)
    nothing = jnp.zeros((1, 1), jnp.int32)
    batch = Batch({"history": nothing, "target": nothing}, jnp.ones(1), jnp.float32(1), memory)
    items = np.asarray(jax.jit(lambda: rule.shared(batch, n, rng_for(1), n_items=n_items).items)())
    seldom = np.bincount(items, minlength=n_items + 1)[1:]
    seldom = np.delete(seldom, n_items // 2 - 1)
    assert seldom.sum() == pytest.approx(n / 1000, abs=5 * (n / 1000) ** 0.5)
    expected = n_items * (1 - np.exp(-seldom.sum() / n_items))
    assert (seldom > 0).sum() == pytest.approx(expected, rel=0.01)
    parts = seldom[: n_items - 10].reshape(-1, 10).sum(axis=0)
    assert chisquare(parts).pvalue > 1e-4


def test_popularity_without_counts_is_refused():
    for counts in (None, COUNTS[:-1]):
        with pytest.raises(OptionError, match="needs the training count of each of the 12 items"):
            Popularity().begin(1, n_items=N_ITEMS, item_counts=counts)
    with pytest.raises(OptionError, match=r"Popularity remembers begin.*TrainState\.create"):
        Popularity().shared(sequences(), 3, rng_for(8), n_items=N_ITEMS)


def test_negatives_of_the_batch_are_its_targets_counted():
    rule, expected = InBatch(decay=0.5), np.zeros(N_ITEMS + 1)
    memory = rule.begin(5000, n_items=N_ITEMS, item_counts=None)
    for step in range(3):
        batch = sequences(seed=step)
        batch = replace(batch, weight=batch.weight.at[3].set(0))  # a row that only fills the batch up
        memory = rule.remember(memory, None, batch, rng_for(8), step=jnp.int32(step), axis_name=None)
        targets = np.asarray(batch["target"])[np.arange(8) != 3]
        here = np.bincount(targets[targets > 0], minlength=N_ITEMS + 1)
        expected = 0.5 * expected + here
        np.testing.assert_allclose(memory["counts"], expected, rtol=1e-6)
        drawn = rule.shared(replace(batch, memory=memory), 5000, rng_for(8), n_items=N_ITEMS)
        frequency = np.bincount(np.asarray(drawn.items), minlength=N_ITEMS + 1)
        assert (frequency[here == 0] == 0).all()
        assert chisquare(frequency[here > 0], 5000 * here[here > 0] / here.sum()).pvalue > 1e-4
        np.testing.assert_allclose(np.exp(drawn.log_q), (expected / expected.sum())[np.asarray(drawn.items)], rtol=1e-5)


def test_a_batch_without_targets_gives_no_negatives():
    memory = InBatch().begin(4, n_items=N_ITEMS, item_counts=None)
    batch = replace(sequences(), weight=jnp.zeros(8))
    memory = InBatch().remember(memory, None, batch, rng_for(8), step=jnp.int32(0), axis_name=None)
    drawn = InBatch().shared(replace(batch, memory=memory), 4, rng_for(8), n_items=N_ITEMS)
    assert drawn.items.tolist() == [0] * 4
    assert np.isfinite(drawn.log_q).all()


def test_negatives_of_a_batch_that_is_spread_are_those_of_the_whole():
    batch, rng = sequences(), rng_for(8)
    start = InBatch().begin(9, n_items=N_ITEMS, item_counts=None)
    alone = InBatch().remember(start, None, batch, rng, step=jnp.int32(0), axis_name=None)

    def on_device(arrays, weight, row):
        part = Batch(arrays, weight)
        return InBatch().remember(start, None, part, BatchRng(rng.seed, row), step=jnp.int32(0), axis_name="data")

    parts = jax.tree.map(lambda leaf: leaf.reshape(4, 2, *leaf.shape[1:]), (dict(batch.arrays), batch.weight, rng.row))
    spread = jax.vmap(on_device, axis_name="data")(*parts)
    for name, value in alone.items():
        np.testing.assert_array_equal(spread[name], np.broadcast_to(value, (4, *value.shape)))


@pytest.mark.parametrize("options", [SASRec(width=8, depth=1), DNN(width=8, depth=1)], ids=["sasrec", "dnn"])
def test_lists_are_the_models_ranking_after_one_item(options, monkeypatch):
    monkeypatch.setattr("curriculum_rec.negatives.cached.CHUNK", 5)
    model = options(n_items=N_ITEMS, max_length=4, rngs=nnx.Rngs(0))
    items = jnp.arange(1, N_ITEMS + 1, dtype=jnp.int32)
    lists, hidden = jax.jit(
        lambda: (hard_lists(model, 4), model(Batch({"history": items[:, None]}, jnp.ones(N_ITEMS))))
    )()
    scores = np.asarray(hidden)[:, 0] @ np.asarray(model.item_vectors())[1 : N_ITEMS + 1].T
    assert lists.shape == (N_ITEMS + 1, 4)
    np.testing.assert_array_equal(lists[1:], 1 + np.argsort(-scores)[:, :4])


def test_lists_are_made_when_it_is_time_by_the_model_of_that_step():
    rule, made = CachedHard(size=3, every_steps=4), []
    memory = rule.begin(1, n_items=N_ITEMS, item_counts=None)
    update = jax.jit(
        lambda memory, model, step: rule.remember(memory, model, sequences(), rng_for(8), step=step, axis_name=None)
    )
    for step in range(10):
        model = DNN(width=8, depth=1)(n_items=N_ITEMS, max_length=4, rngs=nnx.Rngs(step))
        memory = update(memory, model, jnp.int32(step))
        made.append(int(memory["made"]))
        if made[-1] == step:
            latest = np.asarray(hard_lists(model, 3))
        np.testing.assert_array_equal(memory["hard"], latest)
    assert made == [0, 0, 0, 0, 4, 4, 4, 4, 8, 8]


@pytest.mark.parametrize("progress", [0.0, 0.25, 1.0])
def test_items_from_lists_come_at_their_rate(progress):
    rule = CachedHard(size=2, rate=0.8)
    history = jnp.full((100, 50), 5, jnp.int32)
    arrays = {"history": history, "target": history, "positives": jnp.full((100, 1), FILL, jnp.int32)}
    lists = jnp.zeros((1001, 2), jnp.int32).at[5].set(jnp.array([7, 9]))
    batch = Batch(arrays, jnp.ones(100), jnp.float32(progress), {"hard": lists, "made": jnp.int32(0)})
    model = DNN(width=4, depth=1)(n_items=1000, max_length=4, rngs=nnx.Rngs(0))
    asked = Asked(model, jnp.zeros((100, 50, 4)), jnp.zeros((100, 50)), batch)
    items = np.asarray(jax.jit(lambda: rule.per_position(asked, 2, rng_for(100)).items)())
    rate = 0.8 * min(1, progress / 0.5)
    listed = np.isin(items, [7, 9])
    assert listed.mean() == pytest.approx(rate, abs=4 * 0.5 / 100 + 0.003)
    if progress:
        assert (items[listed] == 7).mean() == pytest.approx(0.5, abs=0.05)
    else:
        np.testing.assert_array_equal(items, Uniform().per_position(asked, 2 * 4, rng_for(100)).items[..., ::4])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Popularity(beta=-1.0), "beta=-1"),
        (lambda: Popularity(beta_start=float("inf")), "beta_start=inf"),
        (lambda: Popularity(full_at=0.0), "full_at=0"),
        (lambda: InBatch(decay=1.0), r"decay=1\.0"),
        (lambda: CachedHard(size=0), "size=0"),
        (lambda: CachedHard(every_steps=0), "every_steps=0"),
        (lambda: CachedHard(rate=1.5), r"rate=1\.5"),
        (
            lambda: CachedHard(size=13).begin(1, n_items=12, item_counts=None),
            "size=13: the catalogue has only 12 items",
        ),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
