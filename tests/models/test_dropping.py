import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from curriculum_rec.errors import OptionError
from curriculum_rec.models import DNN
from curriculum_rec.models.batch import BatchRng
from curriculum_rec.models.blocks import apply_blocks, stack_blocks
from curriculum_rec.models.dropping import LayerDrop, LinearDrop, ProgressiveDrop

DEPTH, WIDTH, N_MASKS = 3, 4, 10_000


class Linear(nnx.Module):
    """A residual block ``x + x A``, so that the mean over independent masks is known exactly."""

    def __init__(self, rngs):
        self.kernel = nnx.Param(0.5 * jax.random.normal(rngs.params(), (WIDTH, WIDTH)))

    def __call__(self, x, rng):
        return x + x @ self.kernel[...]


BLOCKS = stack_blocks(Linear, DEPTH, nnx.Rngs(0))
X = jnp.asarray(np.random.default_rng(0).standard_normal((2, 1, WIDTH), np.float32))


def batch_rng(key, first=0):
    return BatchRng.for_rows(key, first + jnp.arange(2, dtype=jnp.int32))


@pytest.mark.parametrize("drop", [ProgressiveDrop(level=0.5, rate=3.0), LinearDrop(0.4), LayerDrop(0.3)], ids=repr)
def test_the_mean_over_masks_is_the_whole_stack_or_the_one_that_is_not_scaled(drop):
    progress = jnp.float32(0.5)

    @jax.jit
    @jax.vmap
    def outputs(key):
        return apply_blocks(BLOCKS, X, batch_rng(key), drop=drop, progress=progress)

    drawn = np.asarray(outputs(jax.random.split(jax.random.key(1), N_MASKS)), np.float64)
    expected = np.asarray(X, np.float64)
    for kernel, keep in zip(np.asarray(BLOCKS.kernel[...]), np.asarray(drop.keep(DEPTH, progress)), strict=True):
        expected = expected + expected @ kernel * (1 if drop.scales else keep)
    error = drawn.std(axis=0) / np.sqrt(N_MASKS)
    assert (error > 0).all()
    assert (np.abs(drawn.mean(axis=0) - expected) < 4 * error).all()


def test_probabilities_by_hand():
    np.testing.assert_allclose(LinearDrop(0.3).keep(3), [0.9, 0.8, 0.7])
    np.testing.assert_allclose(LayerDrop(0.2).keep(2), [0.8, 0.8])
    # theta = (1 - 0.5) e^-2 + 0.5; block 1 of 2 is kept with probability 1 - (1 - theta) / 2
    theta = 0.5 * np.exp(-2) + 0.5
    np.testing.assert_allclose(
        ProgressiveDrop(0.5, rate=4.0).keep(2, jnp.float32(0.5)), [1 - (1 - theta) / 2, theta], rtol=1e-6
    )


def test_the_progressive_schedule_begins_at_one_and_falls_to_its_level():
    theta = np.array([ProgressiveDrop(level=0.3, rate=10.0).theta(jnp.float32(s)) for s in np.linspace(0, 1, 11)])
    assert theta[0] == 1
    assert (np.diff(theta) < 0).all()
    assert theta[-1] == pytest.approx(0.3, abs=1e-4)


def test_a_block_is_dropped_for_the_whole_batch_on_every_device():
    drop = LayerDrop(0.5)
    one = stack_blocks(Linear, 1, nnx.Rngs(0))
    whole, seen = np.asarray(apply_blocks(one, X, None, drop=drop)), set()

    @jax.jit
    def run(key):
        return [apply_blocks(one, X, batch_rng(key, first), drop=drop) for first in (0, 100)]

    for number in range(8):
        here, there = (np.asarray(output) for output in run(jax.random.key(number)))
        np.testing.assert_array_equal(here, there)
        kept = bool((here != np.asarray(X)).all())
        np.testing.assert_allclose(here, whole if kept else X, rtol=1e-6)
        seen.add(kept)
    assert seen == {True, False}


def test_nothing_is_dropped_without_randomness_and_a_dropped_block_learns_nothing():
    drop = LayerDrop(0.5)
    np.testing.assert_array_equal(apply_blocks(BLOCKS, X, None, drop=drop), apply_blocks(BLOCKS, X, None))
    structure, weights = nnx.split(BLOCKS)

    @jax.jit
    def gradient(weights, key):
        return jax.grad(lambda w: (apply_blocks(nnx.merge(structure, w), X, batch_rng(key), drop=drop) ** 2).sum())(
            weights
        )

    dropped = [np.asarray(gradient(weights, jax.random.key(n))["kernel"][...]) for n in range(8)]
    zero = np.array([[not layer.any() for layer in kernel] for kernel in dropped])
    assert zero.any() and not zero.all()


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (lambda: LayerDrop(0.0), "model.drop.rate=0.0"),
        (lambda: LinearDrop(1.0), "model.drop.rate=1.0"),
        (lambda: ProgressiveDrop(level=0.0), "model.drop.level=0.0"),
        (lambda: ProgressiveDrop(rate=0.0), "model.drop.rate=0.0"),
        (lambda: ProgressiveDrop().keep(2, None), "set Batch.progress"),
        (lambda: DNN(norm_position="mid"), "model.norm_position=mid"),
    ],
)
def test_what_makes_no_sense_is_refused(refused, message):
    with pytest.raises(OptionError, match=message):
        refused()
