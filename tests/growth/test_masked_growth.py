"""Masked growth: the function while the masks are 0, what rises with them, and that nothing is left of them."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from networks import N_ITEMS, OPTIONS, TX, compute, leaves, make_batch, model_of, seen, trained

from curriculum_rec.errors import OptionError
from curriculum_rec.growth import MaskedGrowth
from curriculum_rec.growth.layer_maps import Interleave
from curriculum_rec.growth.masks import Masks
from curriculum_rec.models.norms import WEIGHTS, LayerNorm, RMSNorm
from curriculum_rec.models.structure import join_model, split_model
from curriculum_rec.training.freezing import Frozen
from curriculum_rec.training.state import TrainState

SASREC, DNN_OPTIONS = OPTIONS["sasrec"], OPTIONS["dnn"]
FIRST, STEPS = 7, 4
GROWTH = MaskedGrowth(steps=STEPS)
CASES = {
    "wider heads": (SASREC, {"width": 12}, None),
    "deeper": (DNN_OPTIONS, {}, 5),
    "hidden alone": (DNN_OPTIONS, {"feed_forward_factor": 5}, None),
    "more heads, deeper": (replace(SASREC, positions="relative"), {"width": 16, "n_heads": 4}, 2),
    "gates of the stream, turned heads": (OPTIONS["modern"], {"width": 16, "n_heads": 4}, None),
    "both ways": (OPTIONS["bert4rec"], {"width": 12}, None),
    "around pointwise attention": (replace(OPTIONS["hstu"], norm="layer"), {"width": 12}, None),
    "post-norm": (replace(DNN_OPTIONS, norm_position="post"), {"width": 11}, None),
    "cosines": (replace(DNN_OPTIONS, cosine_scale=5.0), {"width": 11}, None),
}
QUICK = ("wider heads", "deeper")
every_case = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in CASES]
)


@cache
def grown(name):
    """A trained model, the state that masked growth makes of it at the first step, and the models' shapes."""
    options, changes, depth = CASES[name]
    params = trained(options)
    opt_state = seen(TX.init(params), compute(options, params)[1])
    old, new = model_of(options), model_of(replace(options, **changes), depth=depth)
    GROWTH.check(old, new)
    params, opt_state = GROWTH(params, opt_state, old=old, new=new, seed=3)
    state = TrainState(params, opt_state, jnp.int32(FIRST), split_model(new)[0])
    return state.hold(Frozen(), GROWTH.masks(old, new).beginning_at(FIRST)), options


@jax.jit
def _loss_and_logits(params, state):
    model, target = replace(state, params=params).model(), make_batch()["target"]
    logits = model(make_batch()) @ model.item_vectors()[: N_ITEMS + 1].T
    losses = jax.nn.logsumexp(logits, -1) - jnp.take_along_axis(logits, target[..., None], -1)[..., 0]
    return jnp.where(target > 0, losses, 0).mean(), jnp.where(target[..., None] > 0, logits, 0)


def at(state, step):
    """Logits and the parameters' gradient at a step."""
    state = replace(state, step=jnp.int32(step))
    (_, logits), gradient = jax.value_and_grad(_loss_and_logits, has_aux=True)(state.params, state)
    return np.asarray(logits), gradient


@every_case
def test_at_first_the_grown_model_computes_the_same_and_gradients_are_the_grown_ones(name):
    state, options = grown(name)
    logits, gradient = at(state, FIRST)
    np.testing.assert_allclose(logits, compute(options, trained(options))[0], rtol=0, atol=1e-5)
    mu = [value for path, value in leaves(state.opt_state).items() if ".mu" in path]
    old_depth = len(trained(options)["blocks"]["norm"]["scale"])  # moments of copied blocks are their sources'
    for (path, got), expected in zip(leaves(gradient).items(), mu, strict=True):
        kept = slice(old_depth) if "blocks" in path else slice(None)
        np.testing.assert_allclose(got[kept], expected[kept], atol=1e-6, err_msg=path)


