from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import Mesh, PartitionSpec

from curriculum_rec.models import SASRec
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.compact_items import Hashed, QuotientRemainder
from curriculum_rec.objectives import Losses, SampledSoftmax
from curriculum_rec.training.state import TrainState
from curriculum_rec.training.step import Weigh, local_gradient, make_step
from curriculum_rec.weighting import Focal

N, DEVICES, RATE = 16, 4, 0.1


def squared_error(model, batch, rng):
    error = (model(batch["x"])[:, 0] - batch["y"]) ** 2
    return Losses(error, metrics={"mean_error": (batch.weight * error).sum() / jnp.maximum(batch.weight.sum(), 1e-9)})


def make_state(tx, weighting=None):
    return TrainState.create(nnx.Linear(3, 1, rngs=nnx.Rngs(0)), tx, weighting)


def make_batch(weight):
    rng = np.random.default_rng(0)
    arrays = {"x": rng.standard_normal((N, 3), np.float32), "y": rng.standard_normal(N, np.float32)}
    return Batch(jax.tree.map(jnp.asarray, arrays), jnp.asarray(weight, jnp.float32))


def make_rng():
    return BatchRng.for_rows(jax.random.key(0), jnp.arange(N, dtype=jnp.int32))


def unequal_weights():
    """The devices' sums of weights are far from equal; the last device has none."""
    weight = np.random.default_rng(1).random(N) * np.repeat([10, 1, 0.1, 0], N // DEVICES)
    return weight * (np.arange(N) % 5 > 0)


def by_hand(state, batch):
    """Global weighted mean of the squared error and its gradient, in float64."""
    x, y, w = (np.asarray(a, np.float64) for a in (batch["x"], batch["y"], batch.weight))
    error = x @ np.asarray(state.params["kernel"])[:, 0] + np.asarray(state.params["bias"]) - y
    gradient = {"kernel": (2 * w * error) @ x / w.sum(), "bias": (2 * w * error).sum() / w.sum()}
    return (w * error**2).sum() / w.sum(), gradient


def shares(tree):
    return jax.tree.map(lambda leaf: leaf.reshape(DEVICES, -1, *leaf.shape[1:]), tree)


def map_over_devices(kind, step):
    if kind == "jit":
        return jax.jit(step)
    if kind == "shard_map":
        mesh, rows = Mesh(np.array(jax.devices()[:DEVICES]), ("data",)), PartitionSpec("data")
        whole = PartitionSpec()
        rng = BatchRng(whole, rows)
        specs = {"in_specs": (whole, rows, rng), "out_specs": whole, "check_vma": False}
        return jax.jit(jax.shard_map(step, mesh=mesh, **specs))

    rng_axes = BatchRng(None, 0)
    if kind == "vmap":
        mapped = jax.vmap(step, axis_name="data", in_axes=(None, 0, rng_axes), out_axes=None)
    else:
        mapped = jax.pmap(step, axis_name="data", in_axes=(None, 0, rng_axes), out_axes=None)
    return lambda state, batch, rng: mapped(state, shares(batch), BatchRng(rng.seed, shares(rng.row)))


@pytest.mark.parametrize("kind", ["jit", "vmap", "pmap", "shard_map"])
def test_a_step_follows_the_global_weighted_mean_however_it_is_mapped(kind):
    tx, batch = optax.sgd(RATE), make_batch(unequal_weights())
    state = make_state(tx)
    step = map_over_devices(kind, make_step(squared_error, tx, axis_name=None if kind == "jit" else "data"))
    after, metrics = step(state, batch, make_rng())
    loss, gradient = by_hand(state, batch)
    np.testing.assert_allclose(metrics.loss, loss, rtol=1e-5)
    np.testing.assert_allclose(metrics.objective["mean_error"], loss, rtol=1e-5)
    np.testing.assert_allclose(metrics.weight, batch.weight.sum(), rtol=1e-6)
    expected_norm = np.sqrt((gradient["kernel"] ** 2).sum() + gradient["bias"] ** 2)
    np.testing.assert_allclose(metrics.gradient_norm, expected_norm, rtol=1e-5)
    for name in ("kernel", "bias"):
        moved = (np.asarray(after.params[name]) - np.asarray(state.params[name])).ravel()
        np.testing.assert_allclose(moved, -RATE * np.ravel(gradient[name]), rtol=1e-4, atol=1e-6)
    assert int(after.step) == 1


@pytest.mark.parametrize("kind", ["jit", "vmap", "pmap", "shard_map"])
@pytest.mark.parametrize("normalise", ["count", "weight"])
def test_a_weighting_weighs_the_gradient_and_not_the_reported_loss(kind, normalise):
    tx, batch, weighting = optax.sgd(RATE), make_batch(unequal_weights()), Focal(gamma=1.0, normalise=normalise)
    state, axis_name = make_state(tx, weighting), None if kind == "jit" else "data"
    weigh = Weigh(weighting, 10, axis_name)
    step = map_over_devices(kind, make_step(squared_error, tx, axis_name=axis_name, weigh=weigh))
    after, metrics = step(state, batch, make_rng())
    loss, _ = by_hand(state, batch)
    np.testing.assert_allclose(metrics.loss, loss, rtol=1e-5)
    np.testing.assert_allclose(metrics.weight, batch.weight.sum(), rtol=1e-6)
    error = (np.asarray(state.model()(batch["x"]))[:, 0] - np.asarray(batch["y"])) ** 2
    factor = 1 - np.exp(-error)
    base = np.asarray(batch.weight)
    np.testing.assert_allclose(metrics.objective["weight"], (base * factor).sum() / base.sum(), rtol=1e-5)
    for percent in (5, 25, 50, 75, 95):  # of the whole batch, however it is shared out
        expected = np.quantile(factor[base > 0], percent / 100, method="inverted_cdf")
        np.testing.assert_allclose(metrics.objective[f"weight_{percent:02}"], expected, rtol=1e-4, atol=1e-6)
    _, gradient = by_hand(state, Batch(batch.arrays, jnp.asarray(base * factor)))
    scale = (base * factor).sum() / base.sum() if normalise == "count" else 1
    for name in ("kernel", "bias"):
        moved = (np.asarray(after.params[name]) - np.asarray(state.params[name])).ravel()
        np.testing.assert_allclose(moved, -RATE * scale * np.ravel(gradient[name]), rtol=1e-4, atol=1e-6)


def test_the_weights_of_this_file_tell_a_mean_of_means_from_the_global_mean():
    batch = make_batch(unequal_weights())
    loss, _ = by_hand(make_state(optax.sgd(RATE)), batch)
    parts = [
        by_hand(make_state(optax.sgd(RATE)), Batch(jax.tree.map(lambda a, d=d: shares(a)[d], batch.arrays), w))[0]
        for d, w in enumerate(shares(batch.weight))
        if w.sum() > 0
    ]
    assert abs(np.mean(parts) - loss) > 0.01 * loss


def test_a_batch_without_weight_changes_nothing():
    tx = optax.sgd(RATE)
    state = make_state(tx)
    after, metrics = jax.jit(make_step(squared_error, tx))(state, make_batch(np.zeros(N)), make_rng())
    jax.tree.map(np.testing.assert_array_equal, after.params, state.params)
    assert (float(metrics.loss), float(metrics.weight), float(metrics.gradient_norm)) == (0, 0, 0)


@pytest.mark.parametrize("per_target", [False, True])
def test_losses_of_sequences_by_hand(per_target):
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    mask = np.array([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]], bool)
    weight = np.array([2.0, 0.5, 1.0], np.float32)

    def objective(model, batch, rng):
        return Losses(batch["values"] * model.kernel[...].sum() ** 0, jnp.asarray(mask))

    batch = Batch({"values": jnp.asarray(values)}, jnp.asarray(weight))
    local = local_gradient(objective, make_state(optax.sgd(RATE)), batch, make_rng(), per_target=per_target)
    assert float(local.weight) == 2 * 2 + 4 * 0.5
    assert float(local.loss) == 2 * (0 + 1) + 0.5 * (4 + 5 + 6 + 7)
    expected = values if per_target else [1 / 2, 22 / 4, 0]
    np.testing.assert_allclose(local.losses, expected, rtol=1e-6)


