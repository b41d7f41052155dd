from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from curriculum_rec.errors import OptionError
from curriculum_rec.growth import DepthGrowth
from curriculum_rec.growth.depth import layer_map, stacked_depth
from curriculum_rec.growth.tree import is_stacked
from curriculum_rec.models import DNN, SASRec
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.structure import join_model
from curriculum_rec.objectives import Softmax
from curriculum_rec.training.optimizer import AdamW
from curriculum_rec.training.state import TrainState
from curriculum_rec.training.step import make_step

LEARNING_RATE = 0.01
OPTIONS = {"sasrec": SASRec(width=8, depth=2, n_heads=2, feed_forward_factor=1), "dnn": DNN(width=8, depth=2)}
TX = AdamW(learning_rate=LEARNING_RATE)(100)
MAPS = {
    ("stack", 4): [0, 1, 0, 1],
    ("interleave", 4): [0, 0, 1, 1],
    ("interleave", 3): [0, 0, 1],
    ("stack", 3): [0, 1, 0],
}
every_map = pytest.mark.parametrize(("kind", "depth"), MAPS)


def make_batch():
    items = np.random.default_rng(0).integers(1, 13, (6, 7)).astype(np.int32)
    present = np.arange(6) < np.array([6, 4, 1, 6, 2, 3])[:, None]
    return Batch(
        {"history": jnp.asarray(items[:, :-1] * present), "target": jnp.asarray(items[:, 1:] * present)}, jnp.ones(6)
    )


def rng():
    return BatchRng.for_rows(jax.random.key(0), jnp.arange(6, dtype=jnp.int32))


STEP = jax.jit(make_step(Softmax(), TX))


@cache
def train_a_little(name):
    """A state after a few steps, so that no parameter or moment is at its initial value."""
    state = TrainState.create(OPTIONS[name](n_items=12, max_length=6, rngs=nnx.Rngs(0)), TX)
    for _ in range(3):
        state = STEP(state, make_batch(), rng())[0]
    return state


@pytest.fixture(params=OPTIONS)
def trained(request):
    return train_a_little(request.param)


@pytest.fixture
def trained_dnn():
    return train_a_little("dnn")


def shapes_of(state, depth=None):
    """The state's model with shapes alone, at another depth if one is given."""

    def at_depth(path, leaf):
        rest = leaf.shape[1:] if depth and is_stacked(path) else leaf.shape
        return jax.ShapeDtypeStruct((depth, *rest) if depth and is_stacked(path) else rest, leaf.dtype)

    return join_model(state.structure, jax.tree_util.tree_map_with_path(at_depth, state.params))


def grow(state, depth=4, **options):
    old, new = shapes_of(state), shapes_of(state, depth)
    params, opt_state = DepthGrowth(**options)(state.params, state.opt_state, old=old, new=new)
    return TrainState(params, opt_state, state.step, state.structure)


def logits(state):
    model = join_model(state.structure, state.params)
    return np.asarray(jax.jit(lambda batch: model(batch) @ model.item_vectors().T)(make_batch()))


def leaves(tree):
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def is_gate(name):
    return name.endswith("['gate']")


@pytest.mark.parametrize(
    ("kind", "old", "new", "expected"),
    [
        ("stack", 3, 6, [0, 1, 2, 0, 1, 2]),
        ("interleave", 3, 6, [0, 0, 1, 1, 2, 2]),
        ("stack", 2, 5, [0, 1, 0, 1, 0]),
        ("interleave", 2, 5, [0, 0, 0, 1, 1]),
        ("interleave", 2, 2, [0, 1]),
        ("stack", 1, 3, [0, 0, 0]),
    ],
)
def test_layer_map_by_hand(kind, old, new, expected):
    index, is_new = layer_map(kind, old, new)
    assert index.tolist() == expected
    assert is_new.tolist() == [source in expected[:place] for place, source in enumerate(expected)]


def test_interleaving_twice_equals_interleaving_once():
    to_four, to_eight = layer_map("interleave", 2, 4)[0], layer_map("interleave", 4, 8)[0]
    assert to_four[to_eight].tolist() == layer_map("interleave", 2, 8)[0].tolist()


@every_map
@pytest.mark.parametrize("moments", ["copy", "fresh"])
def test_new_gates_of_zero_preserve_the_function(trained, kind, depth, moments):
    growth = {"map": kind, "gate": 0, "moments": moments}
    assert DepthGrowth(**growth).preserves_function(shapes_of(trained), shapes_of(trained, depth))
    grown = grow(trained, depth, **growth)
    assert stacked_depth(grown.params) == depth
    np.testing.assert_allclose(logits(grown), logits(trained), rtol=0, atol=1e-6)


@every_map
def test_gates_of_one_copy_every_leaf_of_the_block_bit_for_bit(trained, kind, depth):
    """StackRec's SASRec copies queries, keys and values only; all else of a block begins at random."""
    grown = grow(trained, depth, map=kind, gate=1)
    for tree in ("params", "opt_state"):
        before, after = leaves(getattr(trained, tree)), leaves(getattr(grown, tree))
        assert before.keys() == after.keys()
        for name, old in before.items():
            expected = old[MAPS[kind, depth]] if "blocks" in name else old
            np.testing.assert_array_equal(after[name], expected, err_msg=name)
    assert sum("blocks" in name for name in leaves(trained.params)) > 5


