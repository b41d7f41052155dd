import jax
import numpy as np
import optax
import pytest

from curriculum_rec.training.optimizers import AdamW
from curriculum_rec.training.optimizers.frozen import with_frozen

PARAMS = {
    "items": {"embedding": np.array([[1.0, -2.0], [-0.0, 0.5]], np.float32)},
    "blocks": {"up": {"kernel": np.arange(12, dtype=np.float32).reshape(2, 2, 3)}, "gate": np.float32([1.0, -0.0])},
}
LAYERS = np.array([True, False])
OPTIMIZER = AdamW(learning_rate=0.1, weight_decay=0.3, clip_norm=1.0)(10)


def gradient(seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32), PARAMS)


def train(tx, params, state, seeds, only=None):
    @jax.jit
    def step(params, state, gradient):
        updates, state = tx.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    for seed in seeds:
        chosen = gradient(seed) if only is None else {only: gradient(seed)[only]}
        params, state = step(params, state, chosen)
    return params, state


def bits(tree):
    return {jax.tree_util.keystr(path): np.asarray(leaf).tobytes() for path, leaf in jax.tree.leaves_with_path(tree)}


@pytest.mark.parametrize("tx", [OPTIMIZER, optax.sgd(0.1, momentum=0.9)], ids=["adamw", "sgd"])
def test_a_frozen_parameter_stands_still_to_the_bit_with_its_state(tx):
    moving, state = train(tx, PARAMS, tx.init(PARAMS), range(3))  # momentum would carry it on
    moving["items"] = PARAMS["items"]
    frozen = with_frozen(tx, lambda path: path[0] == "items")
    still, later = train(frozen, moving, state, range(3, 6))
    assert bits(still["items"]) == bits(moving["items"])
    before, after = bits(state), bits(later)
    assert {name for name in before if "items" in name and before[name] != after[name]} == set()
    assert all(before[name] != after[name] for name in before if "kernel" in name)
    assert not np.array_equal(still["blocks"]["gate"], moving["blocks"]["gate"])


def test_single_layers_can_be_frozen():
    tx = with_frozen(OPTIMIZER, lambda path: LAYERS if path[0] == "blocks" else False)
    params, state = train(tx, PARAMS, tx.init(PARAMS), range(3))
    first = jax.tree.map(lambda leaf: leaf[0], (PARAMS["blocks"], params["blocks"]))
    assert bits(first[0]) == bits(first[1])
    assert not np.array_equal(params["blocks"]["up"]["kernel"][1], PARAMS["blocks"]["up"]["kernel"][1])
    assert state[1].count["blocks"]["gate"].tolist() == [0, 3]


def test_the_rest_trains_as_if_the_frozen_ones_were_not_there():
    """They do not enter the norm of the gradient either."""
    frozen = with_frozen(OPTIMIZER, lambda path: path[0] == "items")
    params, _ = train(frozen, PARAMS, frozen.init(PARAMS), range(3))
    rest = {"blocks": PARAMS["blocks"]}
    rest, _ = train(OPTIMIZER, rest, OPTIMIZER.init(rest), range(3), only="blocks")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), params["blocks"], rest["blocks"])


def test_the_states_structure_is_that_of_the_optimizer_and_a_release_goes_on_from_it():
    frozen = with_frozen(OPTIMIZER, lambda path: path[0] == "items")
    assert jax.tree.structure(frozen.init(PARAMS)) == jax.tree.structure(OPTIMIZER.init(PARAMS))
    params, state = train(frozen, PARAMS, frozen.init(PARAMS), range(2))
    released, state = train(OPTIMIZER, params, state, [2])
    assert not np.array_equal(released["items"]["embedding"], params["items"]["embedding"])
    assert int(state[1].count["items"]["embedding"]) == 1
