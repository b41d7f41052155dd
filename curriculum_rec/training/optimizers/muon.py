"""Muon (device): the blocks' matrices move by orthogonal steps, a layer at a time; all else by Adam."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from curriculum_rec.errors import OptionError
from curriculum_rec.growth.tree import is_stacked, path_names
from curriculum_rec.models.structure import Tree
from curriculum_rec.ranges import BELOW_ONE, POSITIVE, Range
from curriculum_rec.training.optimizers.adam import scale_by_layerwise_adam
from curriculum_rec.training.optimizers.options import ScheduledOptimizer, zeros_by_layer

COEFFICIENTS = 3.4445, -4.7750, 2.0315
ITERATIONS = 5

KERNEL = "kernel"
"""What Flax calls the matrix of a linear layer."""

FUSED = {"query_key_value": 3}
"""Layers that hold several matrices side by side, which are made orthogonal each by itself."""


class LayerwiseMuonState(NamedTuple):
    """Momentum like the parameters; counts int32 ``[depth]``."""

    count: Tree
    mu: Tree


def orthogonalise(x: Float[Array, "*stack rows columns"]) -> Float[Array, "*stack rows columns"]:
    """Bring the singular values of matrices near 1 by five Newton-Schulz iterations, without computing them.

    Source: Jordan (2024), with his coefficients, which leave singular values between about .7 and 1.2.
    """
    if x.shape[-2] > x.shape[-1]:
        return orthogonalise(x.swapaxes(-2, -1)).swapaxes(-2, -1)  # the smaller product
    a, b, c = COEFFICIENTS
    x = x / (jnp.sqrt((x * x).sum((-2, -1), keepdims=True)) + 1e-8)
    for _ in range(ITERATIONS):
        product = x @ x.swapaxes(-2, -1)
        x = a * x + (b * product + c * product @ product) @ x
    return x


def scale_by_layerwise_muon(beta: float, rms: float) -> optax.GradientTransformation:
    """Turn gradients of stacked matrices ``[depth, in, out]`` into orthogonal steps with Nesterov momentum.

    Args:
        beta: Decay of the momentum, in [0, 1).
        rms: Root mean square of the entries of a step.

    Source: Jordan (2024); the scale ``rms sqrt(max(in, out))`` after Liu et al. (2025).
    """

    def init(params: Tree) -> LayerwiseMuonState:
        return LayerwiseMuonState(zeros_by_layer(params), optax.tree.zeros_like(params))

    def update(updates: Tree, state: LayerwiseMuonState, params: Tree | None = None) -> tuple[Tree, LayerwiseMuonState]:
        del params
        count = jax.tree.map(lambda n: n + 1, state.count)
        mu = jax.tree.map(lambda m, g: beta * m + (1 - beta) * g, state.mu, updates)

        def direction(path: tuple[Any, ...], m: Array, g: Array, n: Array) -> Array:
            n = n[:, None, None].astype(m.dtype)
            ahead = beta * m / (1 - beta ** (n + 1)) + (1 - beta) * g / (1 - beta**n)
            parts = jnp.split(ahead, _fused(path), axis=2)
            longest = max(parts[0].shape[1:])
            return jnp.concatenate([rms * longest**0.5 * orthogonalise(part) for part in parts], axis=2)

        return jax.tree_util.tree_map_with_path(direction, mu, updates, count), LayerwiseMuonState(count, mu)

    return optax.GradientTransformation(init, update)


@dataclass(frozen=True, kw_only=True)
class Muon(ScheduledOptimizer):
    """Options of Muon for the matrices inside the blocks, with Adam for all else.

    The matrices are what Flax calls the kernels of linear layers; embeddings, biases, norms and gates, and kernels of
    other shapes, are Adam's. ``rms`` makes steps of both as long as AdamW's usually are, so that
    one learning rate and one weight decay serve both.

    Args:
        momentum: Decay of the momentum of matrices, in [0, 1).
        rms: Root mean square of a matrix's step at a learning rate of 1, above 0.
        b1: Decay of Adam's first moment, in [0, 1).
        b2: Decay of Adam's second moment, in [0, 1).
        eps: Added to the root of Adam's second moment.
        learning_rate, weight_decay, clip_norm, warmup_steps, penalty, schedule, final_fraction, weight_average: As in
            :class:`ScheduledOptimizer`.

    Source: Jordan (2024); Liu et al. (2025).
    """

    momentum: float = 0.95
    rms: float = 0.2
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8

    RANGES: ClassVar[Mapping[str, Range]] = {
        **ScheduledOptimizer.RANGES,
        "momentum": BELOW_ONE,
        "rms": POSITIVE,
        "b1": BELOW_ONE,
        "b2": BELOW_ONE,
        "eps": POSITIVE,
    }

    def direction(self) -> optax.GradientTransformation:
        """Part the parameters between Muon and Adam."""
        parts = {
            "muon": scale_by_layerwise_muon(self.momentum, self.rms),
            "adam": scale_by_layerwise_adam(self.b1, self.b2, self.eps),
        }
        return optax.partition(parts, _labels)


def _labels(params: Tree) -> Tree:
    """Say which parameters are the matrices of stacked linear layers; all others are Adam's.

    Raises:
        OptionError: None is.
    """
    labels = jax.tree_util.tree_map_with_path(
        lambda path, leaf: "muon" if is_stacked(path) and path_names(path)[-1] == KERNEL and leaf.ndim == 3 else "adam",
        params,
    )
    if "muon" not in jax.tree.leaves(labels):
        raise OptionError(
            "optimizer: Muon moves matrices inside a model's stacked 'blocks', and this model has none: use adamw"
        )
    return labels


def _fused(path: tuple[Any, ...]) -> int:
    return next((FUSED[name] for name in path_names(path) if name in FUSED), 1)
