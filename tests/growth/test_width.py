"""Growth in width keeps the function, and moments are those that the grown model's gradients would have made."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from networks import (
    LENGTH,
    OPTIONS,
    TX,
    assert_moments_are_of,
    compute,
    grow,
    leaves,
    make_batch,
    model_of,
    moments_of,
    seen,
    trained,
)

from curriculum_rec.errors import OptionError
from curriculum_rec.growth import ComposedGrowth, Copies, DepthGrowth, NewUnits
from curriculum_rec.growth.leaves import along, grow_value
from curriculum_rec.models.axes import Axis, consumed
from curriculum_rec.models.structure import split_model
from curriculum_rec.training.optimizers import AdamW

SASREC, DNN_OPTIONS = OPTIONS["sasrec"], OPTIONS["dnn"]
EQUAL, UNEQUAL, NEW = Copies(), Copies(share=0.3), NewUnits()
SASREC_RMS, DNN_RMS = replace(SASREC, norm="rms"), replace(DNN_OPTIONS, norm="rms")

COPIES = {
    "heads twice as wide": (SASREC, {"width": 16}, {"stream": EQUAL, "hidden": UNEQUAL, "head": UNEQUAL}),
    "three times as wide": (DNN_OPTIONS, {"width": 24}, {"stream": EQUAL, "hidden": UNEQUAL}),
    "post-norm blocks": (
        replace(DNN_OPTIONS, norm_position="post"),
        {"width": 24},
        {"stream": EQUAL, "hidden": UNEQUAL},
    ),
    "both ways": (
        OPTIONS["bert4rec"],
        {"width": 16, "n_heads": 4},
        {"stream": EQUAL, "hidden": UNEQUAL, "heads": UNEQUAL},
    ),
    "hidden alone": (DNN_OPTIONS, {"feed_forward_factor": 5}, {"hidden": Copies(choice="random")}),
}
NEW_UNITS = {
    "new heads and hidden units": (SASREC, {"width": 16, "n_heads": 4}, {"stream": EQUAL, "hidden": NEW, "heads": NEW}),
    "wider heads by new units": (SASREC_RMS, {"width": 12}, {"stream": NEW, "hidden": NEW, "head": NEW}),
    "gates of the stream, turned heads": (
        OPTIONS["modern"],
        {"width": 16, "n_heads": 4},
        {"stream": NEW, "hidden": UNEQUAL, "heads": NEW},
    ),
    "around pointwise attention": (OPTIONS["hstu"], {"width": 12}, {"stream": NEW}),
    "new stream": (DNN_RMS, {"width": 11}, {"stream": NEW, "hidden": UNEQUAL}),
}
PRESERVING = COPIES | NEW_UNITS
SLOW = (
    "gates of the stream, turned heads",
    "around pointwise attention",
    "both ways",
    "post-norm blocks",
    "hidden alone",
    "wider heads by new units",
    "new heads and hidden units",
)


def cases(names):
    return [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in names]


every_preserving = pytest.mark.parametrize("name", cases(PRESERVING))


@cache
def grown_case(name, cosine_scale=None):
    old, changes, units = PRESERVING[name]
    return grow(ComposedGrowth(units), replace(old, cosine_scale=cosine_scale), **changes)


@every_preserving
def test_the_grown_model_computes_the_same(name):
    old, changes, units = PRESERVING[name]
    assert ComposedGrowth(units).preserves_function(model_of(old), model_of(replace(old, **changes)))
    grown = grown_case(name)
    assert jax.tree.map(np.shape, grown.params) == jax.tree.map(np.shape, split_model(model_of(grown.new))[1])
    for batch in (make_batch(), make_batch(1)):
        before, after = grown.compute_old(batch)[0], grown.compute(batch)[0]
        assert np.abs(before).max() > 0.1
        np.testing.assert_allclose(after, before, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["three times as wide", "new stream"])
def test_cosines_stay_the_same(name):
    grown = grown_case(name, cosine_scale=1.0)
    np.testing.assert_allclose(grown.compute()[0], grown.compute_old()[0], rtol=0, atol=1e-6)


@every_preserving
def test_moments_are_what_the_grown_gradient_makes(name):
    """The staged-training code sets moments of off-diagonal blocks to 0; their gradient equals the diagonal one's."""
    grown = grown_case(name)
    assert_moments_are_of(grown.compute()[1], grown.opt_state, all_known=name in COPIES)


