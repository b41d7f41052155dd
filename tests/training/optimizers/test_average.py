from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from trees import make_tree, train

from curriculum_rec.training.optimizers import SGD, AdamW, ScheduleFree
from curriculum_rec.training.optimizers.average import with_average
from curriculum_rec.training.restore import with_fresh_parameters
from curriculum_rec.training.state import TrainState, evaluation_parameters


@cache
def trained(options):
    """Give parameters and state after 3 steps."""
    return train(options(10), steps=3)


AVERAGED, FREE = AdamW(weight_average=0.9), ScheduleFree()


def test_the_average_by_hand():
    """Weights 1, 2, 3, 4 by a gradient of -1; the average keeps 1/10, then 2/11, then the decay."""
    tx = with_average(optax.sgd(1.0), 0.25)
    params, state = jnp.float32(1.0), None
    state = tx.init(params)
    expected = 1.0
    for kept, weight in ((1 / 10, 2), (2 / 11, 3), (1 / 4, 4), (1 / 4, 5)):
        updates, state = tx.update(jnp.float32(-1.0), state, params)
        params = optax.apply_updates(params, updates)
        expected = kept * expected + (1 - kept) * weight
        assert float(params) == weight
        assert float(state.average) == pytest.approx(expected)


def test_training_is_what_it_is_without_an_average():
    (averaged, state), (plain, _) = trained(AVERAGED), trained(AdamW())
    jax.tree.map(np.testing.assert_array_equal, averaged, plain)
    differs = jax.tree.map(lambda a, b: not np.array_equal(a, b), state.average, plain)
    assert all(jax.tree.leaves(differs))


def test_without_decay_the_average_is_the_weights():
    params, state = train(SGD(weight_average=0.0)(10), steps=2)
    jax.tree.map(np.testing.assert_array_equal, state.average, params)


def test_states_say_which_weights_are_evaluated():
    structure = nnx.split(nnx.Module())[0]
    for options, averages in ((AdamW(), False), (AVERAGED, True), (FREE, True)):
        params, opt_state = trained(options)
        state = TrainState(params, opt_state, jnp.int32(3), structure)
        assert evaluation_parameters(state) is (opt_state.average if averages else params)


def test_a_fresh_optimizer_keeps_the_place_in_the_schedule_even_for_another_model():
    for options in (AVERAGED, FREE):
        params, opt_state = trained(options)
        state = TrainState(params, opt_state, jnp.int32(3), nnx.split(nnx.Module())[0])
        other = {"items": {"embedding": jnp.ones((4, 3))}, "up": jnp.ones((3, 3))}
        fresh = with_fresh_parameters(state, other, options(10))
        schedules = [node for node in jax.tree.leaves(fresh.opt_state, is_leaf=is_schedule) if is_schedule(node)]
        assert [int(node.count) for node in schedules] == [3]
        jax.tree.map(np.testing.assert_array_equal, fresh.opt_state.average, other)


def is_schedule(node):
    return isinstance(node, optax.ScaleByScheduleState)


def test_state_and_parameters_share_no_array():
    """They are donated together."""
    for options in (AVERAGED, FREE):
        params = jax.tree.map(jnp.asarray, make_tree(0))
        arrays = [id(leaf) for leaf in jax.tree.leaves((params, options(10).init(params)))]
        assert len(arrays) == len(set(arrays))


def test_a_warm_up_from_0_takes_nothing_into_a_schedule_free_average():
    params, state = train(ScheduleFree(warmup_steps=4)(10), steps=1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7), (params, state.average), (make_tree(0),) * 2)
    assert float(state.weight_sum) == 0
