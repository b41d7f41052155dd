"""What growth and checkpoints ask of every optimizer's state."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from trees import ALL, SHAPES, apart, make_tree

from curriculum_rec.errors import OptionError
from curriculum_rec.growth import DepthGrowth
from curriculum_rec.growth.moments import counts_together, state_kind
from curriculum_rec.growth.tree import path_names
from curriculum_rec.models import DNN
from curriculum_rec.models.structure import split_model
from curriculum_rec.training.optimizers import SGD, Adagrad, AdamW, Lion, Muon, RowwiseAdagrad, ScheduleFree
from curriculum_rec.training.optimizers.average import averaged_parameters

PATHS = frozenset(
    path_names(path)
    for path, _ in jax.tree_util.tree_leaves_with_path(SHAPES, is_leaf=lambda node: isinstance(node, tuple))
)
OPTIONS = [*(kind() for kind in ALL), AdamW(weight_average=0.9, clip_norm=1.0, weight_decay=0.1, schedule="cosine")]
NAMES = [*(kind.__name__ for kind in ALL), "averaged"]


def kinds(state):
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return [(leaf, *state_kind(path, PATHS)) for path, leaf in leaves]


@pytest.mark.parametrize("options", OPTIONS, ids=NAMES)
def test_growth_knows_every_leaf_and_a_state_begins_at_0_or_at_the_parameters(options):
    params = make_tree(0)
    shapes = {path_names(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    for leaf, kind, parameter in kinds(options(10).init(params)):
        if kind == "parameter":
            np.testing.assert_array_equal(leaf, shapes[parameter])
        else:
            np.testing.assert_array_equal(leaf, 0)
        if kind in ("first", "second"):
            assert leaf.shape == shapes[parameter].shape
        if kind == "count":
            assert leaf.shape == ((2,) if parameter[0] == "blocks" else ())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (AdamW(), {"count", "first", "second"}),
        (SGD(), {"first"}),
        (SGD(momentum=0.0), set()),
        (Adagrad(), {"second"}),
        (RowwiseAdagrad(), {"second", "row"}),
        (Lion(), {"first"}),
        (Muon(), {"count", "first", "second"}),
        (ScheduleFree(), {"count", "first", "second", "parameter"}),
        (AdamW(weight_average=0.5), {"count", "first", "second", "parameter"}),
    ],
)
def test_kinds_by_optimizer(options, expected):
    state = jax.eval_shape(options(10).init, make_tree(0))
    assert {kind for _, kind, _ in kinds(state)} - {"whole"} == expected
    assert not counts_together(state)


@pytest.mark.parametrize("options", OPTIONS, ids=NAMES)
def test_the_structure_depends_neither_on_the_runs_length_nor_on_a_stage(options):
    states = [
        jax.eval_shape(tx.init, make_tree(0)) for tx in (options(10), options(1000), options(10, lambda step: 0.5))
    ]
    assert len({jax.tree.structure(state) for state in states}) == 1


@pytest.fixture(scope="module")
def models():
    return [
        nnx.eval_shape(lambda depth=depth: DNN(width=4)(n_items=5, max_length=3, depth=depth, rngs=nnx.Rngs(0)))
        for depth in (2, 4)
    ]


@pytest.mark.parametrize("growth", [DepthGrowth(moments="fresh"), DepthGrowth()], ids=["fresh", "copy"])
@pytest.mark.parametrize("options", OPTIONS, ids=NAMES)
def test_a_grown_state_is_that_of_the_grown_parameters(models, options, growth):
    """An average that equals the parameters still does when both have grown."""
    old, new = models
    rng, tx = np.random.default_rng(0), options(10)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape, np.float32)), split_model(old)[1])
    grown, state = growth(params, tx.init(params), old=old, new=new)
    expected = jax.eval_shape(tx.init, split_model(new)[1])
    assert jax.tree.structure(state) == jax.tree.structure(expected)
    jax.tree.map(lambda leaf, shape: np.testing.assert_equal((leaf.shape, leaf.dtype), (shape.shape, shape.dtype)),
                 state, expected)  # fmt: skip
    if averaged_parameters(state) is not None:
        jax.tree.map(np.testing.assert_array_equal, averaged_parameters(state), grown)


def test_what_counts_for_all_layers_at_once_is_known():
    params = {"blocks": {"up": jnp.ones((2, 3))}}
    for tx in (optax.adam(0.1), optax.chain(optax.clip(1.0), optax.adamw(0.1))):
        assert counts_together(jax.eval_shape(tx.init, params))


def test_muon_refuses_a_model_without_blocks():
    with pytest.raises(OptionError, match="Muon moves matrices inside a model's stacked 'blocks'"):
        Muon()(10).init(apart(make_tree(0)))


def test_muon_moves_stacked_kernels_of_two_axes_alone():
    shapes = {"kernel": (2, 3, 4), "bias": (2, 3, 4), "heads": {"kernel": (2, 3, 2, 2)}}
    params = {"blocks": jax.tree.map(jnp.zeros, shapes, is_leaf=lambda node: isinstance(node, tuple))}
    parts = jax.eval_shape(Muon()(10).init, params)[1].inner_states
    assert [leaf.shape for leaf in jax.tree.leaves(parts["muon"].inner_state.mu)] == [(2, 3, 4)]
    assert len(jax.tree.leaves(parts["adam"].inner_state.mu)) == 2
