"""Temperatures of groups of targets: the scores are divided by them, and they are learnt by the loss's own gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from curriculum_rec.curriculum.options import Curriculum
from curriculum_rec.curriculum.scheduler import Scheduler
from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.objectives import BinaryCrossEntropy, SampledSoftmax, Softmax
from curriculum_rec.training.engine import Engine
from curriculum_rec.training.placement import Placement
from curriculum_rec.training.state import TrainState
from curriculum_rec.training.step import Weigh, make_step
from curriculum_rec.training.tempered import LookAround, Tempered
from curriculum_rec.weighting import DataParameters
from curriculum_rec.weighting.contract import FACT, with_facts
from curriculum_rec.weighting.groups import GROUP

ROWS, LENGTH, WIDTH, N_ITEMS = 6, 4, 3, 9
RULE = DataParameters(groups=3, learning_rate=0.2, momentum=0.5, weight_decay=0.1)


class Table(nnx.Module):
    """A recommender whose user vector is the last item's."""

    n_items = N_ITEMS

    def __init__(self):
        self.table = nnx.Param(jax.random.normal(jax.random.key(0), (N_ITEMS + 1, WIDTH)))

    def __call__(self, batch, rng=None):
        return self.table[...][batch["history"]]

    def item_vectors(self, items=None):
        return self.table[...] if items is None else self.table[...][items]


def make_batch():
    rng = np.random.default_rng(0)
    history, target = (rng.integers(1, N_ITEMS + 1, (ROWS, LENGTH)).astype(np.int32) for _ in range(2))
    target[0, 2:] = 0
    arrays = {"history": history, "target": target, f"{FACT}{GROUP}": (target % 3).astype(np.int32)}
    return Batch(jax.tree.map(jnp.asarray, arrays), jnp.ones(ROWS))


def expected_loss(params, log_temperature, batch):
    """Mean softmax loss with the scores of each target's group divided by its temperature."""
    table = params["table"]
    scores = table[batch["history"]] @ table[1:].T / jnp.exp(log_temperature)[batch["target"] % 3][..., None]
    losses = (
        jax.nn.logsumexp(scores, axis=-1)
        - jnp.take_along_axis(scores, jnp.maximum(batch["target"] - 1, 0)[..., None], axis=-1)[..., 0]
    )
    return jnp.where(batch["target"] > 0, losses, 0).sum() / (batch["target"] > 0).sum()


def test_two_steps_of_model_and_temperatures_are_those_of_the_tempered_loss():
    tx, batch, state = optax.sgd(0.1), make_batch(), TrainState.create(Table(), optax.sgd(0.1), RULE)
    rng = BatchRng.for_rows(jax.random.key(0), jnp.arange(ROWS, dtype=jnp.int32))
    params, temperature, momentum = state.params, jnp.zeros(3), jnp.zeros(3)

    @jax.jit
    def step(state, batch, rng):
        objective = Tempered(Softmax(chunk=5), RULE, state.memory["weighting"])
        weigh = Weigh(RULE, 10, None, LookAround(objective))
        return make_step(objective, tx, weigh=weigh)(state, batch, rng)

    for _ in range(2):
        state, metrics = step(state, batch, rng)
        assert float(metrics.loss) == pytest.approx(float(expected_loss(params, temperature, batch)), rel=1e-5)
        for_params, slope = jax.grad(expected_loss, argnums=(0, 1))(params, temperature, batch)
        params = jax.tree.map(lambda leaf, g: leaf - 0.1 * g, params, for_params)
        momentum = 0.5 * momentum + slope + 0.1 * temperature
        temperature = temperature - 0.2 * momentum
    np.testing.assert_allclose(state.params["table"], params["table"], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(state.memory["weighting"]["log_temperature"], temperature, rtol=1e-2, atol=1e-4)
    assert np.abs(temperature).min() > 1e-3


@pytest.mark.parametrize("objective", [Softmax(chunk=5), SampledSoftmax(4), BinaryCrossEntropy(2)], ids=str)
def test_temperatures_of_one_change_nothing_and_bounds_hold(objective):
    batch, rng = make_batch(), BatchRng.for_rows(jax.random.key(0), jnp.arange(ROWS, dtype=jnp.int32))
    tempered = Tempered(objective, RULE, RULE.begin())(Table(), batch, rng)
    np.testing.assert_array_equal(tempered.per_example, objective(Table(), batch, rng).per_example)
    hot = RULE.begin() | {"log_temperature": jnp.full(3, 3.0)}
    assert (Tempered(objective, RULE, hot)(Table(), batch, rng).per_example != tempered.per_example).any()


@pytest.mark.parametrize(("kind", "devices"), [("jit", 1), ("pmap", 4)])
def test_temperatures_stay_inside_their_bounds_in_an_engine(tiny_examples, kind, devices):
    rule = DataParameters(groups=4, learning_rate=1e3, most=2.0)
    scheduler = Scheduler(Curriculum(), with_facts(tiny_examples, rule), 0, 4)
    placed, tx = Placement(kind, devices).place(), optax.sgd(0.1)
    engine = Engine(SampledSoftmax(4), tx, scheduler, placed, 0, weighting=rule)

    class Big(Table):
        n_items = 40

        def __init__(self):
            self.table = nnx.Param(jax.random.normal(jax.random.key(0), (41, WIDTH)))

    state = placed.place_state(TrainState.create(Big(), tx, rule))
    state, _ = engine.train(state, scheduler.begin(), stop_at=4, on_chunk=lambda chunk: None)
    np.testing.assert_allclose(np.abs(state.memory["weighting"]["log_temperature"]), np.log(2), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": 1}, "groups=1"),
        ({"learning_rate": 0.0}, "learning_rate=0"),
        ({"momentum": 1.0}, "momentum=1"),
        ({"weight_decay": -1.0}, "weight_decay=-1"),
        ({"most": 1.0}, "most=1"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        DataParameters(**options)
