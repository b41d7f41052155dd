"""The step (device): forward, weight, gradient of the local weighted sum, reduce, update. One body, placed anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.structure import Tree, join_model
from curriculum_rec.objectives.losses import Losses, Objective, broadcast_weight
from curriculum_rec.training.state import TrainState

Reduce = Callable[[Tree], Tree]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LocalGradient:
    """What one device knows before the reduction: sums, not means, over its own rows.

    Attributes:
        gradient: Gradient of the weighted sum of the losses.
        loss: The weighted sum of the losses.
        weight: The sum of the weights.
        losses: float32 ``[batch]`` the weighted mean loss of each example, or ``[batch, length]`` one a target.
        metrics: The objective's own scalars, times the sum of the weights.
    """

    gradient: Tree
    loss: Float[Array, ""]
    weight: Float[Array, ""]
    losses: Float[Array, "batch *length"]
    metrics: dict[str, Float[Array, ""]]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class StepMetrics:
    """What a step reports about the state before its update.

    Attributes:
        loss: Weighted mean loss of the global batch.
        weight: Sum of the weights: the number of targets trained where all weigh 1.
        gradient_norm: Euclidean norm of the mean gradient.
        objective: The objective's own scalars, weighted means over the global batch.
    """

    loss: Float[Array, ""]
    weight: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    objective: dict[str, Float[Array, ""]]


Precision = Literal["float32", "bfloat16"]
"""What models and objectives compute in; parameters, sums, losses and the optimizer are float32 in any case."""


def local_gradient(
    objective: Objective,
    state: TrainState,
    batch: Batch,
    rng: BatchRng,
    *,
    per_target: bool = False,
    precision: Precision = "float32",
    accumulate: int = 1,
) -> LocalGradient:
    """Differentiate the local weighted *sum* of the losses.

    The sum, not the mean: curriculum weights and padding make the devices' weights unequal, so that a mean of local
    means would not be the global mean.

    Args:
        objective: Per-example losses.
        state: The state before the step.
        batch: This device's rows.
        rng: Their randomness.
        per_target: Whether ``losses`` are given one a target.
        precision: What the model and the objective compute in.
        accumulate: Parts into which the batch is cut, one after the other; memory shrinks with it, the sums stay the
            same. It must divide the batch.
    """
    whole = (batch, rng.row)
    parts = jax.tree.map(lambda leaf: leaf.reshape(accumulate, -1, *leaf.shape[1:]), whole)

    def one_part(part: tuple[Batch, Array]) -> LocalGradient:
        return _part_gradient(
            objective, state, part[0], BatchRng(rng.seed, part[1]), per_target=per_target, precision=precision
        )

    if accumulate == 1:
        return one_part(whole)

    def sums(part: tuple[Batch, Array]) -> tuple[Tree, Array]:
        local = one_part(part)
        return (local.gradient, local.loss, local.weight, local.metrics), local.losses

    def add(total: Tree, part: tuple[Batch, Array]) -> tuple[Tree, Array]:
        more, losses = sums(part)
        return jax.tree.map(jnp.add, total, more), losses

    shapes, _ = jax.eval_shape(sums, jax.tree.map(lambda leaf: leaf[0], parts))
    (gradient, loss, weight, metrics), losses = jax.lax.scan(
        add, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes), parts
    )
    return LocalGradient(gradient, loss, weight, losses.reshape(-1, *losses.shape[2:]), metrics)


def _part_gradient(
    objective: Objective, state: TrainState, batch: Batch, rng: BatchRng, *, per_target: bool, precision: Precision
) -> LocalGradient:
    def weighted_sum(params: Tree) -> tuple[Array, tuple[Array, Losses]]:
        with jax.named_scope("model and objective"):
            losses = objective(join_model(state.structure, _cast(params, precision)), batch, rng)
        per_example = losses.per_example.astype(jnp.float32)
        weight = jnp.broadcast_to(broadcast_weight(batch.weight, per_example), per_example.shape)
        if losses.mask is not None:
            weight = jnp.where(losses.mask, weight, 0)
        return (weight * per_example).sum(), (weight, replace(losses, per_example=per_example))

    (loss, (weight, losses)), gradient = jax.value_and_grad(weighted_sum, has_aux=True)(state.params)
    per_example = losses.per_example
    if not per_target and per_example.ndim > 1:
        inner = tuple(range(1, per_example.ndim))
        per_example = (weight * per_example).sum(inner) / jnp.maximum(weight.sum(inner), 1e-9)
    total = weight.sum()
    return LocalGradient(gradient, loss, total, per_example, {k: v * total for k, v in losses.metrics.items()})


def _cast(params: Tree, precision: Precision) -> Tree:
    return params if precision == "float32" else jax.tree.map(lambda leaf: leaf.astype(precision), params)


@jax.named_scope("optimizer")
def apply_gradient(
    optimizer: optax.GradientTransformation, state: TrainState, local: LocalGradient, *, reduce: Reduce
) -> tuple[TrainState, StepMetrics]:
    """Reduce over the devices and update.

    Args:
        optimizer: The optax transformation.
        state: The state before the step.
        local: This device's sums.
        reduce: Sums a tree over all devices.
    """
    gradient, loss, weight, metrics = reduce((local.gradient, local.loss, local.weight, local.metrics))
    scale = 1 / jnp.maximum(weight, 1e-9)  # a batch without weight gives a gradient of 0, not NaN
    gradient = jax.tree.map(lambda leaf: leaf * scale, gradient)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    new = TrainState(optax.apply_updates(state.params, updates), opt_state, state.step + 1, state.structure)
    own = {name: value * scale for name, value in metrics.items()}
    return new, StepMetrics(loss * scale, weight, optax.tree.norm(gradient), own)


def make_step(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    *,
    axis_name: str | None = None,
    precision: Precision = "float32",
    accumulate: int = 1,
) -> Callable[[TrainState, Batch, BatchRng], tuple[TrainState, StepMetrics]]:
    """Make the bare step, a pure function to ``jit``, ``pmap`` or ``shard_map`` yourself.

    Args:
        objective: Per-example losses.
        optimizer: The optax transformation that made the state.
        axis_name: The mapped axis that devices are summed over; None on one device. Under ``jax.shard_map`` pass
            ``check_vma=False``: its own reduction would count every gradient once a device.
        precision: What the model and the objective compute in; all else is float32.
        accumulate: Parts into which a device's batch is cut, one after the other, for memory; it must divide the batch.

    Returns:
        ``step(state, batch, rng) -> (state, metrics)``.
    """

    def step(state: TrainState, batch: Batch, rng: BatchRng) -> tuple[TrainState, StepMetrics]:
        local = local_gradient(objective, state, batch, rng, precision=precision, accumulate=accumulate)
        return apply_gradient(optimizer, state, local, reduce=reduction(axis_name))

    return step


def reduction(axis_name: str | None, *, at_once: bool = True) -> Reduce:
    """Give the sum over a mapped axis, or the identity on one device.

    Args:
        axis_name: The axis; None on one device.
        at_once: Whether the leaves go as one array, since each that travels between hosts waits for an answer of its
            own. Leaves that are themselves spread over another axis must go one by one.
    """
    if axis_name is None:
        return lambda tree: tree
    if not at_once:
        return lambda tree: jax.lax.psum(tree, axis_name)

    def reduce(tree: Tree) -> Tree:
        leaves, structure = jax.tree.flatten(tree)
        joined = jax.lax.psum(jnp.concatenate([leaf.reshape(-1) for leaf in leaves]), axis_name)
        parts = jnp.split(joined, np.cumsum([leaf.size for leaf in leaves])[:-1])
        return jax.tree.unflatten(
            structure,
            [part.reshape(leaf.shape).astype(leaf.dtype) for part, leaf in zip(parts, leaves, strict=True)],
        )

    return reduce
