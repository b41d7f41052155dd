import jax
import numpy as np
import optax
import pytest
from trees import ALL, MATRICES, make_tree

from curriculum_rec.errors import OptionError
from curriculum_rec.training.optimizers import (
    SGD,
    Adagrad,
    AdamW,
    Lion,
    Muon,
    Optimizer,
    OptimizerFactory,
    ScheduleFree,
)


def test_weight_decay_spares_biases_norms_and_gates():
    tx, params = SGD(learning_rate=0.1, weight_decay=0.5)(10), make_tree(0)
    updates = jax.jit(lambda params: tx.update(optax.tree.zeros_like(params), tx.init(params), params)[0])(params)
    jax.tree.map(
        lambda update, leaf, decays: np.testing.assert_allclose(
            update, -0.05 * leaf if decays else 0 * leaf, rtol=1e-6
        ),
        updates,
        params,
        MATRICES,
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {0: 1, 50: 1, 100: 1}),
        ({"warmup_steps": 10}, {0: 0, 5: 1 / 2, 10: 1, 100: 1}),
        ({"schedule": "linear"}, {0: 1, 25: 3 / 4, 50: 1 / 2, 100: 0, 200: 0}),
        ({"schedule": "linear", "warmup_steps": 20, "final_fraction": 0.5}, {10: 1 / 2, 20: 1, 60: 3 / 4, 100: 1 / 2}),
        ({"schedule": "cosine"}, {0: 1, 50: 1 / 2, 100: 0}),
        ({"schedule": "cosine", "final_fraction": 0.2}, {0: 1, 50: 0.6, 100: 0.2, 150: 0.2}),
    ],
)
def test_learning_rate_by_hand(options, expected):
    schedule = AdamW(learning_rate=0.5, **options).learning_rate_schedule(100)
    for step, share in expected.items():
        assert float(schedule(step)) == pytest.approx(share / 2, abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (AdamW, {"learning_rate": 0.0}),
        (AdamW, {"learning_rate": float("nan")}),
        (AdamW, {"b1": 1.0}),
        (AdamW, {"b2": -0.1}),
        (AdamW, {"eps": 0.0}),
        (AdamW, {"weight_decay": -1.0}),
        (AdamW, {"clip_norm": 0.0}),
        (AdamW, {"warmup_steps": -1}),
        (AdamW, {"final_fraction": 1.5, "schedule": "linear"}),
        (AdamW, {"final_fraction": 0.5}),
        (AdamW, {"schedule": "step"}),
        (AdamW, {"weight_average": 1.0}),
        (SGD, {"momentum": 1.0}),
        (SGD, {"nesterov": True, "momentum": 0.0}),
        (Adagrad, {"eps": 0.0}),
        (Lion, {"b2": 1.0}),
        (Muon, {"rms": 0.0}),
        (Muon, {"momentum": -0.1}),
        (ScheduleFree, {"b1": 0.0}),
        (ScheduleFree, {"clip_norm": -1.0}),
    ],
)
def test_options_out_of_range_are_refused(kind, options):
    with pytest.raises(OptionError, match=rf"^optimizer\.{next(iter(options))}"):
        kind(**options)


@pytest.mark.parametrize("kind", ALL)
def test_all_are_factories_with_the_shared_options(kind):
    options = kind(learning_rate=0.25, warmup_steps=4)
    assert isinstance(options, OptimizerFactory)
    halved = options.learning_rate_schedule(10, lambda step: 0.5)
    assert [float(options.learning_rate_schedule(10)(step)) for step in (0, 2, 9)] == [0, 1 / 8, 1 / 4]
    assert float(halved(9)) == 1 / 8


@pytest.mark.parametrize("kind", [SGD, ScheduleFree])  # the others share the former's call
def test_a_stages_scale_reaches_the_steps(kind):
    @jax.jit
    def first_step(gradient, params):
        steps = [kind()(10, scale) for scale in (None, lambda step: 0.5)]
        return [tx.update(gradient, tx.init(params), params)[0] for tx in steps]

    moved = first_step(make_tree(1), make_tree(0))
    jax.tree.map(lambda whole, half: np.testing.assert_allclose(half, whole / 2, rtol=1e-3, atol=1e-6), *moved)


def test_what_all_share_is_no_optimizer_by_itself():
    with pytest.raises(TypeError, match="abstract"):
        Optimizer()
