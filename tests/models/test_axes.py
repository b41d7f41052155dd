"""What the axes of the models' parameters mean, and norms."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from curriculum_rec.errors import OptionError
from curriculum_rec.growth.width import axes_of
from curriculum_rec.models import DNN, SASRec
from curriculum_rec.models.axes import Axis, axis_sizes, norm_kinds
from curriculum_rec.models.blocks import stack_axes, stack_blocks
from curriculum_rec.models.norms import RMSNorm, make_norm

OPTIONS = [SASRec(width=8, n_heads=2), DNN(width=8)]


@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize("options", OPTIONS, ids=["sasrec", "dnn"])
def test_every_parameter_has_as_many_axes_as_sizes(options, norm):
    model = nnx.eval_shape(lambda: replace(options, norm=norm)(n_items=20, max_length=6, depth=3, rngs=nnx.Rngs(0)))
    axes = axes_of(model)  # refuses what does not fit
    sizes = axis_sizes(axes)
    assert {**sizes, "rows": 128, "stream": 8, "layer": 3, "hidden": 32} == sizes
    assert norm_kinds(axes, "stream") == {f"{norm}_norm"}
    if isinstance(options, SASRec):
        assert (sizes["heads"], sizes["head"], sizes["positions"]) == (2, 4, 6)


def test_one_label_is_one_number_of_units():
    with pytest.raises(OptionError, match="2 and 3 units of 'stream'"):
        axis_sizes({"kernel": (Axis("stream", 2), Axis("stream", 3))})


def test_blocks_that_do_not_say_what_their_axes_mean_are_refused():
    with pytest.raises(OptionError, match="Linear has no method axes"):
        stack_axes(stack_blocks(lambda rngs: nnx.Linear(2, 2, rngs=rngs), 2, nnx.Rngs(0)))


def test_the_rms_norm_by_hand_and_filled_up_with_zeros():
    norm = RMSNorm(2)
    norm.scale[...] = jnp.array([1.0, 2.0])
    # |x|^2 / 2 = 25 / 2
    expected = np.array([3, 4 * 2]) / np.sqrt(25 / 2)
    np.testing.assert_allclose(norm(jnp.array([[3.0, 4.0]]))[0], expected, rtol=1e-6)
    tiny = jnp.array([[3e-4, 4e-4]])  # where the constant counts
    wider = RMSNorm(6)
    wider.scale[...] = jnp.array([1.0, 2.0, 5.0, 5.0, 5.0, 5.0]) * np.float32(np.sqrt(2 / 6))
    padded = wider(jnp.pad(tiny, ((0, 0), (0, 4))))
    np.testing.assert_allclose(padded[0], np.pad(np.asarray(norm(tiny))[0], (0, 4)), rtol=1e-6)
    assert np.asarray(norm(jnp.zeros((1, 2)))).tolist() == [[0.0, 0.0]]


def test_the_rms_norm_agrees_with_flax_where_the_constant_does_not_count():
    x = jax.random.normal(jax.random.key(0), (4, 8))
    flax_norm = nnx.RMSNorm(8, epsilon=1e-12, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(make_norm("rms", 8, nnx.Rngs(0))(x), flax_norm(x), rtol=1e-6)


def test_an_unknown_norm_is_refused():
    with pytest.raises(OptionError, match="model.norm=batch: it must be one of layer, rms"):
        DNN(norm="batch")
