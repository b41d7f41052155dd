import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from states import LEARNING_RATE, TX, grow, leaves, logits, shapes_of, step, trained_state

from curriculum_rec.errors import OptionError
from curriculum_rec.growth import DepthGrowth
from curriculum_rec.growth.depth import stacked_depth
from curriculum_rec.growth.layer_maps import Gradual, Interleave, Middle, PartialInterleave, PartialStack, Stack
from curriculum_rec.growth.new_blocks import Copy, Gated, Identity, Momentum, NormZero
from curriculum_rec.models import DNN
from curriculum_rec.training.optimizers import AdamW

MAPS = {
    Stack(): [0, 1, 0, 1],
    Interleave(): [0, 0, 1, 1],
    PartialStack(top=1): [0, 1, 1, 1],
    PartialInterleave(top=1): [0, 1, 1, 1],
    Gradual(): [0, 1, 0, 1],
    Middle(group=1): [0, 0, 0, 1],
}
PRESERVING = [Gated(), Identity(), Identity(inner="random"), NormZero()]
COPY = DepthGrowth(blocks=Copy(), allow_lossy=True)
pre_norm = pytest.mark.parametrize("trained", ["sasrec", "dnn", "cosine"], indirect=True)
two_models = pytest.mark.parametrize("trained", ["sasrec", "dnn"], indirect=True)


@pytest.fixture
def trained(request):
    return trained_state(request.param)


@pytest.fixture
def trained_dnn():
    return trained_state("dnn")


def is_gate(name):
    return name.endswith("['gate']")


@pytest.mark.parametrize("trained", ["sasrec", "dnn", "cosine", "modern", "bert4rec", "hstu"], indirect=True)
@pytest.mark.parametrize("blocks", PRESERVING, ids=repr)
def test_these_kinds_of_new_blocks_preserve_the_function(trained, blocks):
    for layer_map in (Interleave(), Stack()):
        growth = DepthGrowth(map=layer_map, blocks=blocks)
        assert growth.preserves_function(shapes_of(trained), shapes_of(trained, 4))
        grown = grow(growth, trained, seed=5)
        assert stacked_depth(grown.params) == 4
        np.testing.assert_allclose(logits(grown), logits(trained), rtol=0, atol=1e-6)


@two_models
@pytest.mark.parametrize("layer_map", MAPS, ids=repr)
def test_copies_are_copies_of_every_leaf_bit_for_bit(trained, layer_map):
    """StackRec's SASRec copies queries, keys and values only; all else of a block begins at random."""
    grown = grow(DepthGrowth(map=layer_map, blocks=Copy(), allow_lossy=True), trained)
    for tree in ("params", "opt_state"):
        before, after = leaves(getattr(trained, tree)), leaves(getattr(grown, tree))
        assert before.keys() == after.keys()
        for name, old in before.items():
            expected = old[MAPS[layer_map]] if "blocks" in name else old
            np.testing.assert_array_equal(after[name], expected, err_msg=name)
    assert sum("blocks" in name for name in leaves(trained.params)) > 5


def test_two_to_four_to_eight_is_two_to_eight(trained_dnn):
    twice, once = grow(COPY, grow(COPY, trained_dnn, 4), 8), grow(COPY, trained_dnn, 8)
    for tree in ("params", "opt_state"):
        jax.tree.map(np.testing.assert_array_equal, getattr(twice, tree), getattr(once, tree))


@two_models
@pytest.mark.parametrize("blocks", [Copy(), Momentum()])
def test_these_kinds_change_the_function_and_must_be_allowed_to(trained, blocks):
    with pytest.raises(OptionError, match="changes the function of this model.*allow_lossy=true"):
        grow(DepthGrowth(blocks=blocks), trained)
    growth = DepthGrowth(blocks=blocks, allow_lossy=True)
    assert not growth.preserves_function(shapes_of(trained), shapes_of(trained, 4))
    assert np.abs(logits(grow(growth, trained)) - logits(trained)).max() > 1e-3