def test_weights_of_single_targets_are_taken_one_by_one():
    weight = np.array([[1, 0, 2], [0, 0, 3]], np.float32)

    def objective(model, batch, rng):
        return Losses(batch["values"] + 0 * model.kernel[...].sum())

    batch = Batch({"values": jnp.asarray([[1.0, 2, 3], [4, 5, 6]])}, jnp.asarray(weight))
    local = local_gradient(objective, make_state(optax.sgd(RATE)), batch, make_rng())
    assert (float(local.weight), float(local.loss)) == (6, 1 + 6 + 18)
    np.testing.assert_allclose(local.losses, [7 / 3, 6], rtol=1e-6)


@pytest.mark.parametrize("table", [None, QuotientRemainder(), Hashed()], ids=["full", "quotient_remainder", "hashed"])
def test_rows_that_are_looked_up_often_keep_their_gradient_in_16_bits(table):
    """The most frequent item occurs 1,900 times; a sum in bfloat16 would lose a third of it."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, 101) ** 1.2
    items = rng.choice(np.arange(1, 101), (512, 13), p=share / share.sum()).astype(np.int32)
    batch = Batch({"history": jnp.asarray(items[:, :-1]), "target": jnp.asarray(items[:, 1:])}, jnp.ones(512))
    rngs = BatchRng.for_rows(jax.random.key(0), jnp.arange(512, dtype=jnp.int32))
    options = SASRec(width=16, depth=1, dropout=0.0, item_table=table)
    state = TrainState.create(options(n_items=100, max_length=12, rngs=nnx.Rngs(0)), optax.sgd(0.1))
    exact, rounded = (
        jax.jit(partial(local_gradient, SampledSoftmax(32), precision=precision))(state, batch, rngs).gradient
        for precision in ("float32", "bfloat16")
    )
    for a, b in zip(jax.tree.leaves(exact["items"]), jax.tree.leaves(rounded["items"]), strict=True):
        assert float(jnp.linalg.norm(a - b) / jnp.linalg.norm(a)) < 0.03
