"""Small models with parameters away from their initial values, for tests of growth."""

from dataclasses import dataclass, replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from curriculum_rec.growth.moments import state_kind
from curriculum_rec.growth.tree import path_names
from curriculum_rec.models import DNN, HSTU, BERT4Rec, SASRec
from curriculum_rec.models.batch import Batch
from curriculum_rec.models.structure import join_model, split_model
from curriculum_rec.training.optimizers import AdamW

N_ITEMS, LENGTH = 12, 6
TX = AdamW(b1=0.0, b2=0.0)(10)
"""Without memory: its averages are the last gradient and its square."""

OPTIONS = {
    "sasrec": SASRec(width=8, n_heads=2, feed_forward_factor=1, dropout=0.0),
    "dnn": DNN(width=8, feed_forward_factor=2, dropout=0.0),
    "modern": SASRec(
        width=8,
        n_heads=2,
        feed_forward_factor=1,
        dropout=0.0,
        norm="rms",
        positions="rotary",
        feed_forward="swiglu",
        gating="ligr",
    ),
    "bert4rec": BERT4Rec(width=8, n_heads=2, feed_forward_factor=1, dropout=0.0, positions="relative", gating="ligr"),
    "hstu": HSTU(width=8, n_heads=2, inner_width=4, dropout=0.0, bias="position", norm="rms"),
}


def depth_of(options):
    return 2 if isinstance(options, DNN) else 1


def model_of(options, *, depth=None, max_length=LENGTH):
    """A model with shapes alone."""
    depth = depth_of(options) if depth is None else depth
    return nnx.eval_shape(lambda: options(n_items=N_ITEMS, max_length=max_length, depth=depth, rngs=nnx.Rngs(0)))


@cache
def make_batch(seed=0):
    items = np.random.default_rng(seed).integers(1, N_ITEMS + 1, (6, LENGTH + 1)).astype(np.int32)
    present = np.arange(LENGTH) < np.array([6, 4, 1, 6, 2, 3])[:, None]
    arrays = {"history": items[:, :-1] * present, "target": items[:, 1:] * present}
    return Batch({name: jnp.asarray(array, jnp.int32) for name, array in arrays.items()}, jnp.ones(6))


@cache
def _program(options, depth, max_length):
    structure = split_model(model_of(options, depth=depth, max_length=max_length))[0]

    def loss(params, batch):
        model, target = join_model(structure, params), batch["target"]
        logits = model(batch) @ model.item_vectors()[: N_ITEMS + 1].T
        losses = jax.nn.logsumexp(logits, -1) - jnp.take_along_axis(logits, target[..., None], -1)[..., 0]
        return jnp.where(target > 0, losses, 0).mean(), jnp.where(target[..., None] > 0, logits, 0)

    # These programs run a few times: what takes long is to compile them.
    return jax.jit(jax.value_and_grad(loss, has_aux=True), compiler_options={"xla_backend_optimization_level": 0})


def compute(options, params, batch=None, *, depth=None, max_length=LENGTH):
    """Logits ``[batch, length, items]`` of what is no padding, and the gradient of the mean loss."""
    depth = depth_of(options) if depth is None else depth
    (_, logits), gradient = _program(options, depth, max_length)(params, make_batch() if batch is None else batch)
    return np.asarray(logits), gradient


@cache
def trained(options):
    """Random parameters after some plain gradient steps."""
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda leaf: np.float32(0.3 * rng.standard_normal(leaf.shape, np.float32)),
        split_model(model_of(options))[1],
    )
    for _ in range(3):
        gradient = compute(options, params)[1]
        params = jax.tree.map(lambda leaf, g: jnp.asarray(np.asarray(leaf) - 0.1 * np.asarray(g)), params, gradient)
    return params


@dataclass(frozen=True)
class Grown:
    """A model before and after growth, with the optimizer's state after a step on the first batch."""

    old: object
    new: object
    params: object
    opt_state: object
    old_params: object
    depth: int

    def compute(self, batch=None):
        return compute(self.new, self.params, batch, depth=self.depth)

    def compute_old(self, batch=None):
        return compute(self.old, self.old_params, batch)


def seen(opt_state, gradient):
    """The state of an optimizer without memory after one step."""
    by_path = {path_names(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(gradient)}

    def see(path, leaf):
        kind, name = state_kind(path, frozenset(by_path))
        power = {"first": 1, "second": 2}.get(kind)
        return jnp.ones(leaf.shape, leaf.dtype) if power is None else jnp.asarray(np.asarray(by_path[name]) ** power)

    return jax.tree_util.tree_map_with_path(see, opt_state)


def grow(growth, old, *, depth=None, seed=0, tx=TX, **changes):
    """Grow a trained model, whose optimizer saw the gradient of the first batch."""
    new = replace(old, **changes)
    params = trained(old)
    opt_state = seen(tx.init(params), compute(old, params)[1])
    grown, opt_state = growth(params, opt_state, old=model_of(old), new=model_of(new, depth=depth), seed=seed)
    return Grown(old, new, grown, opt_state, params, depth)


def leaves(tree):
    """Every leaf as a numpy array, by its path."""
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def moments_of(opt_state):
    """The first and the second moments of a state, by the names of parameters."""
    found = leaves(opt_state)
    return [{name.partition(f".{kind}")[2]: leaf for name, leaf in found.items() if f".{kind}[" in name} for kind in
            ("mu", "nu")]  # fmt: skip


def assert_moments_are_of(gradient, opt_state, *, all_known):
    """The grown moments of an optimizer without memory are the grown model's gradient, wherever there is a history."""
    gradient, (first, second) = leaves(gradient), moments_of(opt_state)
    assert gradient.keys() == first.keys() == second.keys()
    for path, true in gradient.items():
        known = np.ones(true.shape, bool) if all_known else first[path] != 0
        tolerance = 1e-6 * max(1, np.abs(true).max())
        np.testing.assert_allclose(first[path][known], true[known], rtol=0, atol=tolerance, err_msg=path)
        np.testing.assert_allclose(second[path][known], true[known] ** 2, rtol=0, atol=tolerance, err_msg=path)