def test_squares_of_entries_without_history_begin_at_the_mean():
    grown = grown_case("new stream")
    first, second = moments_of(grown.opt_state)
    before = {path: leaf**2 for path, leaf in leaves(grown.compute_old()[1]).items()}
    path = "['blocks']['up']['kernel']"
    np.testing.assert_array_equal(first[path][:, 8:], 0)
    for layer in range(2):
        np.testing.assert_allclose(second[path][layer, 8:], before[path][layer].mean(), rtol=1e-5)


@pytest.mark.parametrize("name", cases(NEW_UNITS))
def test_new_entries_learn_within_two_steps_or_three(name):
    grown = grown_case(name)
    steps = 3 if getattr(grown.new, "gating", None) == "ligr" else 2  # a gate learns once what it gates is not 0
    params, moved = grown.params, jax.tree.map(lambda leaf: np.zeros(leaf.shape, bool), grown.params)
    for _ in range(steps):
        gradient = compute(grown.new, params)[1]
        params = jax.tree.map(lambda leaf, g: jnp.asarray(np.asarray(leaf) - 0.1 * np.asarray(g)), params, gradient)
        moved = jax.tree.map(lambda before, g: before | (np.asarray(g) != 0), moved, gradient)
    for path, each in leaves(moved).items():
        inside = each[1:13] if "items" in path else each  # padding, and what fills the table up, never moves
        assert inside.mean() > 0.99, path


@pytest.mark.parametrize("optimizer", [TX, optax.adam(0.1), optax.sgd(0.1, momentum=0.9)], ids=["ours", "adam", "sgd"])
def test_the_optimizers_structure_is_that_of_a_fresh_one(optimizer):
    grown = grow(ComposedGrowth({"hidden": UNEQUAL}), DNN_OPTIONS, tx=optimizer, feed_forward_factor=5)
    fresh = optimizer.init(grown.params)
    assert jax.tree.structure(grown.opt_state) == jax.tree.structure(fresh)
    assert jax.tree.map(np.shape, grown.opt_state) == jax.tree.map(np.shape, fresh)


@pytest.mark.parametrize("moments", ["fresh", "reset_all"])
def test_averages_begin_afresh_where_asked(moments):
    growth = ComposedGrowth({"hidden": UNEQUAL}, moments=moments)
    state = leaves(grow(growth, DNN_OPTIONS, feed_forward_factor=5).opt_state)
    for path, leaf in state.items():
        changed = "['up']" in path or "['down']['kernel']" in path
        if any(f".{part}[" in path for part in ("count", "mu", "nu")):
            assert (not leaf.any()) == (changed or moments == "reset_all"), path
        else:
            assert leaf == 1, path  # the schedule goes on
    with pytest.raises(OptionError, match="counts steps parameter by parameter"):
        grow(growth, DNN_OPTIONS, tx=optax.adam(0.1), feed_forward_factor=5)


def test_an_average_of_weights_grows_as_the_weights_do():
    old, changes, units = PRESERVING["new stream"]
    models = {"old": model_of(old), "new": model_of(replace(old, **changes))}
    params = trained(old)
    halves = jax.tree.map(lambda leaf: np.asarray(leaf) / 2, params)
    grown, state = ComposedGrowth(units)(params, {"average": params, "z": halves}, **models)
    jax.tree.map(np.testing.assert_array_equal, state["average"], grown)
    # What is copied is half as large in an average of half the weights; what is new begins at the new weights.
    down, half = (np.asarray(tree["blocks"]["down"]["kernel"]) for tree in (grown, state["z"]))
    np.testing.assert_allclose(half[:, :, :8], down[:, :, :8] / 2, rtol=1e-6)
    up, half = (np.asarray(tree["blocks"]["up"]["kernel"]) for tree in (grown, state["z"]))
    np.testing.assert_array_equal(half[:, 8:], up[:, 8:])


@pytest.mark.slow
def test_averages_that_begin_afresh_step_no_further_than_the_learning_rate():
    rate = 0.01
    optimizer = AdamW(learning_rate=rate)(10)
    growth = ComposedGrowth({"hidden": UNEQUAL}, moments="fresh")
    grown = grow(growth, DNN_OPTIONS, tx=optimizer, feed_forward_factor=5)
    updates = jax.jit(optimizer.update)(grown.compute()[1], grown.opt_state, grown.params)[0]
    for path, leaf in leaves(updates["blocks"]["up"]).items():
        assert rate / 2 < np.abs(leaf).max() <= rate * (1 + 1e-3), path


