import jax
import numpy as np
import pytest

from curriculum_rec.training.optimizers import Muon
from curriculum_rec.training.optimizers.muon import orthogonalise, scale_by_layerwise_muon


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def first_step(tx, gradient):
    return jax.tree.map(np.asarray, jax.jit(lambda g: tx.update(g, tx.init(g), g)[0])(gradient))


@pytest.mark.parametrize("shape", [(6, 6), (4, 12), (12, 4)])
def test_singular_values_come_near_1_and_directions_stay(shape):
    matrices = normal(0, 3, *shape)
    got = np.asarray(jax.jit(orthogonalise)(matrices))
    for before, after in zip(matrices, got, strict=True):
        u, _, v = np.linalg.svd(before, full_matrices=False)
        inside = u.T @ after @ v.T
        assert np.abs(inside - np.diag(np.diag(inside))).max() < 0.05
        assert np.diag(inside).min() > 0.6 and np.diag(inside).max() < 1.3


def test_fused_projections_move_each_by_itself():
    """A query's gradient that is a million times a value's does not silence the value."""
    parts = [normal(seed, 2, 4, 4) for seed in range(3)]
    tx = scale_by_layerwise_muon(0.9, 0.2)
    fused = {"blocks": {"query_key_value": {"kernel": np.concatenate([1e6 * parts[0], *parts[1:]], axis=2)}}}
    steps = first_step(tx, fused)["blocks"]["query_key_value"]["kernel"]
    for part, step in zip(parts, np.split(steps, 3, axis=2), strict=True):
        expected = first_step(tx, {"blocks": {"out": {"kernel": part}}})["blocks"]["out"]["kernel"]
        np.testing.assert_allclose(step, expected, rtol=1e-3, atol=1e-4)


def test_the_step_is_as_long_as_said():
    gradient = {"blocks": {"up": {"kernel": normal(2, 1, 16, 64)}}}
    step = first_step(Muon(learning_rate=0.5, rms=0.1)(10), gradient)["blocks"]["up"]["kernel"]
    # 16 singular values near 1 over 16 x 64 entries, times sqrt(64) 0.1, times the learning rate
    assert np.sqrt((step**2).mean()) == pytest.approx(0.5 * 0.1, rel=0.25)