@pytest.mark.parametrize("blocks", PRESERVING, ids=repr)
def test_post_norm_blocks_are_refused_unless_a_change_is_allowed(blocks):
    """At a gate of 0 a post-norm block still normalises its stream."""
    trained = trained_state("post-norm")
    with pytest.raises(OptionError, match="changes the function of post-norm blocks"):
        grow(DepthGrowth(blocks=blocks), trained)
    grown = grow(DepthGrowth(blocks=blocks, allow_lossy=True), trained)
    assert np.abs(logits(grown) - logits(trained)).max() > 1e-4


EXPECTED = {
    Gated(): {"gate": 0.0},
    Identity(): {"gate": 1.0, "down": 0.0},
    NormZero(): {"norm": 0.0, "bias": 0.0},
    Momentum(0.5): {},
}


@pytest.mark.parametrize("blocks", EXPECTED, ids=repr)
def test_only_what_the_kind_says_differs_from_a_copy_and_begins_afresh(trained_dnn, blocks):
    grown = grow(DepthGrowth(blocks=blocks, allow_lossy=True), trained_dnn)
    before, after = leaves(trained_dnn.params), leaves(grown.params)
    changed = {
        name: value
        for name in before
        for part, value in EXPECTED[blocks].items()
        if f"'{part}'" in name.split("[", 2)[2]
    }
    for name, old in before.items():
        expected = old[[0, 0, 1, 1]] if "blocks" in name else old
        if name in changed and "blocks" in name:
            expected[[1, 3]] = changed[name]
        elif is_gate(name):  # of Momentum and NormZero
            expected[[1, 3]] *= getattr(blocks, "factor", 1.0)
        np.testing.assert_array_equal(after[name], expected, err_msg=name)
    before, after = leaves(trained_dnn.opt_state), leaves(grown.opt_state)
    for name, old in before.items():
        expected = old[[0, 0, 1, 1]] if "blocks" in name else old
        if "blocks" in name and any(name.endswith(parameter) for parameter in changed):
            expected[[1, 3]] = 0  # count, mu and nu alike
        np.testing.assert_array_equal(after[name], expected, err_msg=name)


