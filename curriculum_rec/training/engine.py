"""The engine (device): several steps a dispatch, fed by the host, which reads losses one dispatch late."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from curriculum_rec.curriculum.sampling import PADDING
from curriculum_rec.curriculum.scheduler import Scheduler
from curriculum_rec.curriculum.state import CurriculumState, Draw
from curriculum_rec.data.examples import Examples
from curriculum_rec.distillation.distilled import Distilled
from curriculum_rec.errors import OptionError, TrainingError
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.structure import Tree
from curriculum_rec.objectives.contrastive import Contrastive
from curriculum_rec.objectives.losses import Objective, examples_for, with_inner
from curriculum_rec.ranges import at_least, check_ranges, one_of
from curriculum_rec.streams import device_stream
from curriculum_rec.training.feed import RANKS, Feed
from curriculum_rec.training.meta import LookAhead, check_meta_batch, draw_meta_batch
from curriculum_rec.training.optimizers.touched import tables_touched
from curriculum_rec.training.placement import Placed
from curriculum_rec.training.probe import Probe
from curriculum_rec.training.row_gradients import padded
from curriculum_rec.training.state import TrainState
from curriculum_rec.training.step import LocalGradient, Precision, Weigh, apply_gradient, local_gradient, reduction
from curriculum_rec.training.tempered import LookAround, Tempered
from curriculum_rec.weighting.contract import Weighting
from curriculum_rec.weighting.learned import MetaLearned
from curriculum_rec.weighting.temperature import DataParameters


@dataclass(frozen=True)
class ChunkReport:
    """What one dispatch did.

    Attributes:
        step: Steps trained after it.
        draw: What it trained on.
        loss: float32 ``[n_steps]``, mean loss of each step.
        gradient_norm: float32 ``[n_steps]``.
        positions: Targets trained.
        epoch: The dynamic epoch, from 1.
        metrics: The objective's own scalars, means over the chunk.
        decile_losses: As in :class:`CurriculumState`, after the chunk.
    """

    step: int
    draw: Draw
    loss: np.ndarray
    gradient_norm: np.ndarray
    positions: float
    epoch: int
    metrics: dict[str, float]
    decile_losses: np.ndarray | None = None


@dataclass
class Engine:
    """Trains on examples under a curriculum.

    Args:
        objective: Per-example losses.
        optimizer: The optax transformation.
        scheduler: Decides what is trained when.
        placed: The devices.
        seed: The run's seed.
        steps_per_dispatch: Most steps that one call to the device makes.
        precision: What the model and the objective compute in; parameters and optimizer are float32.
        accumulate: Parts into which a device cuts its share of a batch, one after the other, for memory.
        weighting: How much each loss of a batch counts; None lets all count the same.
        meta: Examples that are held out for a weighting that learns; None for any other.
        teacher: Frozen arrays on every device, for an objective that follows a teacher; None for any other.

    Attributes:
        traces: How often the program was traced, and so compiled.
        stopped: Whether the last :meth:`train` ended because a host was interrupted.
    """

    objective: Objective
    optimizer: optax.GradientTransformation
    scheduler: Scheduler
    placed: Placed
    seed: int
    steps_per_dispatch: int = 16
    precision: Precision = "float32"
    accumulate: int = 1
    weighting: Weighting | None = None
    meta: Examples | None = None
    teacher: Tree = None
    traces: int = field(default=0, init=False)
    stopped: bool = field(default=False, init=False)
    _probe: Probe | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        ranges = {
            "steps_per_dispatch": at_least(1),
            "precision": one_of(*get_args(Precision)),
            "accumulate": at_least(1),
        }
        check_ranges(self, "", ranges)
        if self.accumulate > 1 and any(isinstance(each, Contrastive) for each in with_inner(self.objective)):
            raise OptionError(
                f"accumulate={self.accumulate} cuts batches, of which objective=contrastive compares all rows: leave "
                "accumulate=1, or make examples.positions_per_batch smaller"
            )
        check_meta_batch(self.weighting, self.meta, self.placed.n_shards)
        for bucket in self.scheduler.examples.buckets:
            if bucket.batch_size % (self.placed.n_shards * self.accumulate):
                raise OptionError(
                    f"a batch of {bucket.batch_size} examples cannot be cut equally for {self.placed.n_shards} devices "
                    f"and accumulate={self.accumulate}: change one of the three"
                )

    @cached_property
    def _feed(self) -> Feed:
        return Feed(self.scheduler, self.placed, self.steps_per_dispatch)

    def _look(self, state: TrainState, position: CurriculumState) -> CurriculumState:
        """Let a sampler's teacher, if there is one, look at the examples that are kept apart."""
        if self.scheduler.taught is None:
            return position
        if self._probe is None:
            apart = self.scheduler.taught.kept_apart(position.quantile)
            task = self.objective.task if isinstance(self.objective, Distilled) else self.objective
            self._probe = Probe(task, self.scheduler.whole, apart, self.placed, self.seed)
        return self.scheduler.looked(position, self._probe(state))

    @cached_property
    def key(self) -> Array:
        """The run's key, on every device."""
        return self.placed.replicate(jax.random.key(self.seed))

    @cached_property
    def _meta(self) -> Tree:
        if self.meta is None:
            return None
        return self.placed.replicate(examples_for(self.objective, self.meta).in_one_shape())

    def begin_anew(self, scheduler: Scheduler, *, seed: int) -> None:
        """Go on to another run of as many steps on the same arrays, by the program that is compiled already.

        Args:
            scheduler: The other run's, of the same curriculum.
            seed: The other run's.
        """
        self.scheduler = self._feed.scheduler = scheduler
        self.seed, self.key = seed, self.placed.replicate(jax.random.key(seed))

    def with_optimizer(self, optimizer: optax.GradientTransformation) -> Engine:
        """Go on by another optimizer of the same state, on the arrays that lie on the devices already."""
        other = replace(self, optimizer=optimizer)
        other.__dict__["_feed"] = self._feed
        return other

    def with_objective(self, objective: Objective, examples: Examples, teacher: Tree) -> Engine:
        """Go on by another objective, on the same examples with perhaps further arrays."""
        return replace(self, objective=objective, scheduler=replace(self.scheduler, whole=examples), teacher=teacher)

    def train(
        self,
        state: TrainState,
        position: CurriculumState,
        *,
        stop_at: int,
        on_chunk: Callable[[ChunkReport], None],
        interrupted: Callable[[], bool] = lambda: False,
    ) -> tuple[TrainState, CurriculumState]:
        """Train to a step, or to the end of a chunk soon after an interruption of any host.

        Args:
            state: A placed state; it is donated and must not be used again.
            position: Where the run stands in its curriculum.
            stop_at: The step to stop at.
            on_chunk: Called once a chunk, one chunk late, so that the device never waits for the host.
            interrupted: Asked before every chunk; the hosts tell each other together with their gradients, so that all
                stop after the same chunk.

        Returns:
            The state and the position after the last step.

        Raises:
            TrainingError: A loss is not finite.
        """
        step = int(state.step)
        pending: tuple[int, Draw, CurriculumState, Tree] | None = None
        self.stopped = False
        while step < stop_at and not self.stopped:
            waits = self.scheduler.feeds_on_losses or self.scheduler.taught is not None
            if waits and self.scheduler.epoch_ended(position, step=step):
                if pending:
                    self._report(*pending, on_chunk)  # the next epoch's order needs the last losses of this one
                    pending = None
                    continue
                position = self._look(state, position)
            at_most = min(self.steps_per_dispatch, stop_at - step)
            draw, position = self.scheduler.draw(position, step=step, at_most=at_most)
            state, output = self._compiled(state, *self._arguments(position, draw, stop=interrupted()))
            step += len(draw)
            if pending:
                self._report(*pending, on_chunk)
            pending = step, draw, position, output
        if pending:
            self._report(*pending, on_chunk)
        return state, position

    def program_text(self, state: TrainState, position: CurriculumState) -> str:
        """Give the compiled program that the next chunk runs, as text."""
        traces = self.traces
        draw, position = self.scheduler.draw(position, step=int(state.step), at_most=1)
        lowered = self._compiled.lower(state, *self._arguments(position, draw, stop=False))  # type: ignore[attr-defined]
        self.traces = traces
        return lowered.compile().as_text()

    def _arguments(self, position: CurriculumState, draw: Draw, *, stop: bool) -> tuple[Tree, Tree]:
        shared, own = self._feed.send(position, draw)
        shared |= {
            "key": self.key,
            "meta": self._meta,
            "teacher": self.teacher,
            "bucket": _pad_steps(draw.bucket, self.steps_per_dispatch),
            "n_steps": np.int32(len(draw)),
            "available": np.int32(draw.available),
            "skipped": np.int32(draw.skipped),
        }
        return shared, own | self.placed.hand_out({"stop": np.full(self.placed.n_shards, stop, np.int32)})

    def _host_losses(self, draw: Draw, losses: np.ndarray) -> np.ndarray:
        """Put the devices' parts of losses ``[n_shards, n_steps, widest batch / n_shards, ...]`` together."""
        n_shards, n_steps, width = losses.shape[:3]
        if n_shards == 1:
            return losses[0]
        joined = np.zeros((n_steps, n_shards * width, *losses.shape[3:]), losses.dtype)
        for step, number in enumerate(draw.bucket):
            batch_size = self.scheduler.examples.buckets[number].batch_size
            mine = losses[:, step, : batch_size // n_shards]
            joined[step, :batch_size] = mine.reshape(batch_size, *losses.shape[3:])
        return joined

    @cached_property
    def _compiled(self) -> Callable[[TrainState, Tree, Tree], tuple[TrainState, Tree]]:
        return self.placed.wrap(self._many_steps)

    def _many_steps(self, state: TrainState, shared: Tree, own: Tree) -> tuple[TrainState, Tree]:
        """Run ``n_steps`` steps, the per-device body; one program serves every bucket and any number of steps."""
        self.traces += 1
        one_step = jax.jit(self._one_step, inline=True)  # traced once, for the shapes and for the loop
        _, output = jax.eval_shape(one_step, state, shared, own, jnp.int32(0))
        buffers = jax.tree.map(lambda leaf: jnp.zeros((self.steps_per_dispatch, *leaf.shape), leaf.dtype), output)

        def body(number: Array, carry: tuple[TrainState, Tree]) -> tuple[TrainState, Tree]:
            state, buffers = carry
            state, output = one_step(state, shared, own, number)
            return state, jax.tree.map(lambda buffer, value: buffer.at[number].set(value), buffers, output)

        state, output = jax.lax.fori_loop(jnp.int32(0), shared["n_steps"], body, (state, buffers))
        return state, output | self._gather(output["losses"], own["stop"])

    def _gather(self, losses: Array, stop: Array) -> Tree:
        """Bring together what the devices know each for itself, with a leading shard axis.

        One exchange, which waits for the last step: two that do not depend on each other may meet in another order on
        another device, and each would take the other's numbers for its own.
        """
        told = jnp.concatenate([losses.reshape(-1), stop.astype(losses.dtype)[None]])
        told = told[None] if self.placed.axis_name is None else jax.lax.all_gather(told, self.placed.axis_name)
        return {"losses": told[:, :-1].reshape(-1, *losses.shape), "stop": told[:, -1]}

    def _one_step(self, state: TrainState, shared: Tree, own: Tree, number: Array) -> tuple[TrainState, Tree]:
        key = device_stream(shared["key"], "step", state.step)
        n_buckets = len(self.scheduler.examples.buckets)
        branches = [self._bucket_branch(bucket, state, shared, key) for bucket in range(n_buckets)]
        if tables_touched(self.optimizer, state.params):
            branches = _of_one_shape(branches, own, number)
        local = jax.lax.switch(shared["bucket"][number], branches, own, number)
        reduce = reduction(self.placed.axis_name, at_once=self.placed.table == 1)
        state, metrics = apply_gradient(self.optimizer, state, local, reduce=reduce, axis_name=self.placed.axis_name)
        return state, {"metrics": metrics, "losses": local.losses}

    def _bucket_branch(
        self, bucket: int, state: TrainState, shared: Tree, key: Array
    ) -> Callable[[Tree, Array], LocalGradient]:
        """Make the part of a step that depends on the bucket's shape; the update after it does not."""
        per_target, weigh = self.scheduler.curriculum.ordered_unit == "target", None
        if self.weighting is not None:
            total, axis_name = self.scheduler.total_steps, self.placed.axis_name
            weigh = Weigh(self.weighting, total, axis_name, self._look_ahead(state, shared))

        def branch(own: Tree, number: Array) -> LocalGradient:
            rows, arrays = self._feed.take(bucket, shared, own, number)
            size = len(rows)
            weight = (rows != PADDING).astype(jnp.float32)
            if "weight" in own:
                weight *= own["weight"][number][:size]
            if per_target:
                rank = arrays.pop(RANKS)
                weight = weight[:, None] * ((rank >= shared["skipped"]) & (rank < shared["available"]))
            first_row = 0 if self.placed.axis_name is None else size * jax.lax.axis_index(self.placed.axis_name)
            rng = BatchRng.for_rows(key, first_row + jnp.arange(size, dtype=jnp.int32))
            local = local_gradient(
                self._objective(state),
                state,
                Batch(
                    arrays,
                    weight,
                    progress=state.step.astype(jnp.float32) / self.scheduler.total_steps,
                    teacher=shared["teacher"],
                ),
                rng,
                per_target=per_target,
                precision=self.precision,
                accumulate=self.accumulate,
                weigh=weigh,
                axis_name=self.placed.axis_name,
                tables=tables_touched(self.optimizer, state.params),
            )
            return _pad_losses(local, own["rows"].shape[-1], self._longest_target)

        return branch

    def _objective(self, state: TrainState) -> Objective:
        """Give the objective, under the temperatures that the weighting has learnt, if it learns any."""
        if isinstance(self.weighting, DataParameters):
            return Tempered(self.objective, self.weighting, state.memory["weighting"])
        return self.objective

    def _look_ahead(self, state: TrainState, shared: Tree) -> LookAhead | LookAround | None:
        """Give what a weighting learns from besides the losses, for example held-out examples, drawn for this step."""
        objective = self._objective(state)
        if isinstance(objective, Tempered):
            return LookAround(objective, self.accumulate)
        if not isinstance(self.weighting, MetaLearned):
            return None
        batch, rng = draw_meta_batch(
            shared["meta"],
            shared["key"],
            state.step,
            size=self.weighting.meta_batch,
            n_shards=self.placed.n_shards,
            axis_name=self.placed.axis_name,
        )
        return LookAhead(
            self.weighting,
            self.objective,
            batch,
            rng,
            self.placed.axis_name,
            self.precision,
            self.accumulate,
            at_once=self.placed.table == 1,
        )

    @property
    def _longest_target(self) -> int:
        arrays = [bucket.arrays.get("target") for bucket in self.scheduler.examples.buckets]
        return max((array.shape[1] for array in arrays if array is not None and array.ndim > 1), default=1)

    def _report(
        self,
        step: int,
        draw: Draw,
        position: CurriculumState,
        output: Tree,
        on_chunk: Callable[[ChunkReport], None],
    ) -> None:
        n_steps = len(draw)
        metrics = jax.tree.map(lambda leaf: np.asarray(leaf)[:n_steps], output["metrics"])
        finite = np.isfinite(metrics.loss) & np.isfinite(metrics.gradient_norm)
        if not finite.all():
            bad = step - n_steps + 1 + int(np.flatnonzero(~finite)[0])
            raise TrainingError(
                f"the loss or its gradient is not finite at step {bad}: lower optimizer.learning_rate, or set "
                "optimizer.clip_norm"
            )
        if self.scheduler.feeds_on_losses:
            losses = self._host_losses(draw, np.asarray(output["losses"])[:, :n_steps])
            self.scheduler.observe(position, draw, losses)
        on_chunk(
            ChunkReport(
                step=step,
                draw=draw,
                loss=metrics.loss,
                gradient_norm=metrics.gradient_norm,
                positions=float(metrics.weight.sum()),
                epoch=position.epoch,
                metrics={name: float(value.mean()) for name, value in metrics.objective.items()},
                decile_losses=position.decile_losses,
            )
        )
        self.stopped |= bool(np.asarray(output["stop"]).any())


def _pad_steps(bucket: np.ndarray, steps: int) -> np.ndarray:
    return np.pad(bucket, (0, steps - len(bucket)))


def _of_one_shape(
    branches: list[Callable[[Tree, Array], LocalGradient]], own: Tree, number: Array
) -> list[Callable[[Tree, Array], LocalGradient]]:
    """Let all buckets look as many rows of a table up, where their gradients are rows."""
    shapes = [jax.eval_shape(branch, own, number).rows for branch in branches]
    sizes = {name: max(len(rows[name].rows) for rows in shapes) for name in shapes[0]}

    def pad(branch: Callable[[Tree, Array], LocalGradient]) -> Callable[[Tree, Array], LocalGradient]:
        def run(own: Tree, number: Array) -> LocalGradient:
            local = branch(own, number)
            return replace(local, rows=padded(local.rows, sizes))

        return run

    return [pad(branch) for branch in branches]


def _pad_losses(local: LocalGradient, batch: int, length: int) -> LocalGradient:
    losses = local.losses
    shape = (batch, *(length,) * (losses.ndim - 1))
    padded = jnp.pad(losses, [(0, wide - narrow) for wide, narrow in zip(shape, losses.shape, strict=True)])
    return replace(local, losses=padded)
