"""Looking ahead by two forward passes gives what the definitions by second derivatives say."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from curriculum_rec.curriculum.options import Curriculum
from curriculum_rec.curriculum.scheduler import Scheduler
from curriculum_rec.data.examples import hold_out
from curriculum_rec.errors import OptionError
from curriculum_rec.models import DNN
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.objectives import Losses, Softmax
from curriculum_rec.training.checkpoint import flatten, unflatten
from curriculum_rec.training.engine import Engine
from curriculum_rec.training.meta import LookAhead
from curriculum_rec.training.placement import Placement
from curriculum_rec.training.state import TrainState
from curriculum_rec.training.step import Weigh, make_step
from curriculum_rec.weighting import LearnToReweight, MetaWeightNet

N, META, RATE = 16, 8, 0.1


def squared_error(model, batch, rng):
    return Losses((model(batch["x"])[:, 0] - batch["y"]) ** 2)


def make_batch(n, seed, weight=None):
    rng = np.random.default_rng(seed)
    arrays = {"x": rng.standard_normal((n, 3), np.float32), "y": rng.standard_normal(n, np.float32)}
    weight = np.ones(n) if weight is None else weight
    return Batch(jax.tree.map(jnp.asarray, arrays), jnp.asarray(weight, jnp.float32))


def make_rng(n):
    return BatchRng.for_rows(jax.random.key(0), jnp.arange(n, dtype=jnp.int32))


def losses_at(params, batch):
    return ((batch["x"] @ params["kernel"])[:, 0] + params["bias"] - batch["y"]) ** 2


def make_state(rule, tx):
    return TrainState.create(nnx.Linear(3, 1, rngs=nnx.Rngs(0)), tx, rule)


def one_step(rule, tx, axis_name=None):
    def step(state, batch, rng, meta, meta_rng):
        look_ahead = LookAhead(rule, squared_error, meta, meta_rng, axis_name)
        weigh = Weigh(rule, 10, axis_name, look_ahead)
        return make_step(squared_error, tx, axis_name=axis_name, weigh=weigh)(state, batch, rng)

    return step


def definition_of_learning_to_reweight(params, batch, meta, rate=0.3):
    """The derivative by the weights at 0 of the meta split's loss after a step by a weighted mean."""

    def after(e):
        loss = lambda params: (e * batch.weight * losses_at(params, batch)).mean()  # noqa: E731
        stepped = jax.tree.map(lambda leaf, g: leaf - rate * g, params, jax.grad(loss)(params))
        return losses_at(stepped, meta).mean()

    weight = np.maximum(-np.asarray(jax.grad(after)(jnp.zeros(len(batch.weight)))), 0)
    return weight / weight.sum()


def test_learning_to_reweight_is_its_definition_and_takes_the_sum_of_the_losses():
    """CurBench takes the mean after weights whose sum is 1: the learning rate is divided by the batch's size."""
    rule, tx = LearnToReweight(), optax.sgd(RATE)
    state, meta = make_state(rule, tx), make_batch(META, 1)
    moves = []
    for batch in (make_batch(N, 0), jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf]), make_batch(N, 0))):
        n = len(batch.weight)
        step = jax.jit(one_step(rule, tx))
        after, _ = step(state, batch, make_rng(n), meta, make_rng(META))
        weight = definition_of_learning_to_reweight(state.params, batch, meta)
        assert 0 < (weight > 0).sum() < n
        gradient = jax.grad(lambda params, w=weight, b=batch: (w * losses_at(params, b)).sum())(state.params)
        for name in ("kernel", "bias"):
            moved = np.asarray(after.params[name]) - np.asarray(state.params[name])
            np.testing.assert_allclose(moved, -RATE * np.asarray(gradient[name]), rtol=2e-3, atol=1e-5)
            moves.append(moved)
    np.testing.assert_allclose(moves[0], moves[2], rtol=1e-3, atol=1e-5)  # twice the batch, the same step


