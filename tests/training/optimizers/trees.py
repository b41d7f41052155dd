"""A small model's parameters, stacked by layer and taken apart, for tests of optimizers."""

import jax
import numpy as np
import optax

from curriculum_rec.training.optimizers import LAMB, SGD, Adagrad, AdamW, Lion, Muon, RowwiseAdagrad, ScheduleFree

SHAPES = {
    "items": {"embedding": (4, 3)},
    "norm": {"bias": (3,)},
    "blocks": {"up": {"kernel": (2, 3, 4), "bias": (2, 4)}, "residual": {"gate": (2,)}},
}
MATRICES = {
    "items": {"embedding": True},
    "norm": {"bias": False},
    "blocks": {"up": {"kernel": True, "bias": False}, "residual": {"gate": False}},
}
ALL = [AdamW, SGD, Adagrad, RowwiseAdagrad, Lion, Muon, LAMB, ScheduleFree]


def make_tree(seed):
    rng = np.random.default_rng(seed)
    shapes, tree = jax.tree.flatten(SHAPES, is_leaf=lambda node: isinstance(node, tuple))
    return jax.tree.unflatten(tree, [rng.standard_normal(shape, np.float32) for shape in shapes])


def apart(tree):
    """Give every layer a subtree of its own, for optimizers that know nothing of stacks."""
    layers = {f"layer {n}": jax.tree.map(lambda leaf: leaf[n], tree["blocks"]) for n in range(2)}  # noqa: B023
    return {name: part for name, part in tree.items() if name != "blocks"} | layers


def train(tx, steps=6, arrange=lambda tree: tree):
    """Train on random gradients, in one program; give the parameters and the optimizer's state."""
    gradients = [arrange(make_tree(step + 1)) for step in range(steps)]
    gradients = jax.tree.map(lambda *leaves: np.stack(leaves), *gradients)

    def step(carry, gradient):
        params, state = carry
        updates, state = tx.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    @jax.jit
    def run(params, gradients):
        return jax.lax.scan(step, (params, tx.init(params)), gradients)[0]

    return run(arrange(make_tree(0)), gradients)


def assert_trees_close(got, expected, *, atol=1e-6, rtol=1e-6):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), got, expected)
