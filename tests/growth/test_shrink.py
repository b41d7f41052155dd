import jax
import jax.numpy as jnp
import numpy as np
import pytest
from states import TX, grow, leaves, logits, shapes_of, trained_state

from curriculum_rec.errors import OptionError
from curriculum_rec.growth import DepthGrowth, Shrink
from curriculum_rec.training.state import TrainState


def with_gates(name, gates):
    """A trained state of three blocks with these gates in every branch."""
    state = trained_state(name, depth=3)
    params = jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.asarray(gates) if path[-1].key == "gate" else leaf, state.params
    )
    return TrainState(params, state.opt_state, state.step, state.structure)


@pytest.mark.parametrize(
    ("gates", "depth", "kept"),
    [([0.5, -0.1, 1.0], 2, [0, 2]), ([0.5, -0.1, -1.0], 1, [2]), ([0.2, 0.2, 0.1], 1, [1])],
)
@pytest.mark.parametrize("name", ["sasrec", "dnn"])
def test_the_blocks_with_the_smallest_gates_go(name, gates, depth, kept):
    state = with_gates(name, gates)
    small = grow(Shrink(), state, depth)
    for tree in ("params", "opt_state"):
        before, after = leaves(getattr(state, tree)), leaves(getattr(small, tree))
        for leaf, old in before.items():
            np.testing.assert_array_equal(after[leaf], old[kept] if "blocks" in leaf else old, err_msg=leaf)


def test_blocks_behind_gates_of_zero_are_not_missed():
    state = trained_state("dnn")
    back = grow(Shrink(), grow(DepthGrowth(), state, 4), 2)
    np.testing.assert_allclose(logits(back), logits(state), rtol=0, atol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, back.params, state.params)
    assert not Shrink().preserves_function(shapes_of(state, 4), shapes_of(state))


def test_the_deepest_blocks_may_go_instead():
    state = with_gates("dnn", [0.1, 0.2, 0.3])
    small = grow(Shrink(by="depth"), state, 2)
    np.testing.assert_array_equal(small.params["blocks"]["residual"]["gate"], np.float32([0.1, 0.2]))
    assert jax.tree.map(jnp.shape, TX.init(small.params)) == jax.tree.map(jnp.shape, small.opt_state)


def test_what_cannot_shrink_is_refused():
    state = trained_state("dnn")
    with pytest.raises(OptionError, match="growth=shrink cannot lead from depth 2 to 4"):
        grow(Shrink(), state, 4)
    with pytest.raises(OptionError, match="growth.by=norm"):
        Shrink(by="norm")