def test_the_meta_networks_step_is_the_derivative_through_a_virtual_step():
    rule, tx = MetaWeightNet(hidden=6, virtual_rate=0.2, learning_rate=0.01), optax.sgd(RATE)
    state, batch, meta = make_state(rule, tx), make_batch(N, 0, np.arange(N) % 5 > 0), make_batch(META, 1)
    network, counts = rule.network, np.asarray(batch.weight)
    losses = losses_at(state.params, batch)

    def meta_loss(outputs):
        weighted = lambda params: (counts * outputs * losses_at(params, batch)).sum() / counts.sum()  # noqa: E731
        gradient = jax.grad(weighted)(state.params)
        stepped = jax.tree.map(lambda leaf, g: leaf - 0.2 * g, state.params, gradient)
        return losses_at(stepped, meta).mean()

    expected = network.learn(state.memory["weighting"], losses[:, None], meta_loss)
    step = jax.jit(one_step(rule, tx))
    after, _ = step(state, batch, make_rng(N), meta, make_rng(META))
    for name, leaf in expected.items():
        np.testing.assert_allclose(after.memory["weighting"][name], leaf, rtol=5e-3, atol=1e-5, err_msg=name)
    assert any(
        (np.asarray(after.memory["weighting"][name]) != np.asarray(state.memory["weighting"][name])).any()
        for name in expected
    )
    weight = counts * np.asarray(network.apply(after.memory["weighting"], losses[:, None]))
    gradient = jax.grad(lambda params: (weight * losses_at(params, batch)).sum() / counts.sum())(state.params)
    moved = np.asarray(after.params["kernel"]) - np.asarray(state.params["kernel"])
    np.testing.assert_allclose(moved, -RATE * np.asarray(gradient["kernel"]), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("rule", [LearnToReweight(), MetaWeightNet(hidden=4)], ids=lambda rule: type(rule).__name__)
def test_a_step_looks_ahead_to_the_same_on_several_devices(rule):
    tx, batch, meta = optax.sgd(RATE), make_batch(N, 0, np.arange(N) % 5 > 0), make_batch(META, 1)
    state = make_state(rule, tx)
    alone, _ = one_step(rule, tx)(state, batch, make_rng(N), meta, make_rng(META))

    def shares(tree):
        return jax.tree.map(lambda leaf: leaf.reshape(4, -1, *leaf.shape[1:]), tree)

    rngs = [BatchRng(rng.seed, shares(rng.row)) for rng in (make_rng(N), make_rng(META))]
    axes = (None, 0, BatchRng(None, 0), 0, BatchRng(None, 0))
    step = jax.vmap(one_step(rule, tx, "data"), in_axes=axes, out_axes=None, axis_name="data")
    spread, _ = step(state, shares(batch), rngs[0], shares(meta), rngs[1])
    for a, b in zip(jax.tree.leaves(spread), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_what_is_held_out_is_a_seeded_part_of_the_training_examples(tiny_examples):
    rest, held = hold_out(tiny_examples, 0.1, seed=3)
    n = len(tiny_examples)
    assert (len(rest), len(held)) == (n - round(0.1 * n), round(0.1 * n))

    def rows(examples):
        return sorted(tuple(part) for part in np.split(examples.targets, examples.target_offsets[1:-1]))

    assert sorted(rows(rest) + rows(held)) == rows(tiny_examples)
    again, other = (hold_out(tiny_examples, 0.1, seed=seed)[1] for seed in (3, 4))
    assert rows(again) == rows(held) != rows(other)
    assert len(rest.gaps) == len(rest.targets)
    np.testing.assert_allclose(np.sort(np.concatenate([rest.gaps, held.gaps])), np.sort(tiny_examples.gaps))
    for part in (rest, held):
        assert sorted(np.concatenate([bucket.example for bucket in part.buckets])) == list(range(len(part)))
        assert all(bucket.batch_size % 8 == 0 for bucket in part.buckets)


def test_buckets_are_joined_by_filling_up(tiny_examples):
    joined = tiny_examples.in_one_shape()
    assert joined["target"].shape == joined["history"].shape == (len(tiny_examples), 12)
    assert (joined["target"] > 0).sum() == len(tiny_examples.targets)


class Scores(nnx.Module):
    """The smallest recommender: one number an item."""

    def __init__(self):
        self.score = nnx.Param(jnp.zeros(41))


def softmax_of_scores(model, batch, rng):
    return Losses(-jax.nn.log_softmax(model.score[...])[batch["target"]], batch["target"] > 0)


def make_scores():
    return Scores(), softmax_of_scores


def make_dnn():
    return DNN(width=8, depth=1, dropout=0.3)(n_items=40, max_length=12, rngs=nnx.Rngs(0)), Softmax(chunk=16)


@pytest.mark.parametrize("make", [make_scores, pytest.param(make_dnn, marks=pytest.mark.slow)])
def test_a_run_with_a_meta_split_is_the_same_on_several_devices_and_goes_on_to_the_bit(tiny_examples, make):
    rest, held = hold_out(tiny_examples, 0.2, seed=0)
    rule, tx = MetaWeightNet(hidden=4, meta_batch=8, virtual_rate=0.5, learning_rate=0.05), optax.adam(1e-2, eps=1e-4)

    def engine_on(kind, devices):
        scheduler, placed = Scheduler(Curriculum(), rest, seed=5, total_steps=12), Placement(kind, devices).place()
        return Engine(make()[1], tx, scheduler, placed, seed=5, weighting=rule, meta=held)

    def train(engine, stop_at, state=None, position=None):
        if state is None:
            state, position = TrainState.create(make()[0], tx, rule), engine.scheduler.begin()
        chunks = []
        state, position = engine.train(
            engine.placed.place_state(state), position, stop_at=stop_at, on_chunk=chunks.append
        )
        assert engine.traces == 1
        return jax.tree.map(np.array, state), position, np.concatenate([chunk.loss for chunk in chunks])

    alone = engine_on("jit", 1)
    straight, _, losses = train(alone, 8)
    half, position, first = train(alone, 4)
    arrays = unflatten(flatten(half.memory, "memory"), "memory", half.memory)  # as a checkpoint holds it
    resumed = TrainState(half.params, half.opt_state, half.step, half.structure, dict(arrays))
    whole, _, second = train(alone, 8, resumed, position)
    np.testing.assert_array_equal(np.concatenate([first, second]), losses)
    jax.tree.map(np.testing.assert_array_equal, whole, straight)
    spread, _, spread_losses = train(engine_on("pmap", 4), 8)
    np.testing.assert_allclose(spread_losses, losses, rtol=1e-4, atol=1e-4)
    for a, b in zip(jax.tree.leaves(spread.params), jax.tree.leaves(straight.params), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3)


def test_an_engine_refuses_a_rule_that_it_cannot_serve(tiny_examples):
    scheduler, placed = Scheduler(Curriculum(), tiny_examples, 0, 4), Placement("pmap", 4).place()
    with pytest.raises(OptionError, match="learns from held-out examples"):
        Engine(Softmax(), optax.sgd(0.1), scheduler, placed, 0, weighting=LearnToReweight())
    with pytest.raises(OptionError, match="meta_batch=6 cannot be cut"):
        rule = LearnToReweight(meta_batch=6)
        Engine(Softmax(), optax.sgd(0.1), scheduler, placed, 0, weighting=rule, meta=tiny_examples)
