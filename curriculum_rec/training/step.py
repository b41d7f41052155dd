"""The step (device): forward, weight, gradient of the local weighted sum, reduce, update. One body, placed anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.structure import Tree, join_model
from curriculum_rec.objectives.losses import Objective, Remembers, broadcast_weight
from curriculum_rec.training.optimizers.touched import tables_touched
from curriculum_rec.training.row_gradients import (
    RowGradient,
    Rows,
    apply_updates,
    gathered,
    gradient_norm,
    leaf_at,
    put_in,
    summed,
    value_and_gradient,
)
from curriculum_rec.training.state import TrainState
from curriculum_rec.weighting.contract import Memory, Seen, Weighting, facts_of

Reduce = Callable[[Tree], Tree]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LocalGradient:
    """What one device knows before the reduction: sums, not means, over its own rows.

    Attributes:
        gradient: Gradient of the weighted sum of the losses.
        loss: The sum of the losses, weighted as the curriculum says.
        count: The sum of those weights: the number of targets that count where all weigh 1.
        weight: What the gradient is divided by, summed over the devices.
        losses: float32 ``[batch]`` the weighted mean loss of each example, or ``[batch, length]`` one a target.
        metrics: The objective's and the weighting's own scalars, times ``count``.
        memory: The state's, after the step.
        rows: Gradients of tables' rows, by the tables' names; what stands in their place in ``gradient`` is None.
    """

    gradient: Tree
    loss: Float[Array, ""]
    count: Float[Array, ""]
    weight: Float[Array, ""]
    losses: Float[Array, "batch *length"]
    metrics: dict[str, Float[Array, ""]]
    memory: dict[str, Memory]
    rows: Rows = field(default_factory=dict)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class StepMetrics:
    """What a step reports about the state before its update.

    Attributes:
        loss: Mean loss of the global batch, weighted as the curriculum says; a weighting's own weights do not enter.
        weight: Sum of the curriculum's weights: the number of targets trained where all weigh 1.
        gradient_norm: Euclidean norm of the mean gradient.
        objective: The objective's own scalars, weighted means over the global batch.
    """

    loss: Float[Array, ""]
    weight: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    objective: dict[str, Float[Array, ""]]


WEIGHT_PERCENTS = (5, 25, 50, 75, 95)
"""Of the weights that a weighting gives to what counts in a batch, these quantiles are reported."""

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
    weigh: Weigh | None = None,
    axis_name: str | None = None,
    tables: tuple[str, ...] = (),
) -> LocalGradient:
    """Differentiate the local weighted *sum* of the losses.

    The sum, not the mean: curriculum weights and padding make the devices' weights unequal, so that a mean of local
    means would not be the global mean.

    With a weighting, the losses are computed first, without a gradient, and weighed; the gradient is then computed for
    what weighs anything, by the same random numbers.

    Args:
        objective: Per-example losses.
        state: The state before the step.
        batch: This device's rows.
        rng: Their randomness.
        per_target: Whether ``losses`` are given one a target.
        precision: What the model and the objective compute in.
        accumulate: Parts into which the batch is cut, one after the other; memory shrinks with it, the sums stay the
            same. It must divide the batch.
        weigh: The weighting, and what it needs to know of the run.
        axis_name: The mapped axis over which a batch is spread; None on one device.
        tables: Names of the tables of which only looked-up rows get a gradient (``tables_touched``).
    """
    batch = replace(_reminded(objective, state, batch, rng, axis_name), axis_name=axis_name)
    memory = _with_part(state.memory, "objective", dict(batch.memory))
    compute = partial(_part_losses, objective, state, precision=precision)
    differentiate = partial(_part_gradient, compute, state.params, tables=tables, frozen=state.frozen.leaves)
    if weigh is None:
        local, losses, weight = _in_parts(differentiate, batch, rng, accumulate)
        return LocalGradient(
            gradient=local.gradient,
            loss=local.loss,
            count=local.weight,
            weight=local.weight,
            losses=losses if per_target else _mean_inside(losses, weight),
            metrics=local.metrics,
            memory=memory,
            rows=local.rows,
        )
    first, losses, count = _in_parts(partial(_part_sums, compute, state.params), batch, rng, accumulate)
    seen = weigh.see(state, batch, rng, losses, count)
    if weigh.look_ahead is not None:
        seen = weigh.look_ahead(seen, count, state, batch, rng)
    factor, remembered = weigh.weighting(seen, state.memory.get("weighting", {}))
    weight = count * jax.lax.stop_gradient(factor)
    local, _, _ = _in_parts(differentiate, replace(batch, weight=weight), rng, accumulate)
    return LocalGradient(
        gradient=local.gradient,
        loss=first.loss,
        count=first.weight,
        weight=first.weight if weigh.weighting.normalise == "count" else local.weight,
        losses=losses if per_target else _mean_inside(losses, count),
        metrics=first.metrics | _describe_weights(factor, count, weigh.axis_name),
        memory=_with_part(memory, "weighting", remembered),
        rows=local.rows,
    )


def _describe_weights(factor: Array, count: Array, axis_name: str | None) -> dict[str, Array]:
    """Describe the weights of a batch by their mean, the share of zeros and quantiles, each times the local count."""
    used = jnp.where(count > 0, factor, 0)
    everywhere = Seen.of(used, count > 0, progress=jnp.float32(0), axis_name=axis_name)
    total = count.sum()
    quantiles = {f"weight_{p:02}": everywhere.quantile(jnp.float32(p / 100)) * total for p in WEIGHT_PERCENTS}
    return {"weight": (count * used).sum(), "weightless": (count * (used == 0)).sum(), **quantiles}


def _reminded(objective: Objective, state: TrainState, batch: Batch, rng: BatchRng, axis_name: str | None) -> Batch:
    """Give the objective what it remembers, brought up to this step, unless it has it."""
    if batch.memory or not isinstance(objective, Remembers) or not (memory := state.memory.get("objective")):
        return batch
    memory = objective.remember(memory, state.model(), batch, rng, step=state.step, axis_name=axis_name)
    return replace(batch, memory=memory)


def _with_part(memory: dict[str, Memory], name: str, part: Memory) -> dict[str, Memory]:
    return {**memory, name: part} if part else memory


def losses_of(
    objective: Objective,
    state: TrainState,
    batch: Batch,
    rng: BatchRng,
    *,
    precision: Precision = "float32",
    accumulate: int = 1,
) -> Float[Array, "batch *length"]:
    """Compute the losses of this device's rows without any gradient; arguments as in :func:`local_gradient`."""
    compute = partial(_part_losses, objective, state, precision=precision)
    return _in_parts(partial(_part_sums, compute, state.params), batch, rng, accumulate)[1]