@pytest.mark.slow
def test_wider_and_deeper_at_once():
    growth = ComposedGrowth({"stream": EQUAL, "hidden": UNEQUAL}, depth=DepthGrowth())
    assert growth.preserves_function(model_of(DNN_OPTIONS), model_of(replace(DNN_OPTIONS, width=16), depth=4))
    grown = grow(growth, DNN_OPTIONS, width=16, depth=4)
    np.testing.assert_allclose(grown.compute()[0], grown.compute_old()[0], rtol=0, atol=1e-6)
    one = grow(ComposedGrowth({"stream": EQUAL, "hidden": UNEQUAL}), DNN_OPTIONS, width=16)
    for path, leaf in leaves(one.params).items():
        if "gate" not in path:
            expected = leaf[[0, 0, 1, 1]] if "blocks" in path else leaf
            np.testing.assert_array_equal(leaves(grown.params)[path], expected, err_msg=path)


def test_longer_histories_keep_the_positions_of_the_newest_items():
    params = trained(SASREC)
    longer = ComposedGrowth({})
    opt_state = seen(TX.init(params), compute(SASREC, params)[1])
    models = {"old": model_of(SASREC), "new": model_of(SASREC, max_length=9)}
    assert longer.preserves_function(**models)
    grown, opt_state = longer(params, opt_state, **models)
    before, after = (np.asarray(each["positions"]["embedding"]) for each in (params, grown))
    np.testing.assert_array_equal(after, before[[0, 0, 0, 0, 1, 2, 3, 4, 5]])
    logits, gradient = compute(SASREC, grown, max_length=9)
    np.testing.assert_allclose(logits, compute(SASREC, params)[0], rtol=0, atol=1e-6)
    path = "['positions']['embedding']"
    np.testing.assert_allclose(moments_of(opt_state)[0][path], leaves(gradient)[path], rtol=0, atol=1e-6)
    assert len(leaves(gradient)[path]) == LENGTH + 3


def test_copies_by_hand():
    """Hidden unit 0 doubled with shares 1/4 and 3/4."""
    grown = grow(ComposedGrowth({"hidden": Copies(share=0.25)}), DNN_OPTIONS, feed_forward_factor=4)
    old, new = grown.old_params["blocks"], grown.params["blocks"]
    np.testing.assert_array_equal(new["up"]["kernel"], np.concatenate([old["up"]["kernel"]] * 2, axis=2))
    np.testing.assert_array_equal(new["up"]["bias"], np.concatenate([old["up"]["bias"]] * 2, axis=1))
    parts = [share * np.asarray(old["down"]["kernel"]) for share in (1 / 4, 3 / 4)]
    np.testing.assert_allclose(new["down"]["kernel"], np.concatenate(parts, axis=1), rtol=1e-6)


def test_copies_may_take_the_next_blocks_weights():
    growth = ComposedGrowth({"hidden": Copies(block="next")}, allow_lossy=True)
    grown = grow(growth, DNN_OPTIONS, feed_forward_factor=4)
    old, new = grown.old_params["blocks"], grown.params["blocks"]
    np.testing.assert_array_equal(new["up"]["kernel"][:, :, :16], old["up"]["kernel"])
    np.testing.assert_array_equal(new["up"]["kernel"][:, :, 16:], old["up"]["kernel"][np.array([1, 1])])
    np.testing.assert_array_equal(new["up"]["bias"][:, 16:], old["up"]["bias"][np.array([1, 1])])
    np.testing.assert_array_equal(new["down"]["kernel"][:, 16:], old["down"]["kernel"] / 2)


def test_noise_falls_on_copies_alone():
    leaf = np.random.default_rng(0).standard_normal((2, 30, 20), np.float32)
    axes = None, along(Axis("hidden", 20), {"hidden": Copies(noise=0.01)("hidden", 20, 40, seed=0)})
    grown, again = (
        np.asarray(grow_value(jnp.asarray(leaf), axes, key=jax.random.key(seed), stacked=True)) for seed in (0, 1)
    )
    np.testing.assert_array_equal(grown[:, :, :20], leaf)
    noise = (grown[:, :, 20:] - leaf) / leaf.std((1, 2), keepdims=True)
    assert noise.std() == pytest.approx(0.01, rel=0.1)
    assert (again[:, :, 20:] != grown[:, :, 20:]).all()


LOSSY = {
    "zeros in the stream of a layer norm": (DNN_OPTIONS, {"width": 11}, {"stream": NEW, "hidden": EQUAL}, "mean"),
    "copies in the stream of an rms norm": (DNN_RMS, {"width": 16}, {"stream": EQUAL, "hidden": EQUAL}, "constant"),
    "noise": (DNN_OPTIONS, {"feed_forward_factor": 3}, {"hidden": Copies(noise=1e-3)}, "noise is added"),
    "the next block": (DNN_OPTIONS, {"feed_forward_factor": 3}, {"hidden": Copies(block="next")}, "next block"),
}


