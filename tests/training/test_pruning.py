"""Pruning while training: the schedule, what stays 0, and that nothing else is touched."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from runs import make_runner

from curriculum_rec.compression import Magnitude
from curriculum_rec.compression.packing import dense
from curriculum_rec.compression.pruned import largest
from curriculum_rec.errors import OptionError
from curriculum_rec.growth.moments import state_kind
from curriculum_rec.growth.tree import path_names
from curriculum_rec.training.optimizers import AdamW, ScheduleFree
from curriculum_rec.training.pruning import Pruned, keep_largest
from curriculum_rec.training.restore import load_snapshot, snapshot_parameters

STEPS = 20
RNG = np.random.default_rng(0)
PARAMS = {
    "items": {"embedding": RNG.normal(size=(10, 4)).astype(np.float32)},
    "blocks": {
        "out": {"kernel": RNG.normal(size=(2, 4, 5)).astype(np.float32), "bias": np.zeros((2, 5), np.float32)},
    },
    "norm": {"scale": np.ones(4, np.float32)},
}
GRADIENTS = [jax.tree.map(lambda leaf: RNG.normal(size=leaf.shape).astype(np.float32), PARAMS) for _ in range(STEPS)]


def trained(optimizer, params=PARAMS):
    """Parameters after each step under gradients that do not depend on them."""
    tx = optimizer(STEPS)
    update = jax.jit(tx.update)
    params = jax.tree.map(jnp.asarray, params)
    state, history = tx.init(params), []
    for gradient in GRADIENTS:
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        history.append(jax.tree.map(np.asarray, params))
    return history


def matrices(params):
    """Every matrix by itself."""
    return [params["items"]["embedding"], *params["blocks"]["out"]["kernel"]]


@pytest.mark.parametrize(
    ("t", "expected"), [(0.2, 0), (0.45, 0.8 * (1 - 1 / 8)), (0.325, 0.8 * (1 - 27 / 64)), (1, 0.8)]
)
def test_the_share_rises_by_a_cubic(t, expected):
    assert float(Pruned(AdamW()).share_at(t)) == pytest.approx(expected, abs=1e-6)


def test_the_smallest_go_at_each_look_and_what_is_zero_stays_zero():
    pruned = Pruned(AdamW(learning_rate=0.05), sparsity=0.75, start=0.2, end=0.6, every_steps=4)
    history = trained(pruned)
    before = matrices(PARAMS)
    for step, params in enumerate(history, 1):
        now = matrices(params)
        if step % 4 == 0:
            share = float(pruned.share_at(step / STEPS))
            assert [(matrix == 0).sum() for matrix in now] == [round(share * matrix.size) for matrix in now]
        for old, new in zip(before, now, strict=True):
            assert (new[old == 0] == 0).all()
        before = now
    assert [(matrix == 0).sum() for matrix in before] == [30, 15, 15]


def test_what_is_left_and_what_is_no_matrix_train_as_without_pruning():
    inner = AdamW(learning_rate=0.05, weight_decay=0.1)
    plain = trained(inner)
    pruned = trained(Pruned(inner, sparsity=0.5, start=0.0, end=0.5, every_steps=5))
    for without, with_ in zip(plain, pruned, strict=True):
        for a, b in zip(jax.tree.leaves(without), jax.tree.leaves(with_), strict=True):
            kept = b != 0 if b.ndim >= 2 and a.shape != (2, 5) else np.ones(b.shape, bool)
            np.testing.assert_allclose(a[kept], b[kept], rtol=1e-6)
    first = matrices(pruned[4])
    for matrix, whole in zip(first, matrices(plain[4]), strict=True):
        assert np.abs(whole[matrix != 0]).min() > np.abs(whole[matrix == 0]).max()


def test_without_a_share_only_what_was_zero_stays_zero():
    sparse = jax.tree.map(lambda leaf: largest(leaf, 0.25).dense() if leaf.ndim >= 2 else leaf, PARAMS)
    end = trained(Pruned(AdamW(learning_rate=0.05), sparsity=None), sparse)[-1]
    for before, after in zip(matrices(sparse), matrices(end), strict=True):
        np.testing.assert_array_equal(before == 0, after == 0)
        assert (before[before != 0] != after[before != 0]).all()


def test_growth_knows_all_of_its_state():
    paths = jax.tree_util.tree_leaves_with_path(Pruned(AdamW())(STEPS).init(PARAMS))
    parameters = frozenset(path_names(path) for path, _ in jax.tree_util.tree_leaves_with_path(PARAMS))
    kinds = [state_kind(path, parameters)[0] for path, _ in paths]
    assert {"first", "second", "whole"} <= set(kinds)


def test_layers_are_matrices_of_their_own():
    leaf = jnp.array([[[1.0, 2.0]], [[30.0, 40.0]]])
    assert keep_largest(leaf, jnp.float32(0.5), stacked=True).tolist() == [[[0, 2]], [[0, 40]]]
    assert keep_largest(leaf[:, 0], jnp.float32(0.5), stacked=False).tolist() == [[0, 0], [30, 40]]
    assert keep_largest(leaf, jnp.float32(0), stacked=True).tolist() == leaf.tolist()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"sparsity": 1.0}, "optimizer.sparsity=1.0"),
        ({"start": 0.7}, "optimizer.start=0.7 and optimizer.end=0.7: they must rise"),
        ({"end": 1.1}, "optimizer.end=1.1"),
        ({"every_steps": 0}, "optimizer.every_steps=0"),
    ],
)
def test_wrong_options_are_refused(options, sentence):
    with pytest.raises(OptionError, match=sentence):
        Pruned(AdamW(), **options)


@pytest.mark.slow
@pytest.mark.parametrize("placement", ["placement=jit", "placement=pmap", "placement=shard_map placement.table=2"])
def test_a_run_ends_as_sparse_as_asked_and_is_stored_so_without_loss(tmp_path, placement):
    words = ["model=dnn", "optimizer=pruned", "optimizer.every_steps=2", *placement.split()]
    runner = make_runner(tmp_path, "run", *words)  # it grows on the way
    runner.run()
    snapshot = load_snapshot(runner.directory, "newest")
    params = snapshot_parameters(snapshot, runner.experiment, inputs=runner.dataset.inputs)[1]
    stacked = list(params["blocks"]["up"]["kernel"])
    assert len(stacked) == 2
    for matrix in (params["items"]["embedding"], *stacked):
        assert (matrix == 0).sum() >= round(0.8 * matrix.size)
    assert [(matrix == 0).sum() for matrix in stacked] == [round(0.8 * matrix.size) for matrix in stacked]
    stored = dense(Magnitude(sparsity=0.8)(params, seed=0))
    for before, after in zip(jax.tree.leaves(params), jax.tree.leaves(stored), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("inner", [AdamW(weight_average=0.9), ScheduleFree()])
def test_averages_of_pruned_weights_are_refused(inner):
    with pytest.raises(OptionError, match="averages no weights"):
        jax.eval_shape(Pruned(inner)(STEPS).init, PARAMS)