@dataclass(frozen=True)
class Weigh:
    """A weighting in a run.

    Attributes:
        weighting: The rule.
        total_steps: Steps of the run.
        axis_name: The mapped axis over which a batch is spread; None on one device.
        look_ahead: Adds to what the rule sees, where the losses alone do not suffice: from the losses, the weights with
            which they count, and the step's state, batch and randomness.
    """

    weighting: Weighting
    total_steps: int
    axis_name: str | None
    look_ahead: Callable[[Seen, Array, TrainState, Batch, BatchRng], Seen] | None = None

    def progress(self, state: TrainState) -> Float[Array, ""]:
        """Give the fraction of the run that has been trained."""
        return state.step.astype(jnp.float32) / self.total_steps

    def see(self, state: TrainState, batch: Batch, rng: BatchRng, losses: Array, count: Array) -> Seen:
        """Bring together what the weighting may know of a step, over all devices."""
        return Seen.of(
            losses,
            count > 0,
            progress=self.progress(state),
            axis_name=self.axis_name,
            step=state.step,
            key=rng.named("weighting").key(),
            facts=facts_of(batch.arrays, shape=losses.shape),
        )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Sums:
    """What adds up over the parts of a batch, but for rows, which are put one after the other."""

    gradient: Tree
    loss: Float[Array, ""]
    weight: Float[Array, ""]
    metrics: dict[str, Float[Array, ""]]
    rows: Rows = field(default_factory=dict)


_Rows = tuple[Mapping[str, Array], Array, Array]
"""Arrays, weights and row numbers of a part of a batch."""

_Compute = Callable[[Batch, BatchRng, Tree], tuple[Array, Array, dict[str, Array]]]
"""Losses, weights and scalars of a batch under some parameters."""


def _in_parts(
    compute: Callable[[Batch, BatchRng], tuple[_Sums, Array, Array]], batch: Batch, rng: BatchRng, accumulate: int
) -> tuple[_Sums, Array, Array]:
    """Compute sums, losses and weights of a batch, part by part."""
    if accumulate == 1:
        return compute(batch, rng)
    rows = batch.arrays, batch.weight, rng.row
    parts = jax.tree.map(lambda leaf: leaf.reshape(accumulate, -1, *leaf.shape[1:]), rows)

    def one(part: _Rows) -> tuple[_Sums, Array, Array]:
        arrays, weight, row = part
        return compute(replace(batch, arrays=arrays, weight=weight), BatchRng(rng.seed, row))

    def add(total: _Sums, part: _Rows) -> tuple[_Sums, tuple[Array, Array, Rows]]:
        more, losses, weight = one(part)
        return jax.tree.map(jnp.add, total, replace(more, rows={})), (losses, weight, more.rows)

    shapes = replace(jax.eval_shape(one, jax.tree.map(lambda leaf: leaf[0], parts))[0], rows={})
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    sums, of_parts = jax.lax.scan(add, nothing, parts)
    losses, weight, rows = jax.tree.map(lambda array: array.reshape(-1, *array.shape[2:]), of_parts)
    return replace(sums, rows=rows), losses, weight


def _part_losses(
    objective: Objective, state: TrainState, batch: Batch, rng: BatchRng, params: Tree, *, precision: Precision
) -> tuple[Array, Array, dict[str, Array]]:
    """Give losses, the weights with which they count, and the objective's own scalars."""
    with jax.named_scope("model and objective"):
        seen = state.masks.of(state.frozen.stop(params), state.step)
        losses = objective(join_model(state.structure, _cast(seen, precision)), batch, rng)
    per_example = losses.per_example.astype(jnp.float32)
    weight = jnp.broadcast_to(broadcast_weight(batch.weight, per_example), per_example.shape)
    if losses.mask is not None:
        weight = jnp.where(losses.mask, weight, 0)
    return per_example, weight, dict(losses.metrics)


