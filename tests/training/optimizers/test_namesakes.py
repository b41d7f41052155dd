"""Each optimizer is its namesake of optax, applied to every layer by itself."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from trees import MATRICES, apart, assert_trees_close, train

from curriculum_rec.training.optimizers import LAMB, SGD, Adagrad, AdamW, Lion, Muon, ScheduleFree
from curriculum_rec.training.optimizers.adam import scale_by_layerwise_adam

WHICH = apart({name: part for name, part in MATRICES.items() if name != "blocks"} | {"blocks": {}}) | {
    f"layer {n}": MATRICES["blocks"] for n in range(2)
}


def lamb(rate, decay):
    return optax.chain(
        optax.scale_by_adam(0.9, 0.999, 1e-6),
        optax.add_decayed_weights(decay, WHICH),
        optax.masked(optax.scale_by_trust_ratio(), WHICH),
        optax.scale_by_learning_rate(rate),
    )


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (AdamW(learning_rate=0.1, b1=0.5, b2=0.9, eps=1e-3), optax.adam(0.1, 0.5, 0.9, 1e-3)),
        (
            AdamW(
                learning_rate=0.1,
                weight_decay=0.3,
                clip_norm=0.5,
                warmup_steps=2,
                schedule="cosine",
                final_fraction=0.1,
            ),
            optax.chain(
                optax.clip_by_global_norm(0.5),
                optax.adamw(optax.warmup_cosine_decay_schedule(0.0, 0.1, 2, 20, 0.01), weight_decay=0.3, mask=WHICH),
            ),
        ),
        (SGD(learning_rate=0.01, nesterov=True), optax.sgd(0.01, 0.9, nesterov=True)),
        (Adagrad(learning_rate=0.1), optax.adagrad(0.1, initial_accumulator_value=0.0)),
        (Lion(learning_rate=0.01, weight_decay=0.2), optax.lion(0.01, weight_decay=0.2, mask=WHICH)),
        (LAMB(learning_rate=0.01, weight_decay=0.1), lamb(0.01, 0.1)),
    ],
    ids=["adam", "adamw", "nesterov", "adagrad", "lion", "lamb"],
)
def test_equals_optax_layer_by_layer(ours, theirs):
    assert_trees_close(apart(train(ours(20), steps=20)[0]), train(theirs, steps=20, arrange=apart)[0])


def test_muon_equals_optax_in_every_layers_matrix_and_adam_elsewhere():
    layer = {"up": {"kernel": "muon", "bias": "adam"}, "residual": {"gate": "adam"}}
    theirs = optax.partition(
        {"muon": optax.contrib.muon(0.1, beta=0.8, consistent_rms=0.1), "adam": optax.adam(0.1, 0.5, 0.9, 1e-3)},
        {"items": "adam", "norm": "adam", "layer 0": layer, "layer 1": layer},
    )
    ours = Muon(learning_rate=0.1, momentum=0.8, rms=0.1, b1=0.5, b2=0.9, eps=1e-3)
    # The iterations multiply what rounding leaves in a product by up to 3.4 each.
    assert_trees_close(apart(train(ours(20), 20)[0]), train(theirs, 20, arrange=apart)[0], atol=2e-5)


def test_schedule_free_equals_optax_in_both_of_its_sequences():
    direction = optax.scale_by_adam(0.0, 0.9), optax.add_decayed_weights(0.1, WHICH)
    theirs = optax.contrib.schedule_free(optax.chain(*direction, optax.scale_by_learning_rate(0.01)), 0.01, b1=0.7)
    params, state = train(ScheduleFree(learning_rate=0.01, b1=0.7, b2=0.9, weight_decay=0.1)(20), steps=20)
    expected, their_state = train(theirs, steps=20, arrange=apart)
    assert_trees_close(apart(params), expected, atol=2e-6)
    assert_trees_close(apart(state.average), optax.contrib.schedule_free_eval_params(their_state, expected), atol=2e-6)


def test_each_layer_counts_for_itself():
    """A layer that begins later takes the steps that it would take alone."""
    tx = scale_by_layerwise_adam(0.9, 0.999, 1e-8)
    old = {"blocks": {"kernel": jnp.ones((1, 3))}}
    gradients = [jnp.asarray(np.random.default_rng(n).standard_normal((1, 3), np.float32)) for n in range(5)]
    state = tx.init(old)
    for gradient in gradients[:3]:
        _, state = tx.update({"blocks": {"kernel": gradient}}, state)
    new = tx.init(old)
    both = type(state)(*(join(a, b) for a, b in zip(state, new, strict=True)))
    for gradient in gradients[3:]:
        update_old, state = tx.update({"blocks": {"kernel": gradient}}, state)
        update_new, new = tx.update({"blocks": {"kernel": gradient}}, new)
        update, both = tx.update({"blocks": {"kernel": jnp.concatenate([gradient, gradient])}}, both)
        np.testing.assert_allclose(update["blocks"]["kernel"], join(update_old, update_new)["blocks"]["kernel"], 1e-6)
    assert both.count["blocks"]["kernel"].tolist() == [5, 2]


def join(a, b):
    return {"blocks": {"kernel": jnp.concatenate([a["blocks"]["kernel"], b["blocks"]["kernel"]])}}
