"""The run (host): stages one after the other, in a fixed order inside each.

Between two boundaries (an evaluation, a checkpoint, a stage's end) the engine trains. At a boundary the order is
fixed: evaluate, save, then draw the next chunk; a saved state therefore matches the batches that follow it. Weights
come from, in this order: the run's own newest checkpoint, a stage's warm start, the stage before, random values.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from curriculum_rec.curriculum.difficulty import PredictionDepth, ScoreFile, TransferTeacher
from curriculum_rec.curriculum.scheduler import Scheduler
from curriculum_rec.curriculum.state import CurriculumState
from curriculum_rec.data.ledger import ledger_lines
from curriculum_rec.data.splits import Part
from curriculum_rec.distillation.distilled import Distilled, without_parts
from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.contract import Evaluator
from curriculum_rec.files import write_frame, write_text
from curriculum_rec.growth.contract import GrowsMasked
from curriculum_rec.growth.depth import stacked_depth
from curriculum_rec.growth.masks import Masks
from curriculum_rec.models.contract import CountsUsers
from curriculum_rec.models.structure import Tree, split_model
from curriculum_rec.models.touched import WHOLE
from curriculum_rec.objectives import Nested, Softmax
from curriculum_rec.objectives.losses import examples_for
from curriculum_rec.tracking.mirror import Mirror
from curriculum_rec.training import hosts
from curriculum_rec.training.checkpoint import Checkpoints, Snapshot, below, flatten, unflatten
from curriculum_rec.training.compilation import METER
from curriculum_rec.training.data_files import write_data_files
from curriculum_rec.training.engine import ChunkReport, Engine
from curriculum_rec.training.experiment import Dataset, Experiment
from curriculum_rec.training.faculty import Faculty
from curriculum_rec.training.freezing import Frozen, frozen_at
from curriculum_rec.training.interrupt import Interrupted, InterruptGuard
from curriculum_rec.training.logbook import Logbook
from curriculum_rec.training.operations import Operations, run_peak
from curriculum_rec.training.optimizers.touched import TouchingTransformation
from curriculum_rec.training.profile import Profile
from curriculum_rec.training.progress import Mode, RunProgress
from curriculum_rec.training.record import RunRecord, StageRecord
from curriculum_rec.training.restore import (
    CURRICULUM,
    MEMORY,
    OPTIMIZER,
    PARAMS,
    check_features,
    check_same_run,
    snapshot_parameters,
    with_fresh_parameters,
)
from curriculum_rec.training.run_directory import MetricsLog, NoLog, RunDirectory, to_json
from curriculum_rec.training.speed import Stretch
from curriculum_rec.training.state import TrainState, begin_memory, count_parameters, evaluation_parameters
from curriculum_rec.training.student import enter, leave, with_parts
from curriculum_rec.training.summary import summarise
from curriculum_rec.training.transitions import Transitions, differ
from curriculum_rec.training.tuition import Tuition, Tutor
from curriculum_rec.training.workshop import OpenRun, TeacherWorkshop, stores
from curriculum_rec.weighting.contract import with_facts

Watch = Callable[[Sequence[float], bool], None]
"""Takes the deciding validation metric of every evaluation so far, and whether training is over."""


@dataclass
class Runner:
    """Trains an experiment into a run directory.

    Args:
        experiment: The components.
        dataset: Its data.
        directory: An existing directory of this run.
        config_hash: Identifies the configuration; a checkpoint of another one is refused.
        progress: How progress is shown.
        profile: Whether a few chunks of every stage are traced, into ``profile/`` of the run directory.
        score_cache: A folder where what teachers said lies for other runs; None keeps it in the run directory alone.
        open_run: Builds the experiment of a finished run, for a difficulty that asks one.
        mirror: The trackers that get the rows of the log.
        watch: Told of the evaluations once each is saved, and when a run goes on; what it raises ends the run.
    """

    experiment: Experiment
    dataset: Dataset
    directory: RunDirectory
    config_hash: str
    progress: Mode = "auto"
    profile: bool = False
    score_cache: str | None = None
    open_run: OpenRun | None = None
    mirror: Mirror = field(default_factory=Mirror)
    watch: Watch | None = None
    _record: RunRecord = field(default_factory=RunRecord, init=False)
    _traces_before: int = field(default=0, init=False)
    _clock: tuple[float, float] = field(default=(0.0, 0.0), init=False)
    _operations: Operations | None = field(default=None, init=False)
    _speed: dict[str, Any] = field(default_factory=dict, init=False)
    _model: nnx.Module | None = field(default=None, init=False)
    _scale: optax.Schedule | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.experiment = self.experiment.for_data(self.dataset)
        self.placed = self.experiment.placement.place()
        self.steps_per_epoch = self.dataset.examples.batches_per_epoch
        self.total_steps = self.experiment.total_steps(self.steps_per_epoch)
        self.optimizer = self.experiment.build_optimizer(self.total_steps)
        self._schedule = self._learning_rates(None)
        self.workshop = TeacherWorkshop.of(
            self.experiment,
            self.dataset,
            self.placed,
            config_hash=self.config_hash,
            store=stores(self.directory.scores, self.score_cache),
            open_run=self.open_run,
            run=str(self.directory.path),
        )
        self.engine = Engine(
            objective=self.experiment.objective,
            optimizer=self.optimizer,
            scheduler=Scheduler(
                self.experiment.curriculum,
                examples_for(self.experiment.objective, with_facts(self.dataset.examples, self.experiment.weighting)),
                self.experiment.seed,
                self.total_steps,
                self.workshop,
            ),
            placed=self.placed,
            seed=self.experiment.seed,
            steps_per_dispatch=self.experiment.steps_per_dispatch,
            precision=self.experiment.precision,
            accumulate=self.experiment.accumulate,
            weighting=self.experiment.weighting,
            meta=self.dataset.meta,
        )
        self._examples = self.engine.scheduler.whole
        self.transitions = Transitions(
            self.experiment,
            self.dataset,
            self.placed,
            self.engine.scheduler.examples,
            self.total_steps,
            self.open_run,
        )
        self.tutor = Tutor(
            self.experiment,
            self.dataset,
            self._examples,
            self.placed,
            self.directory,
            self.workshop.store,
            self.workshop,
            Faculty(self.experiment, self.dataset, self._examples, self.placed, self.open_run),
        )

    def check(self) -> None:
        """Refuse what would fail later, before anything is written.

        Raises:
            RunError: A run that a stage starts from or a difficulty asks does not exist or does not fit.
            DataError: A file of scores does not suit the data.
            OptionError: A depth or a placement does not suit the model, or negatives the catalogue.
        """
        self._begin_memory()  # refuses negatives that do not suit the catalogue
        objective = self.experiment.objective
        if isinstance(self.optimizer, TouchingTransformation) and isinstance(objective, Softmax | Nested):
            raise OptionError(WHOLE)
        if isinstance(self.optimizer, TouchingTransformation) and isinstance(self.experiment.growth, GrowsMasked):
            raise OptionError(
                "growth=masked masks columns of the item table, of which an optimizer of touched rows sees a few rows "
                "alone: choose another growth, or optimizer=adamw"
            )
        for name in self.experiment.stages if isinstance(self.optimizer, TouchingTransformation) else ():
            if getattr(self.experiment.model_of(name)[0], "dense_vectors", "frozen") == "trained":
                raise OptionError(
                    "optimizer: it updates the rows that a step looks up, and model.dense_vectors=trained trains a "
                    "table that is not looked up: take dense_vectors=frozen, or optimizer=adamw"
                )
        difficulty = self.experiment.curriculum.difficulty
        if isinstance(difficulty, ScoreFile):
            difficulty(self.dataset.examples, self.experiment.curriculum.unit)
        if isinstance(difficulty, TransferTeacher | PredictionDepth) and difficulty.run is not None:
            RunDirectory.existing(difficulty.run)
        self.engine.scheduler.check()
        before = None
        for name, stage in self.experiment.stages.items():
            if stage.learning_rate_scale(0) is not None:
                self.experiment.build_optimizer(self.total_steps, stage.learning_rate_scale(0))
            old, before = self.transitions.models(name, before, self.transitions.borrow(name))
            self.placed.check_table(split_model(before)[1])
            jax.eval_shape(self.optimizer.init, split_model(before)[1])  # refuses a model that is none of its kind
            self.transitions.check(name, old, before)
            self.tutor.check(name, before)
        self.transitions.planned_operations()

    @cached_property
    def _peak(self) -> float:
        return run_peak(self.placed, self.experiment.precision)

    @cached_property
    def _items_digest(self) -> str:
        return self.dataset.split.codes_digest

    @cached_property
    def _evaluators(self) -> dict[Part, Evaluator]:
        options, data = self.experiment.evaluation, self.dataset.split
        parts = (Part.VALIDATION, Part.TEST)
        return {part: options.on(data, part, self.experiment.examples, self.placed) for part in parts}

    def run(self) -> dict[str, Any]:
        """Train from the newest checkpoint, or from the start, to the end.

        Returns:
            The summary, which also stands in ``summary.json``.

        Raises:
            Interrupted: A signal came; everything up to the last chunk is saved.
        """
        self._checkpoints = Checkpoints(self.directory.checkpoints, keep=self.experiment.keep_checkpoints)
        self._log = MetricsLog(self.directory.metrics, self.mirror) if hosts.is_first() else NoLog()
        self._clock = time.perf_counter(), METER.seconds
        try:
            with (
                InterruptGuard() as self._guard,
                self.mirror,
                RunProgress(
                    self.total_steps, self.progress if hosts.is_first() else "none", len(self.experiment.stages)
                ) as self._shown,
            ):
                self._logbook = Logbook(self.directory, self._log, self._shown)
                self.workshop.shown, self.workshop.interrupted = self._shown, lambda: self._guard.requested
                state, position = self._resume() or self._start()
                self._tell_watch()
                self.workshop.release()
                names = list(self.experiment.stages)
                while True:
                    state, position = self._train_stage(state, position)
                    if len(self._record.stages) == len(names):
                        break
                    state = self._enter_stage(state, names[len(self._record.stages)])
                self._log_unfinished_epoch(int(state.step), position)
                return self._finish()
        finally:
            self._checkpoints.close()
            self._log.close()

    def _start(self) -> tuple[TrainState, CurriculumState]:
        self._log.rewind(0)
        if hosts.is_first():
            has_users = isinstance(self.experiment.model, CountsUsers)
            write_data_files(self.directory, self.dataset, has_users=has_users)
        for line in ledger_lines(self.dataset.ledger):
            self._shown.say(line)
        self._record = RunRecord(planned_operations=self.transitions.planned_operations())
        first = next(iter(self.experiment.stages))
        state = self.transitions.random_state(first, self.optimizer)
        return self._enter_stage(state, first), self.engine.scheduler.begin()

    def _resume(self) -> tuple[TrainState, CurriculumState] | None:
        snapshot = self._checkpoints.restore_newest()
        if snapshot is None:
            return None
        hashes = {"config_hash": self.config_hash, "split_hash": self.dataset.split.hash}
        check_same_run(snapshot, hashes, self.directory)
        check_features(snapshot, self.dataset, self.directory)
        self._checkpoints.discard_after(snapshot.step)
        self._log.rewind(snapshot.meta["log_position"])
        self._record = RunRecord.from_json(snapshot.meta["record"])
        stage = self._record.stage
        model = self.transitions.model(stage.name, depth=stage.depth, sizes=stage.sizes)
        self._model = model
        self._take_learning_rates(stage)
        tuition = self._take_teacher(stage, model)
        structure, template = split_model(with_parts(model, None if tuition is None else tuition.parts))
        params = unflatten(snapshot.arrays, PARAMS, template)
        opt_state = unflatten(snapshot.arrays, OPTIMIZER, jax.eval_shape(self.optimizer.init, params))
        memory = jax.tree.map(jnp.asarray, unflatten(snapshot.arrays, MEMORY, self._begin_memory(tuition)))
        state = TrainState(params, opt_state, jnp.int32(snapshot.step), structure, memory)
        arrays = below(snapshot.arrays, CURRICULUM)
        self._shown.say(f"resumed at step {snapshot.step}")
        self._shown.stage(stage.name, stage.depth, snapshot.step, number=len(self._record.stages))
        return self.placed.place_state(state), CurriculumState.from_arrays(arrays)

    def _begin_memory(self, tuition: Tuition | None = None) -> Tree:
        experiment, counts = self.experiment, self.dataset.examples.item_counts
        objective = experiment.objective if tuition is None else tuition.objective
        return begin_memory(experiment.weighting, objective, n_items=self.dataset.n_items, item_counts=counts)

    def _take_teacher(self, record: StageRecord, student: nnx.Module) -> Tuition | None:
        """Go on by a stage's teacher, or without one."""
        tuition = self.tutor.begin(
            record.name,
            student,
            first_step=record.first_step,
            steps_per_epoch=self.steps_per_epoch,
            total_steps=self.total_steps,
            of_stage=self._best_of_stage,
        )
        if tuition is not None:
            self._shown.say(f"teacher of stage {record.name}: {tuition.taken}")
            self.engine = self.engine.with_objective(tuition.objective, tuition.examples, tuition.teacher)
        elif isinstance(self.engine.objective, Distilled):
            self.engine = self.engine.with_objective(self.experiment.objective, self._examples, None)
        return tuition

    def _best_of_stage(self, name: str) -> Snapshot:
        record = next(record for record in self._record.stages if record.name == name)
        self._checkpoints.wait()
        return self._checkpoints.restore(record.best_step)

    def _enter_stage(self, state: TrainState, name: str) -> TrainState:
        stage, step, borrowed = self.experiment.stages[name], int(state.step), self.transitions.borrow(name)
        begins_anew = bool(self._record.stages) and stage.begin == "random"
        if isinstance(self.engine.objective, Distilled):
            state = leave(state, self.optimizer)
        if borrowed is not None:
            state = with_fresh_parameters(state, borrowed.params, self.optimizer)
            self._logbook.borrowed(name, step, borrowed)
        elif begins_anew:
            fresh = self.transitions.random_state(name, self.optimizer)
            state = replace(with_fresh_parameters(state, fresh.params, self.optimizer), memory=fresh.memory)
        decision = self.transitions.decide(state, self._model, self._record)
        old, new = self.transitions.models(name, self._model, borrowed, decision)
        self.transitions.check(name, old, new)
        state = self.transitions.grow(state, old, new, self.optimizer)
        grows, growth = differ(old, new), self.experiment.growth
        self._model = new
        state = replace(state, structure=split_model(new)[0], frozen=Frozen(), masks=Masks())
        depth, parameters = stacked_depth(state.params), count_parameters(state.params)
        before = stacked_depth(split_model(old)[1])
        self._record = self._record.begin_stage(name, depth, parameters, step, depth_before=before, anew=begins_anew)
        if decision is not None:
            self._record = self._record.with_stage(sizes=decision.sizes, decision=decision.memory)
        if masks := self.transitions.masks(old, new, step):
            self._record = self._record.with_stage(masks=masks.to_json())
        self._take_learning_rates(self._record.stage)
        self._logbook.stage(
            self._record,
            grown_from=before if grows else None,
            preserves_function=growth.preserves_function(old, new) if grows and growth is not None else None,
        )
        if (tuition := self._take_teacher(self._record.stage, new)) is not None:
            state = enter(state, tuition.objective, tuition.parts, new, self.optimizer)
        return self.placed.place_state(state)

    def _take_learning_rates(self, record: StageRecord) -> None:
        """Go on by a stage's learning rates, where they are not those of the stage before."""
        scale = self.experiment.stages[record.name].learning_rate_scale(record.first_step)
        if scale is None and self._scale is None:
            return
        self._scale, self._schedule = scale, self._learning_rates(scale)
        self.optimizer = self.experiment.build_optimizer(self.total_steps, scale)
        self.engine = self.engine.with_optimizer(self.optimizer)

    def _train_stage(self, state: TrainState, position: CurriculumState) -> tuple[TrainState, CurriculumState]:
        stage = self.experiment.stages[self._record.stage.name]
        end = self._record.stage.first_step + stage.n_steps(self.steps_per_epoch)
        self._traces_before = self.engine.traces
        self._operations = self.transitions.operations(state.model())
        traces = None
        while not self._record.stage.done:
            step = int(state.step)
            (frozen, next_level), masks = self._frozen(step), self._masks(step)
            if (frozen, masks) != (state.frozen, state.masks):
                state, traces, self._traces_before = state.hold(frozen, masks), None, self.engine.traces
            next_level = min(next_level, masks.last_step) if masks else next_level
            boundary = min(end, self._next_evaluation(step), self._next_checkpoint(step), next_level)
            if self.profile and step == self._record.stage.first_step:
                state, position = self._train_profiled(boundary, state, position)
            state, position = self._train_to(boundary, state, position)
            if self.engine.stopped and int(state.step) < boundary:
                self._save(state, position)
                raise Interrupted(str(self.directory.path))
            if self.engine.traces > (self._traces_before + 1 if traces is None else traces):
                raise AssertionError("the step was compiled again inside a stage: this is a fault of the program")
            traces = self.engine.traces
            # The order below is fixed: evaluate, save, and only then draw the next chunk.
            evaluates = boundary == end or boundary == self._next_evaluation(step)
            if evaluates:
                position = self._evaluate(state, position)
            ends = evaluates and stage.until is not None and stage.until(self._record.stage.evaluations)
            if boundary == end or ends:
                self._record = self._record.with_stage(done=True)
            self._save(state, position)
            if evaluates:
                self._tell_watch()
            if self.engine.stopped:
                raise Interrupted(str(self.directory.path))
        return state, position

    def _tell_watch(self) -> None:
        curve = [standing.metric for stage in self._record.stages for standing in stage.evaluations]
        if self.watch is not None and curve:
            over = self._record.stage.done and len(self._record.stages) == len(self.experiment.stages)
            self.watch(curve, over)

    def _frozen(self, step: int) -> tuple[Frozen, int]:
        """Say what is frozen at a step, and the step with which that changes."""
        record, model = self._record.stage, self._model
        stage, first = self.experiment.stages[record.name], record.first_step
        shape = self.transitions.stage_shape(record.name, record.depth_before, record.depth)
        if model is None:
            raise AssertionError("no stage has begun")
        frozen, change = frozen_at(stage.freeze, shape, step - first, model)
        return frozen, first + (shape.steps if change is None else change)

    def _masks(self, step: int) -> Masks:
        """Say what is masked at a step."""
        record = self._record.stage
        masks = Masks() if record.masks is None else Masks.from_json(record.masks)
        return masks if masks and step < masks.last_step else Masks()

    def _next_evaluation(self, step: int) -> int:
        every = self.transitions.evaluates_every
        first = self._record.stage.first_step
        return first + ((step - first) // every + 1) * every

    def _next_checkpoint(self, step: int) -> int:
        every = self.experiment.checkpoint_every_steps
        return self.total_steps if every is None else (step // every + 1) * every

    def _train_to(
        self, boundary: int, state: TrainState, position: CurriculumState
    ) -> tuple[TrainState, CurriculumState]:
        first, stretch = int(state.step), Stretch(self._operations)

        def on_chunk(chunk: ChunkReport) -> None:
            self._record = self._record.computed(stretch.add(chunk), chunk.loss)
            self._logbook.chunk(chunk, self._record, self._schedule)

        state, position = self.engine.train(
            state, position, stop_at=boundary, on_chunk=on_chunk, interrupted=lambda: self._guard.requested
        )
        stretch.end()
        step = int(state.step)
        self._record = self._record.trained(
            steps=step - first,
            seconds=stretch.seconds,
            positions=stretch.positions,
        )
        self._speed = stretch.row(self._peak)
        self._log.write(
            "speed",
            step=step,
            **self._speed,
            traces=self.engine.traces,
            recompilations=max(self.engine.traces - self._traces_before - 1, 0),
            peak_memory_mib=round(self.placed.peak_memory() / 2**20, 1),
        )
        return state, position

    def _train_profiled(
        self, boundary: int, state: TrainState, position: CurriculumState
    ) -> tuple[TrainState, CurriculumState]:
        """Trace two chunks of a stage, after one that compiles."""
        chunk = self.experiment.steps_per_dispatch
        first = int(state.step) + chunk
        last = min(first + 2 * chunk, boundary)
        if first >= last:
            self._shown.say(f"stage {self._record.stage.name} has no second chunk before its first boundary to profile")
            return state, position
        state, position = self._train_to(first, state, position)
        profile = Profile(self.directory.path / "profile" / self._record.stage.name)
        with profile.traced():
            state, position = self._train_to(last, state, position)
        profile.write_page(self.engine.program_text(state, position), steps=int(state.step) - first, speed=self._speed)
        self._shown.say(f"profile of stage {self._record.stage.name}: {profile.folder}/breakdown.txt")
        return state, position

    def _log_unfinished_epoch(self, step: int, position: CurriculumState) -> None:
        """Log what was trained of the dynamic epoch in which the run ends."""
        scheduler = self.engine.scheduler
        if not scheduler.epoch_ended(position, step=step):
            self._log.write("curriculum", step=step, **scheduler.trained(position).row(position.decile_losses))

    def _learning_rates(self, scale: optax.Schedule | None) -> optax.Schedule | None:
        optimizer = self.experiment.optimizer
        known = not isinstance(optimizer, optax.GradientTransformation)
        return optimizer.learning_rate_schedule(self.total_steps, scale) if known else None

    def _evaluate(self, state: TrainState, position: CurriculumState) -> CurriculumState:
        options, step = self.experiment.evaluation, int(state.step)
        # The stage's own structure: that of a state names what is frozen, and would be compiled once a level.
        structure = state.structure if self._model is None else split_model(self._model)[0]
        evaluator = self._evaluators[Part.VALIDATION]
        quality = evaluator.quality(evaluator.answers(structure, without_parts(evaluation_parameters(state))))
        self._record = self._record.evaluated(step, quality, options.metric, share=position.share)
        self._logbook.evaluation(step, quality, self._record, metric=options.metric)
        return self.engine.scheduler.evaluated(position, quality[options.metric])

    def _save(self, state: TrainState, position: CurriculumState) -> None:
        self._read_clock()
        arrays = flatten(state.params, PARAMS) | flatten(state.opt_state, OPTIMIZER) | flatten(state.memory, MEMORY)
        arrays = {name: self.placed.snapshot(leaf) for name, leaf in arrays.items()}
        arrays |= {f"{CURRICULUM}.{name}": np.array(array) for name, array in position.arrays().items()}
        meta = {
            "record": self._record.to_json(),
            "config_hash": self.config_hash,
            "split_hash": self.dataset.split.hash,
            "items_digest": self._items_digest,
            "features_digest": self.dataset.features_digest,
            "log_position": self._log.position(),
        }
        self._checkpoints.save(int(state.step), arrays, meta, pinned=self._record.pinned_steps)

    def _read_clock(self) -> None:
        now = time.perf_counter(), METER.seconds
        self._record = self._record.spent(seconds=now[0] - self._clock[0], compile_seconds=now[1] - self._clock[1])
        self._clock = now

    def _finish(self) -> dict[str, Any]:
        self._checkpoints.wait()
        snapshot = self._checkpoints.restore_best(self._record.best_step)
        structure, params = snapshot_parameters(snapshot, self.experiment, inputs=self.dataset.inputs)
        params = self.placed.replicate(params)
        quality = {}
        for part, evaluator in self._evaluators.items():
            answers = evaluator.answers(structure, params)
            quality[part] = evaluator.quality(answers)
            if hosts.is_first():
                write_frame(self.directory.evaluation / f"{part.name.lower()}.parquet", evaluator.table(answers))
        self._log.write("test", step=snapshot.step, **quality[Part.TEST])
        summary = summarise(
            self.experiment,
            self.dataset,
            self._record,
            quality={part.name.lower(): metrics for part, metrics in quality.items()},
            reference=self._evaluators[Part.TEST].reference(),
            config_hash=self.config_hash,
            placed=self.placed,
            best_step=snapshot.step,
        )
        if hosts.is_first():
            write_text(self.directory.summary, to_json(summary))
        return summary