def test_random_inner_weights_are_of_the_size_of_fresh_ones_and_follow_the_seed(trained_dnn):
    growth = DepthGrowth(blocks=Identity(inner="random"))
    kernels = [np.asarray(grow(growth, trained_dnn, seed=seed).params["blocks"]["up"]["kernel"]) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert (kernels[0][[1, 3]] != kernels[2][[1, 3]]).all()
    np.testing.assert_array_equal(kernels[0][[0, 2]], kernels[2][[0, 2]])
    assert kernels[0][[1, 3]].std() == pytest.approx(8**-0.5, rel=0.1)  # one over the root of what goes in
    assert not leaves(grow(growth, trained_dnn).params)["['blocks']['up']['bias']"][[1, 3]].any()


@pytest.mark.parametrize(
    "optimizer", [TX, AdamW(clip_norm=1.0, weight_decay=0.1, schedule="cosine")(50), optax.adam(0.1)]
)
def test_the_optimizers_structure_is_that_of_a_fresh_one(trained_dnn, optimizer):
    """prts appends blocks after its optimizer was built, which then never updates them."""
    models = {"old": shapes_of(trained_dnn), "new": shapes_of(trained_dnn, 4)}
    params, opt_state = DepthGrowth()(trained_dnn.params, optimizer.init(trained_dnn.params), **models)
    fresh = optimizer.init(params)
    assert jax.tree.structure(opt_state) == jax.tree.structure(fresh)
    for grown, expected in zip(jax.tree.leaves(opt_state), jax.tree.leaves(fresh), strict=True):
        assert (grown.shape, grown.dtype) == (expected.shape, expected.dtype)


def test_an_average_of_weights_grows_like_the_weights(trained_dnn):
    models = {"old": shapes_of(trained_dnn), "new": shapes_of(trained_dnn, 4)}
    state = {"average": trained_dnn.params, "count": optax.adam(0.1).init(trained_dnn.params)}
    for growth in (DepthGrowth(), DepthGrowth(blocks=Identity(inner="random"))):
        params, grown = growth(trained_dnn.params, state, **models)
        jax.tree.map(np.testing.assert_array_equal, grown["average"], params)


@pytest.mark.parametrize("blocks", [Copy(), Gated()])
def test_fresh_moments_are_zero_for_new_blocks_only(trained_dnn, blocks):
    growth = DepthGrowth(blocks=blocks, moments="fresh", allow_lossy=True)
    before, after = leaves(trained_dnn.opt_state), leaves(grow(growth, trained_dnn).opt_state)
    for name, old in before.items():
        if "blocks" in name:
            assert np.abs(old).max() > 0
            np.testing.assert_array_equal(after[name][[1, 3]], 0, err_msg=name)
            np.testing.assert_array_equal(after[name][[0, 2]], old, err_msg=name)
        else:
            np.testing.assert_array_equal(after[name], old, err_msg=name)


@pytest.mark.parametrize("blocks", [*PRESERVING, Copy()], ids=repr)
def test_new_leaves_learn_within_two_steps_and_first_by_no_more_than_the_learning_rate(trained_dnn, blocks):
    grown = grow(DepthGrowth(blocks=blocks, moments="fresh", allow_lossy=True), trained_dnn)
    once = step(grown)
    twice = step(once)
    start, first, second = (leaves(state.params) for state in (grown, once, twice))
    for name in start:
        if "blocks" in name:
            moved = np.abs(first[name] - start[name])[[1, 3]]
            assert moved.max() <= LEARNING_RATE * (1 + 1e-3), name
            assert np.abs(second[name] - start[name])[[1, 3]].max() > LEARNING_RATE / 10, name


@pytest.mark.parametrize("moments", ["copy", "fresh"])
def test_a_gate_learns_at_once(trained_dnn, moments):
    grown = grow(DepthGrowth(moments=moments), trained_dnn)
    before, after = leaves(grown.params), leaves(step(grown).params)
    for name in filter(is_gate, before):
        moved = np.abs(after[name] - before[name])[[1, 3]]
        assert LEARNING_RATE / 2 < moved.min() <= moved.max() <= LEARNING_RATE * (1 + 1e-3)


class Plain(nnx.Module):
    """A model of one leaf, under ``blocks`` or beside."""

    def __init__(self, name, depth):
        setattr(self, name, nnx.Dict(kernel=nnx.Param(jnp.ones((depth, 3)))))


def test_what_cannot_be_grown_is_refused(trained_dnn):
    state = trained_dnn
    with pytest.raises(OptionError, match=r"depth 2 cannot grow to depth 1.*growth=shrink"):
        grow(DepthGrowth(), state, depth=1)
    with pytest.raises(OptionError, match="counts steps by layer"):
        models = {"old": shapes_of(state), "new": shapes_of(state, 4)}
        DepthGrowth(moments="fresh")(state.params, optax.adam(0.1).init(state.params), **models)
    with pytest.raises(OptionError, match="no stacked 'blocks'"):
        DepthGrowth().check(Plain("layers", 2), Plain("layers", 4))
    with pytest.raises(OptionError, match="no BRANCH that says"):
        DepthGrowth().check(Plain("blocks", 2), Plain("blocks", 4))
    with pytest.raises(OptionError, match=r"cannot change blocks\.down\.kernel, blocks\.up\.bias"):
        options = DNN(width=8, depth=2, feed_forward_factor=2)
        wider = nnx.eval_shape(lambda: options(n_items=12, max_length=6, rngs=nnx.Rngs(0)))
        DepthGrowth().check(shapes_of(state), wider)
    params = {"blocks": {"kernel": jnp.ones((2, 3))}}
    grown, _ = COPY(params, TX.init(params), old=Plain("blocks", 2), new=Plain("blocks", 4))
    assert grown["blocks"]["kernel"].shape == (4, 3)


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (lambda: DepthGrowth(moments="zero"), "growth.moments=zero"),
        (lambda: Identity(inner="zero"), "growth.blocks.inner=zero"),
        (lambda: Momentum(0.0), "growth.blocks.factor=0.0"),
        (lambda: Momentum(1.5), "growth.blocks.factor=1.5"),
    ],
)
def test_options_out_of_range_are_refused_by_name(refused, message):
    with pytest.raises(OptionError, match=message):
        refused()
