import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from curriculum_rec.errors import OptionError
from curriculum_rec.growth import DepthGrowth
from curriculum_rec.growth.layer_maps import Interleave
from curriculum_rec.growth.new_blocks import Gated
from curriculum_rec.models import GRU4Rec, Recommender
from curriculum_rec.models.batch import Batch
from curriculum_rec.models.gru4rec import run_cell
from curriculum_rec.models.structure import join_model, split_model
from curriculum_rec.training.optimizers import AdamW
from curriculum_rec.training.state import count_parameters

WIDTH, HIDDEN, N_ITEMS = 6, 5, 20
OPTIONS = GRU4Rec(width=WIDTH, hidden=HIDDEN)


def make_params(depth=2):
    """A model's structure, and parameters away from their special initial values 0 and 1."""
    structure, abstract = split_model(
        nnx.eval_shape(lambda: OPTIONS(n_items=N_ITEMS, max_length=9, depth=depth, rngs=nnx.Rngs(0)))
    )
    rng = np.random.default_rng(1)
    return structure, jax.tree.map(
        lambda leaf: jnp.asarray(0.5 * rng.standard_normal(leaf.shape, np.float32)), abstract
    )


def run(structure, params, history):
    return np.asarray(join_model(structure, params)(Batch({"history": jnp.asarray(history)}, jnp.ones(len(history)))))


@pytest.mark.parametrize("depth", [1, 3])
def test_number_of_parameters_is_the_documented_one(depth):
    block = 3 * HIDDEN * (WIDTH + HIDDEN + 1) + (HIDDEN + 1) * WIDTH + 2 * WIDTH + 1
    assert count_parameters(make_params(depth)[1]) == 128 * WIDTH + 2 * WIDTH + depth * block


def test_a_cell_runs_as_flax_runs_it():
    cell = nnx.GRUCell(WIDTH, HIDDEN, rngs=nnx.Rngs(0))
    x = jnp.asarray(np.random.default_rng(0).standard_normal((3, 7, WIDTH)), jnp.float32)
    expected = nnx.RNN(cell, rngs=nnx.Rngs(1))(x, initial_carry=jnp.zeros((3, HIDDEN)))
    np.testing.assert_allclose(run_cell(cell, x), expected, rtol=1e-5, atol=1e-6)


def test_neither_what_comes_later_nor_padding_changes_anything():
    structure, params = make_params()
    assert isinstance(join_model(structure, params), Recommender)
    history = np.random.default_rng(2).integers(1, N_ITEMS + 1, (2, 6)).astype(np.int32)
    later = history.copy()
    later[:, 4:] = 1 + later[:, 4:] % N_ITEMS
    padded = np.pad(history[:, :4], ((0, 0), (0, 3)))
    first, other, short = (run(structure, params, each)[:, :4] for each in (history, later, padded))
    np.testing.assert_allclose(other, first, atol=1e-6)
    np.testing.assert_allclose(short, first, atol=1e-6)


def test_every_parameter_has_a_gradient_and_growth_in_depth_preserves_the_function():
    structure, params = make_params()
    history = np.random.default_rng(2).integers(1, N_ITEMS + 1, (2, 6)).astype(np.int32)
    weight = jnp.asarray(np.random.default_rng(4).standard_normal((2, 6, WIDTH)), jnp.float32)
    batch = Batch({"history": jnp.asarray(history)}, jnp.ones(2))
    gradient = jax.grad(lambda params: (weight * join_model(structure, params)(batch)).sum())(params)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient))
    old, new = (
        nnx.eval_shape(lambda d=depth: OPTIONS(n_items=N_ITEMS, max_length=9, depth=d, rngs=nnx.Rngs(0)))
        for depth in (2, 4)
    )
    growth, optimizer = DepthGrowth(map=Interleave(), blocks=Gated()), AdamW()(10)
    assert growth.preserves_function(old, new)
    grown, _ = growth(params, optimizer.init(params), old=old, new=new)
    np.testing.assert_allclose(run(split_model(new)[0], grown, history), run(structure, params, history), atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"), [(lambda: GRU4Rec(hidden=0), "hidden=0"), (lambda: GRU4Rec(norm="batch"), "norm=batch")]
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