@pytest.mark.parametrize("name", LOSSY)
def test_what_changes_the_function_must_be_allowed_by_name(name):
    old, changes, units, reason = LOSSY[name]
    models = model_of(old), model_of(replace(old, **changes))
    with pytest.raises(OptionError, match=f"{reason}.*allow_lossy=true"):
        ComposedGrowth(units).check(*models)
    allowed = ComposedGrowth(units, allow_lossy=True)
    allowed.check(*models)
    assert not allowed.preserves_function(*models)


@pytest.mark.slow
def test_a_layer_norm_really_sees_new_zeros():
    units = {"stream": NEW, "hidden": EQUAL}
    grown = grow(ComposedGrowth(units, allow_lossy=True), DNN_OPTIONS, width=24)
    assert np.abs(grown.compute()[0] - grown.compute_old()[0]).max() > 0.01


@pytest.mark.parametrize(
    ("old", "changes", "units", "sentence"),
    [
        (DNN_OPTIONS, {"width": 12}, {"stream": EQUAL, "hidden": EQUAL}, "take a multiple of 8"),
        (DNN_OPTIONS, {"width": 16}, {"stream": UNEQUAL, "hidden": EQUAL}, "share=0.5"),
        (DNN_OPTIONS, {"width": 16}, {"stream": EQUAL}, "growth.units has no rule"),
        (DNN_OPTIONS, {"width": 16}, {"stream": EQUAL, "inner": EQUAL}, "growth.units.inner: the model has no such"),
        (DNN_OPTIONS, {"width": 4}, {"stream": EQUAL, "hidden": EQUAL}, "fall from 8 to 4"),
        (SASREC, {"n_heads": 4}, {"heads": EQUAL, "head": EQUAL}, "'head' units would fall from 4 to 2"),
        (DNN_OPTIONS, {"norm": "rms", "width": 16}, {"stream": EQUAL, "hidden": EQUAL}, "sizes alone.*norm.bias"),
    ],
)
def test_what_cannot_be_grown_is_refused(old, changes, units, sentence):
    with pytest.raises(OptionError, match=sentence):
        ComposedGrowth(units).check(model_of(old), model_of(replace(old, **changes)))


def test_depth_and_catalogue_need_rules_of_their_own():
    with pytest.raises(OptionError, match="growth.depth is empty"):
        ComposedGrowth({}).check(model_of(DNN_OPTIONS), model_of(DNN_OPTIONS, depth=4))
    larger = nnx.eval_shape(lambda: DNN_OPTIONS(n_items=200, max_length=LENGTH, rngs=nnx.Rngs(0)))
    with pytest.raises(OptionError, match="only a warm start"):
        ComposedGrowth({}).check(model_of(DNN_OPTIONS), larger)
    with pytest.raises(OptionError, match="growth.moments=keep"):
        ComposedGrowth({}, moments="keep")


class Silent(nnx.Module):
    def __init__(self, width):
        self.kernel = nnx.Param(np.ones((width, 2), np.float32))


class Wrong(Silent):
    def axes(self):
        return {"kernel": ()}


@pytest.mark.parametrize(("model", "sentence"), [(Silent, "method axes"), (Wrong, r"sizes \(\) for 'kernel'")])
def test_a_model_must_say_what_its_axes_mean(model, sentence):
    with pytest.raises(OptionError, match=sentence):
        ComposedGrowth({}).check(model(2), model(4))


class Own(nnx.Module):
    """A model of a person's own, with units of its own kind."""

    def __init__(self, n):
        rng = np.random.default_rng(0)
        self.up, self.down = (nnx.Param(rng.standard_normal(shape, np.float32)) for shape in ((3, n), (n, 3)))

    def axes(self):
        outer, experts = Axis("outer", 3), Axis("experts", self.up.shape[1])
        return {"up": (consumed(outer), experts), "down": (consumed(experts), outer)}


def test_growth_works_on_a_persons_own_units():
    old, new = Own(2), Own(5)
    params = split_model(old)[1]
    grown = ComposedGrowth({"experts": UNEQUAL})(params, (), old=old, new=new)[0]
    assert grown["up"].shape == (3, 5)
    before, after = (np.asarray(each["up"]) @ np.asarray(each["down"]) for each in (params, grown))
    np.testing.assert_allclose(after, before, rtol=1e-5)


def test_units_whose_number_is_fixed_do_not_grow():
    turned = OPTIONS["modern"]
    with pytest.raises(OptionError, match="'rotary' units would grow from 4 to 8: their number is fixed"):
        ComposedGrowth({"stream": NEW}).check(model_of(turned), model_of(replace(turned, width=16)))
