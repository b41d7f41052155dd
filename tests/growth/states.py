"""States that tests of growth share, as if they had been trained, and what they compare."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from cheap import agreement
from flax import nnx

from curriculum_rec.growth.tree import is_stacked
from curriculum_rec.models import DNN, HSTU, BERT4Rec, SASRec
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.structure import join_model
from curriculum_rec.training.optimizers import AdamW
from curriculum_rec.training.state import TrainState
from curriculum_rec.training.step import make_step

LEARNING_RATE = 0.01
TX = AdamW(learning_rate=LEARNING_RATE)(100)
OPTIONS = {
    "sasrec": SASRec(width=8, depth=2, n_heads=2, feed_forward_factor=1),
    "dnn": DNN(width=8, depth=2),
    "cosine": DNN(width=8, depth=2, cosine_scale=5.0),
    "modern": SASRec(
        width=8, n_heads=2, feed_forward_factor=1, norm="rms", positions="rotary", feed_forward="swiglu", gating="ligr"
    ),
    "bert4rec": BERT4Rec(width=8, feed_forward_factor=1, positions="relative"),
    "hstu": HSTU(width=8, n_heads=2),
    "post-norm": DNN(width=8, depth=2, norm_position="post"),
}
STEP = jax.jit(make_step(agreement, TX))


def make_batch():
    """Histories of different lengths, with padding behind them."""
    items = np.random.default_rng(0).integers(1, 13, (6, 7)).astype(np.int32)
    present = np.arange(6) < np.array([6, 4, 1, 6, 2, 3])[:, None]
    arrays = {"history": items[:, :-1] * present, "target": items[:, 1:] * present}
    arrays["time"] = (np.arange(6) ** 3 * present).astype(np.float32)
    return Batch({name: jnp.asarray(array) for name, array in arrays.items()}, jnp.ones(6))


def rng():
    """The randomness of a step."""
    return BatchRng.for_rows(jax.random.key(0), jnp.arange(6, dtype=jnp.int32))


def step(state):
    """Train a step; the state stays usable."""
    return STEP(jax.tree.map(jnp.copy, state), make_batch(), rng())[0]


@cache
def trained_state(name, depth=2):
    """A state in which no parameter, moment or count has its initial value, as after training; it costs no program."""
    options = replace(OPTIONS[name], depth=depth)
    state = nnx.eval_shape(lambda: TrainState.create(options(n_items=12, max_length=6, rngs=nnx.Rngs(0)), TX))
    random = np.random.default_rng(1)

    def value(leaf):
        if jnp.issubdtype(leaf.dtype, jnp.integer):
            return jnp.asarray(random.integers(3, 50, leaf.shape).astype(leaf.dtype))
        return jnp.asarray(np.abs(0.5 * random.standard_normal(leaf.shape, np.float32)) + np.float32(0.01))

    def parameter(leaf):
        return value(leaf) * random.choice(np.float32([-1, 1]), leaf.shape)

    params, opt_state = jax.tree.map(parameter, state.params), jax.tree.map(value, state.opt_state)
    return TrainState(params, opt_state, jnp.int32(3), state.structure)


def shapes_of(state, depth=None):
    """The state's model with shapes alone, at another depth if one is given."""

    def at_depth(path, leaf):
        shape = (depth, *leaf.shape[1:]) if depth and is_stacked(path) else leaf.shape
        return jax.ShapeDtypeStruct(shape, leaf.dtype)

    return join_model(state.structure, jax.tree_util.tree_map_with_path(at_depth, state.params))


def grow(growth, state, depth=4, seed=0):
    """Bring a state to another depth."""
    models = {"old": shapes_of(state), "new": shapes_of(state, depth)}
    params, opt_state = growth(state.params, state.opt_state, **models, seed=seed)
    return TrainState(params, opt_state, state.step, state.structure)


@jax.jit
def _logits(state):
    model = state.model()
    return model(make_batch()) @ model.item_vectors().T


def logits(state):
    """Scores of all items after every position."""
    return np.asarray(_logits(state))


def leaves(tree):
    """Arrays by their paths."""
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