def _part_sums(compute: _Compute, params: Tree, batch: Batch, rng: BatchRng) -> tuple[_Sums, Array, Array]:
    """Compute a part without its gradient."""
    losses, weight, metrics = compute(batch, rng, params)
    total = weight.sum()
    sums = _Sums((), (weight * losses).sum(), total, {name: value * total for name, value in metrics.items()})
    return sums, losses, weight


def _part_gradient(
    compute: _Compute,
    params: Tree,
    batch: Batch,
    rng: BatchRng,
    *,
    tables: tuple[str, ...],
    frozen: frozenset[tuple[str, ...]],
) -> tuple[_Sums, Array, Array]:
    """Compute a part and its gradient."""

    def weighted_sum(params: Tree) -> tuple[Array, tuple[Array, Array, dict[str, Array]]]:
        losses, weight, metrics = compute(batch, rng, params)
        return (weight * losses).sum(), (losses, weight, metrics)

    (loss, (losses, weight, metrics)), gradient, rows = value_and_gradient(weighted_sum, params, tables, frozen)
    total = weight.sum()
    return _Sums(gradient, loss, total, {name: value * total for name, value in metrics.items()}, rows), losses, weight


def _mean_inside(losses: Array, weight: Array) -> Array:
    """Average the losses of each example's targets."""
    if losses.ndim == 1:
        return losses
    inner = tuple(range(1, losses.ndim))
    return (weight * losses).sum(inner) / jnp.maximum(weight.sum(inner), 1e-9)


def _cast(params: Tree, precision: Precision) -> Tree:
    return params if precision == "float32" else jax.tree.map(lambda leaf: leaf.astype(precision), params)


@jax.named_scope("optimizer")
def apply_gradient(
    optimizer: optax.GradientTransformation,
    state: TrainState,
    local: LocalGradient,
    *,
    reduce: Reduce,
    axis_name: str | None = None,
) -> tuple[TrainState, StepMetrics]:
    """Reduce over the devices and update.

    Args:
        optimizer: The optax transformation.
        state: The state before the step.
        local: This device's sums.
        reduce: Sums a tree over all devices.
        axis_name: The mapped axis along which single rows are gathered; None on one device.
    """
    sums = local.gradient, local.loss, local.count, local.weight, local.metrics
    gradient, loss, count, weight, metrics = reduce(sums)
    scale, mean = (1 / jnp.maximum(total, 1e-9) for total in (weight, count))  # without weight 0, not NaN
    gradient = jax.tree.map(lambda leaf: leaf * scale, gradient)
    if local.rows:
        rows = gathered(local.rows, axis_name, after=loss)
        gradient = put_in(gradient, _means(rows, state.params, scale))
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    if state.frozen:
        updates, opt_state = state.frozen.hold(updates, opt_state, state.opt_state)
    params = apply_updates(state.params, updates)
    new = TrainState(params, opt_state, state.step + 1, state.structure, local.memory, state.frozen, state.masks)
    own = {name: value * mean for name, value in metrics.items()}
    return new, StepMetrics(loss * mean, count, gradient_norm(gradient), own)


def _means(rows: Rows, params: Tree, scale: Array) -> dict[str, RowGradient]:
    """Add up the gradients of each row and divide them as all others are."""
    means = {}
    for name, each in rows.items():
        total = summed(each, len(leaf_at(params, name)))
        means[name] = RowGradient(total.rows, total.values * scale)
    return means


def make_step(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    *,
    axis_name: str | None = None,
    precision: Precision = "float32",
    accumulate: int = 1,
    weigh: Weigh | None = None,
) -> Callable[[TrainState, Batch, BatchRng], tuple[TrainState, StepMetrics]]:
    """Make the bare step, a pure function to ``jit``, ``pmap`` or ``shard_map`` yourself.

    Args:
        objective: Per-example losses.
        optimizer: The optax transformation that made the state.
        axis_name: The mapped axis that devices are summed over; None on one device. Under ``jax.shard_map`` pass
            ``check_vma=False``: its own reduction would count every gradient once a device.
        precision: What the model and the objective compute in; all else is float32.
        accumulate: Parts into which a device's batch is cut, one after the other, for memory; it must divide the batch.
        weigh: A weighting, which the state was made with, too.

    Returns:
        ``step(state, batch, rng) -> (state, metrics)``.
    """

    def step(state: TrainState, batch: Batch, rng: BatchRng) -> tuple[TrainState, StepMetrics]:
        local = local_gradient(
            objective,
            state,
            batch,
            rng,
            precision=precision,
            accumulate=accumulate,
            weigh=weigh,
            axis_name=axis_name,
            tables=tables_touched(optimizer, state.params),
        )
        return apply_gradient(optimizer, state, local, reduce=reduction(axis_name), axis_name=axis_name)

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
