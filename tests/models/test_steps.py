"""One step of models of items and of rows: under pmap as under jit, and all of it again from the same state."""

from dataclasses import replace
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from curriculum_rec.data.features.schema import Field
from curriculum_rec.data.inputs import Columns
from curriculum_rec.models import (
    BPRMF,
    DNN,
    HSTU,
    BERT4Rec,
    GRU4Rec,
    LogisticRegression,
    MLPClassifier,
    SASRec,
    TransformerClassifier,
)
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.classifiers import Activation
from curriculum_rec.objectives import Contrastive, Losses, MaskedItem, SampledSoftmax
from curriculum_rec.training.optimizers import AdamW
from curriculum_rec.training.state import TrainState
from curriculum_rec.training.step import make_step

N_ITEMS, LENGTH, ROWS = 12, 6, 8
TX = AdamW(learning_rate=0.01, eps=1e-4)(10)
SHARED = SampledSoftmax(n_negatives=4)
SIZES = {"width": 8, "depth": 1}
COLUMNS = Columns((Field("numbers", "dense", 5, 5), Field("colour", "categorical", 4, 1)), 3)


def squared_logits(model, batch, rng):
    """A loss of a classifier that needs no labels."""
    return Losses((model(batch, rng) ** 2).sum(axis=-1))


def distance_of_logits(model, batch, rng):
    """The same for one whose logits are all 0 at first."""
    return Losses(((model(batch, rng) - 1) ** 2).sum(axis=-1))


CASES = {
    "sasrec": (SASRec(**SIZES, feed_forward_factor=1), SHARED),
    "dnn": (DNN(**SIZES, feed_forward_factor=1), SHARED),
    "modern": (
        SASRec(**SIZES, feed_forward_factor=1, norm="rms", positions="rotary", feed_forward="swiglu", gating="ligr"),
        Contrastive(SHARED),
    ),
    "bert4rec": (
        BERT4Rec(**SIZES, feed_forward_factor=1, positions="relative", time_features="gap"),
        MaskedItem(SHARED, share=0.4),
    ),
    "hstu": (HSTU(**SIZES), SHARED),
    "gru4rec": (GRU4Rec(**SIZES, hidden=5), SHARED),
    "bprmf": (BPRMF(width=8, n_users=ROWS), SHARED),
    "youtube_dnn": (DNN(**SIZES, feed_forward_factor=1, example_age="add"), SHARED),
    "transformer classifier": (TransformerClassifier(**SIZES, feed_forward_factor=1), squared_logits),
    "logistic regression": (LogisticRegression(), distance_of_logits),
    **{f"mlp {name}": (MLPClassifier((6, 5), name), squared_logits) for name in get_args(Activation)},
}


def arrays():
    items = np.random.default_rng(0).integers(1, N_ITEMS + 1, (ROWS, LENGTH + 1)).astype(np.int32)
    present = np.arange(LENGTH) < np.array([6, 4, 1, 6, 2, 3, 5, 6])[:, None]
    time = np.arange(LENGTH) ** 3 * present
    dense = np.random.default_rng(1).standard_normal((ROWS, 5))
    return {
        "history": items[:, :-1] * present,
        "target": items[:, 1:] * present,
        "time": time.astype(np.float32),
        "user": np.arange(1, ROWS + 1, dtype=np.int32),
        "age": (np.arange(ROWS * LENGTH).reshape(ROWS, LENGTH) / (ROWS * LENGTH)).astype(np.float32),
        "dense": dense.astype(np.float32),
        "categorical": np.arange(ROWS, dtype=np.int32)[:, None] % 4,
    }


def begin(options):
    if getattr(options, "TASK", None) == "pointwise":
        return TrainState.create(options(inputs=COLUMNS, depth=None, rngs=nnx.Rngs(0)), TX)
    return TrainState.create(options(n_items=N_ITEMS, max_length=LENGTH, rngs=nnx.Rngs(0)), TX)


@pytest.mark.parametrize("name", CASES)
def test_a_step_under_pmap_equals_one_under_jit(name):
    options, objective = CASES[name]
    weight = np.array([1, 0.5, 1, 1, 0, 2, 1, 1], np.float32)
    row = np.arange(ROWS, dtype=np.int32)

    def run(step):
        return lambda state, arrays, weight, row: step(
            state, Batch(arrays, weight), BatchRng.for_rows(jax.random.key(3), row)
        )

    whole, metrics = jax.jit(run(make_step(objective, TX)))(begin(options), arrays(), weight, row)
    halves = jax.tree.map(lambda x: x.reshape(2, -1, *x.shape[1:]), (arrays(), weight, row))
    step = jax.pmap(
        run(make_step(objective, TX, axis_name="data")),
        axis_name="data",
        in_axes=(None, 0, 0, 0),
        out_axes=None,
        devices=jax.devices()[:2],
    )
    parts, spread = step(begin(options), *halves)
    np.testing.assert_allclose(spread.loss, metrics.loss, rtol=1e-5)
    np.testing.assert_allclose(spread.gradient_norm, metrics.gradient_norm, rtol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), parts.params, whole.params)
    changed = jax.tree.map(
        lambda a, b: bool((np.asarray(a) != np.asarray(b)).any()), whole.params, begin(options).params
    )
    assert all(jax.tree.leaves(changed))


def test_the_same_seed_masks_the_same_items_in_every_step():
    options, objective = CASES["bert4rec"]
    step = jax.jit(make_step(objective, TX))
    batch = Batch({name: jnp.asarray(array) for name, array in arrays().items()}, jnp.ones(ROWS))
    rngs = [BatchRng.for_rows(jax.random.key(seed), jnp.arange(ROWS, dtype=jnp.int32)) for seed in (0, 0, 1)]
    first, again, other = (step(begin(options), batch, rng)[1] for rng in rngs)
    assert float(first.loss) == float(again.loss) != float(other.loss)
    assert float(first.weight) < float((batch["target"] > 0).sum())
    half = replace(batch, weight=jnp.where(batch["target"] == 3, 0, jnp.ones(batch["target"].shape)))
    assert float(step(begin(options), half, rngs[0])[1].weight) <= float(first.weight)
