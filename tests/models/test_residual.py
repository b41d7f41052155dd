import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from curriculum_rec.models import DNN, SASRec
from curriculum_rec.models.blocks import FeedForward
from curriculum_rec.models.residual import add_branch, branches_of, leaf_roles
from curriculum_rec.models.structure import split_model


def test_where_the_norm_stands():
    def double(x):
        return 2 * x

    def norm(x):
        return x + 1

    assert add_branch(jnp.float32(3), double, norm=norm, position="pre") == 3 + 2 * (3 + 1)
    assert add_branch(jnp.float32(3), double, norm=norm, position="post") == (3 + 2 * 3) + 1


def test_a_post_norm_branch_gives_a_normalised_stream():
    block = FeedForward(8, factor=2, dropout=0.0, norm_position="post", rngs=nnx.Rngs(0))
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 3, 8), np.float32))
    out = np.asarray(block(x, None))
    np.testing.assert_allclose(out.mean(axis=-1), 0, atol=1e-6)
    np.testing.assert_allclose(out.std(axis=-1), 1, atol=1e-4)


@pytest.mark.parametrize("position", ["pre", "post"])
def test_a_model_says_what_its_leaves_are(position):
    options = SASRec(width=8, norm_position=position)
    model = nnx.eval_shape(lambda: options(n_items=9, max_length=4, rngs=nnx.Rngs(0)))
    branches = branches_of(model)
    assert {branch.path: branch.norm_position for branch in branches} == {
        ("blocks",): position,
        ("blocks", "feed_forward"): position,
    }
    params = split_model(model)[1]["blocks"]
    paths = [("blocks", *path) for path in nnx.traversals.flatten_mapping(params)]
    attention = {
        "norm.scale": "norm_gain", "norm.bias": "norm_bias", "residual.gate": "gate", "out.kernel": "output",
        "out.bias": "output_bias", "query_key_value.kernel": "weight", "query_key_value.bias": "bias",
    }  # fmt: skip
    feed_forward = {
        "norm.scale": "norm_gain", "norm.bias": "norm_bias", "residual.gate": "gate", "down.kernel": "output",
        "down.bias": "output_bias", "up.kernel": "weight", "up.bias": "bias",
    }  # fmt: skip
    expected = {f"blocks.{name}": role for name, role in attention.items()}
    expected |= {f"blocks.feed_forward.{name}": role for name, role in feed_forward.items()}
    roles = leaf_roles(branches, (*paths, ("norm", "scale"), ("items", "embedding")))
    assert {".".join(path): role for path, role in roles.items()} == expected


def test_a_feed_forward_model_has_one_branch():
    model = nnx.eval_shape(lambda: DNN(width=8)(n_items=9, max_length=4, rngs=nnx.Rngs(0)))
    assert [branch.path for branch in branches_of(model)] == [("blocks",)]
