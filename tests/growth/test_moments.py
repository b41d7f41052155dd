import jax
import jax.numpy as jnp
import optax
import pytest

from curriculum_rec.errors import OptionError
from curriculum_rec.growth.moments import state_kind
from curriculum_rec.training.optimizers import AdamW

PARAMS = {"blocks": {"up": jnp.ones((2, 3))}, "up": jnp.ones(3)}
PATHS = frozenset({("blocks", "up"), ("up",)})


def kinds(optimizer):
    leaves = jax.tree_util.tree_leaves_with_path(optimizer.init(PARAMS))
    return [state_kind(path, PATHS) for path, _ in leaves]


def test_each_leaf_belongs_to_its_parameter_by_the_longest_path():
    per_parameter = [("blocks", "up"), ("up",)]
    expected = [(kind, path) for kind in ("count", "first", "second") for path in per_parameter]
    assert kinds(AdamW()(10)) == [*expected, ("whole", ())]
    assert kinds(optax.sgd(0.1, momentum=0.9)) == [("first", path) for path in per_parameter]
    assert kinds(optax.adagrad(0.1)) == [("second", path) for path in per_parameter]


def test_what_nobody_knows_is_refused_by_name():
    with pytest.raises(OptionError, match=r"prev_grads.*optimizer of this package"):
        kinds(optax.GradientTransformation(lambda params: {"prev_grads": params}, None))