@every_case
def test_in_the_end_it_is_an_ordinary_model_and_all_of_it_learns_on_the_way(name):
    state, _ = grown(name)
    plain = state.hold(Frozen(), Masks())
    assert not plain.masks and plain.structure == split_model(model_of_case(name))[0]
    last, halfway = at(state, FIRST + STEPS), at(state, FIRST + STEPS // 2)
    np.testing.assert_allclose(last[0], at(plain, FIRST + STEPS)[0], rtol=0, atol=1e-5)
    assert np.abs(last[0] - at(state, FIRST)[0]).max() > 1e-3
    np.testing.assert_array_equal(at(state, FIRST + 100)[0], last[0])
    for path, leaf in leaves(halfway[1]).items():
        if "positions" not in path and "bias" not in path and "embedding" not in path:
            assert leaf.any(), path
    touched = np.unique(np.asarray(make_batch()["target"]))[1:]
    assert np.asarray(halfway[1]["items"]["embedding"])[touched].all()


def model_of_case(name):
    options, changes, depth = CASES[name]
    return model_of(replace(options, **changes), depth=depth)


def test_all_of_a_wider_model_is_random_at_once_and_what_was_there_is_untouched():
    state, options = grown("wider heads")
    before, after = trained(options), state.params
    np.testing.assert_array_equal(after["items"]["embedding"][:, :8], before["items"]["embedding"])
    assert (np.asarray(after["items"]["embedding"])[:, 8:] != 0).all()
    down = np.asarray(after["blocks"]["feed_forward"]["down"]["kernel"])
    np.testing.assert_array_equal(down[:, :8, :8], before["blocks"]["feed_forward"]["down"]["kernel"])
    assert (down != 0).all()
    np.testing.assert_array_equal(after["norm"]["scale"][:8], before["norm"]["scale"])


def test_new_blocks_are_copies_behind_masked_gates():
    state, options = grown("deeper")
    masked = state.masks.of(state.params, state.step)["blocks"]
    np.testing.assert_array_equal(masked["residual"]["gate"][2:], 0)
    np.testing.assert_array_equal(
        masked["up"]["kernel"], np.asarray(trained(options)["blocks"]["up"]["kernel"])[[0, 1, 0, 1, 0]]
    )
    half = state.masks.of(state.params, jnp.int32(FIRST + 2))["blocks"]["residual"]["gate"]
    np.testing.assert_allclose(half, np.asarray(state.params["blocks"]["residual"]["gate"]) * [1, 1, 0.5, 0.5, 0.5])


@pytest.mark.parametrize("make", [lambda: LayerNorm(3, rngs=nnx.Rngs(0)), lambda: RMSNorm(3)])
def test_weighted_statistics_by_hand(make):
    norm, x, weights = make(), np.array([[1.0, 4.0, -2.0]], np.float32), np.array([1.0, 1.0, 0.5])
    norm.scale[...] = jnp.array([1.0, 2.0, 3.0])
    plain = norm(jnp.asarray(x))
    mean = (weights * x).sum() / 2.5 if isinstance(norm, LayerNorm) else 0.0
    variance = (weights * (x - mean) ** 2).sum() / 2.5
    setattr(norm, WEIGHTS, nnx.Param(jnp.asarray(weights, jnp.float32)))
    np.testing.assert_allclose(norm(jnp.asarray(x)), (x - mean) / np.sqrt(variance) * [1, 2, 3], rtol=1e-5)
    setattr(norm, WEIGHTS, nnx.Param(jnp.ones(3)))
    np.testing.assert_allclose(norm(jnp.asarray(x)), plain, rtol=1e-5)


def test_freezing_goes_beside_masks():
    state, _ = grown("wider heads")
    frozen = state.freeze(Frozen(1))
    assert frozen.masks == state.masks and frozen.structure != state.structure
    assert frozen.hold(Frozen(), Masks()).structure == split_model(model_of_case("wider heads"))[0]
    join_model(frozen.structure, frozen.masks.of(frozen.params, frozen.step))


@pytest.mark.parametrize(
    ("options", "changes", "depth", "sentence"),
    [
        (replace(DNN_OPTIONS, norm_position="post"), {}, 4, "model.norm_position=pre"),
        (SASREC, {"width": 4}, None, "never takes any away"),
        (OPTIONS["modern"], {"width": 16}, None, "'rotary' units would grow from 4 to 8: their number is fixed"),
    ],
)
def test_what_cannot_be_masked_is_refused(options, changes, depth, sentence):
    with pytest.raises(OptionError, match=sentence):
        GROWTH.check(model_of(options), model_of(replace(options, **changes), depth=depth))


def test_options_out_of_range_are_refused():
    for options, sentence in (
        ({"steps": 0}, "growth.steps=0"),
        ({"scale": 0.0}, "growth.scale=0"),
        ({"moments": "x"}, "growth.moments=x"),
    ):
        with pytest.raises(OptionError, match=sentence):
            MaskedGrowth(**options)
    old, new = model_of(DNN_OPTIONS), model_of(DNN_OPTIONS, depth=4)
    assert MaskedGrowth(map=Interleave()).preserves_function(old, new)