def test_plain_copies_change_the_function(trained):
    assert not DepthGrowth(gate=1).preserves_function(shapes_of(trained), shapes_of(trained, 4))
    assert np.abs(logits(grow(trained, gate=1)) - logits(trained)).max() > 1e-3


def test_new_gates_alone_are_zero_and_begin_afresh(trained):
    before, after = leaves(trained.params), leaves(grow(trained).params)
    for name, old in before.items():
        expected = old[[0, 0, 1, 1]] if "blocks" in name else old
        if is_gate(name):
            expected = expected * [1, 0, 1, 0]
        np.testing.assert_array_equal(after[name], expected, err_msg=name)
    before, after = leaves(trained.opt_state), leaves(grow(trained).opt_state)
    gates = [name for name in before if is_gate(name)]
    assert len(gates) % 3 == 0  # count, mu and nu of each
    for name in gates:
        np.testing.assert_array_equal(after[name], before[name][[0, 0, 1, 1]] * [1, 0, 1, 0])


@pytest.mark.parametrize(
    "optimizer", [TX, AdamW(clip_norm=1.0, weight_decay=0.1, schedule="cosine")(50), optax.adam(0.1)]
)
def test_the_optimizers_structure_is_that_of_a_fresh_one(trained, optimizer):
    """prts appends blocks after its optimizer was built, which then never updates them."""
    models = {"old": shapes_of(trained), "new": shapes_of(trained, 4)}
    params, opt_state = DepthGrowth()(trained.params, optimizer.init(trained.params), **models)
    fresh = optimizer.init(params)
    assert jax.tree.structure(opt_state) == jax.tree.structure(fresh)
    for grown, expected in zip(jax.tree.leaves(opt_state), jax.tree.leaves(fresh), strict=True):
        assert (grown.shape, grown.dtype) == (expected.shape, expected.dtype)


@pytest.mark.parametrize("gate", [0, 1])
def test_fresh_moments_are_zero_for_new_blocks_only(trained, gate):
    before, after = leaves(trained.opt_state), leaves(grow(trained, gate=gate, moments="fresh").opt_state)
    for name, old in before.items():
        if "blocks" in name:
            assert np.abs(old).max() > 0
            np.testing.assert_array_equal(after[name][[1, 3]], 0, err_msg=name)
            np.testing.assert_array_equal(after[name][[0, 2]], old, err_msg=name)
        else:
            np.testing.assert_array_equal(after[name], old, err_msg=name)


@pytest.mark.parametrize("moments", ["copy", "fresh"])
def test_a_gate_learns_at_once_and_a_new_moment_steps_no_further_than_the_learning_rate(trained_dnn, moments):
    grown = grow(trained_dnn, moments=moments)
    after = leaves(STEP(jax.tree.map(jnp.copy, grown), make_batch(), rng())[0].params)
    for name, old in leaves(grown.params).items():
        if "blocks" not in name:
            continue
        moved = np.abs(after[name] - old)[[1, 3]]
        if moments == "fresh" or is_gate(name):
            assert moved.max() <= LEARNING_RATE * (1 + 1e-3), name
        if is_gate(name):
            assert moved.min() > LEARNING_RATE / 2


class Plain(nnx.Module):
    """A model of one leaf, under ``blocks`` or beside."""

    def __init__(self, name, depth):
        setattr(self, name, nnx.Dict(kernel=nnx.Param(jnp.ones((depth, 3)))))


def test_what_cannot_be_grown_is_refused(trained_dnn):
    state = trained_dnn
    with pytest.raises(OptionError, match="cannot grow to depth 1"):
        grow(state, depth=1)
    with pytest.raises(OptionError, match="counts steps by layer"):
        models = {"old": shapes_of(state), "new": shapes_of(state, 4)}
        DepthGrowth(moments="fresh")(state.params, optax.adam(0.1).init(state.params), **models)
    with pytest.raises(OptionError, match="no stacked 'blocks'"):
        DepthGrowth().check(Plain("layers", 2), Plain("layers", 4))
    with pytest.raises(OptionError, match="residual gates"):
        DepthGrowth(gate=0).check(Plain("blocks", 2), Plain("blocks", 4))
    with pytest.raises(OptionError, match="cannot change blocks.down.kernel"):
        wider = DNN(width=8, depth=2, feed_forward_factor=2)(n_items=12, max_length=6, rngs=nnx.Rngs(0))
        DepthGrowth().check(shapes_of(state), wider)
    params = {"blocks": {"kernel": jnp.ones((2, 3))}}
    grown, _ = DepthGrowth(gate=1)(params, TX.init(params), old=Plain("blocks", 2), new=Plain("blocks", 4))
    assert grown["blocks"]["kernel"].shape == (4, 3)


@pytest.mark.parametrize("options", [{"map": "repeat"}, {"gate": 2}, {"moments": "zero"}])
def test_unknown_choices_are_refused_by_name(options):
    with pytest.raises(OptionError, match=next(iter(options))):
        DepthGrowth(**options)
