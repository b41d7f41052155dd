import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from curriculum_rec.errors import OptionError
from curriculum_rec.training.optimizer import AdamW, scale_by_layerwise_adam

SHAPES = {
    "items": {"embedding": (4, 3)},
    "norm": {"scale": (3,), "bias": (3,)},
    "blocks": {"up": {"kernel": (2, 3, 4), "bias": (2, 4)}, "residual": {"gate": (2,)}},
}


def make_tree(seed):
    rng = np.random.default_rng(seed)
    shapes, tree = jax.tree.flatten(SHAPES, is_leaf=lambda node: isinstance(node, tuple))
    return jax.tree.unflatten(tree, [jnp.asarray(rng.standard_normal(shape, np.float32)) for shape in shapes])


def train(tx, steps=6):
    params = make_tree(0)
    state, update = tx.init(params), jax.jit(tx.update)
    for step in range(steps):
        updates, state = update(make_tree(step + 1), state, params)
        params = optax.apply_updates(params, updates)
    return params


def assert_trees_close(got, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got, expected)


MATRICES = {
    "items": {"embedding": True},
    "norm": {"scale": False, "bias": False},
    "blocks": {"up": {"kernel": True, "bias": False}, "residual": {"gate": False}},
}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (AdamW(learning_rate=0.1), optax.adam(0.1)),
        (AdamW(learning_rate=0.1, b1=0.5, b2=0.9, eps=1e-3), optax.adam(0.1, 0.5, 0.9, 1e-3)),
        (AdamW(learning_rate=0.1, b1=0.0), optax.adam(0.1, 0.0)),
        (AdamW(learning_rate=0.1, weight_decay=0.3), optax.adamw(0.1, weight_decay=0.3, mask=MATRICES)),
        (AdamW(learning_rate=0.1, clip_norm=0.5), optax.chain(optax.clip_by_global_norm(0.5), optax.adam(0.1))),
        (
            AdamW(learning_rate=0.1, warmup_steps=2, schedule="cosine", final_fraction=0.1),
            optax.adam(optax.warmup_cosine_decay_schedule(0.0, 0.1, 2, 10, 0.01)),
        ),
    ],
    ids=["adam", "adam options", "no momentum", "adamw", "clip", "schedule"],
)
def test_equals_optax_where_all_counts_agree(ours, theirs):
    assert_trees_close(train(ours(10)), train(theirs))


def test_weight_decay_spares_biases_norms_and_gates():
    tx, params = AdamW(learning_rate=0.1, weight_decay=0.5)(10), make_tree(0)
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    jax.tree.map(
        lambda update, leaf, decays: np.testing.assert_allclose(
            update, -0.05 * leaf if decays else 0 * leaf, rtol=1e-6
        ),
        updates,
        params,
        MATRICES,
    )


def test_each_layer_counts_for_itself():
    """A layer that begins later takes the steps that it would take alone."""
    tx = scale_by_layerwise_adam(0.9, 0.999, 1e-8)
    old = {"blocks": {"kernel": jnp.ones((1, 3))}}
    gradients = [jnp.asarray(np.random.default_rng(n).standard_normal((1, 3), np.float32)) for n in range(5)]
    state = tx.init(old)
    for gradient in gradients[:3]:
        _, state = tx.update({"blocks": {"kernel": gradient}}, state)
    new = tx.init(old)
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), state, new)
    for gradient in gradients[3:]:
        update_old, state = tx.update({"blocks": {"kernel": gradient}}, state)
        update_new, new = tx.update({"blocks": {"kernel": gradient}}, new)
        update, both = tx.update({"blocks": {"kernel": jnp.concatenate([gradient, gradient])}}, both)
        expected = jnp.concatenate([update_old["blocks"]["kernel"], update_new["blocks"]["kernel"]])
        np.testing.assert_allclose(update["blocks"]["kernel"], expected, rtol=1e-6)
    assert both.count["blocks"]["kernel"].tolist() == [5, 2]


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
    "options",
    [
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"b1": 1.0},
        {"b2": -0.1},
        {"eps": 0.0},
        {"weight_decay": -1.0},
        {"clip_norm": 0.0},
        {"warmup_steps": -1},
        {"final_fraction": 1.5, "schedule": "linear"},
        {"final_fraction": 0.5},
        {"schedule": "step"},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(OptionError, match=next(iter(options))):
        AdamW(**options)
