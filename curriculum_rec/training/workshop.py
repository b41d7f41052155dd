"""The workshop (host): trains teachers by the experiment's own model, objective and optimizer, and asks them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx

from curriculum_rec.curriculum.difficulty.workshop import Asked, Lesson, Statistic
from curriculum_rec.curriculum.options import Curriculum
from curriculum_rec.curriculum.scheduler import Scheduler
from curriculum_rec.data.examples import Examples
from curriculum_rec.data.features import FeatureSet
from curriculum_rec.data.inputs import Catalogue
from curriculum_rec.distillation.hearing import ARRAY
from curriculum_rec.errors import OptionError, RunError
from curriculum_rec.evaluation.target_statistics import TargetScorer
from curriculum_rec.growth.depth import stacked_depth
from curriculum_rec.growth.tree import is_stacked
from curriculum_rec.models.structure import Tree
from curriculum_rec.objectives.losses import Objective
from curriculum_rec.streams import host_stream
from curriculum_rec.training.engine import ChunkReport, Engine
from curriculum_rec.training.experiment import Dataset, Experiment
from curriculum_rec.training.interrupt import Interrupted
from curriculum_rec.training.placement import Placed
from curriculum_rec.training.progress import RunProgress
from curriculum_rec.training.restore import load_snapshot, snapshot_parameters
from curriculum_rec.training.run_directory import RunDirectory
from curriculum_rec.training.score_store import ScoreStore
from curriculum_rec.training.state import TrainState, evaluation_parameters
from curriculum_rec.training.step import Precision

OpenRun = Callable[[RunDirectory], Experiment]
"""Builds the experiment of a finished run from its configuration."""


@dataclass
class Bench:
    """What one teacher leaves for the next: arrays on the devices and compiled programs.

    Attributes:
        engine: The last engine.
        scorer: The last scorer.
        digest: The last examples, and their digest.
    """

    engine: Engine | None = None
    scorer: TargetScorer | None = None
    digest: tuple[Examples, str] | None = None


@dataclass
class TeacherWorkshop:
    """Trains teachers on a difficulty's examples and asks them about all targets.

    Teachers are trained plainly, without curriculum, weighting and growth; what they said is kept, so that none is
    trained twice.

    Args:
        build_model: Builds a teacher from a seed.
        build_optimizer: Builds the optimizer for a number of steps.
        objective: Per-example losses.
        placed: The devices.
        seed: Decides everything random.
        store: Keeps what teachers said.
        identity: Identifies model, optimizer and objective in the store; two workshops with the same one, the same seed
            and the same examples train the same teachers.
        steps_per_dispatch: Most steps that one call to the device makes.
        precision: What the model and the objective compute in while a teacher is trained.
        accumulate: Parts into which a device cuts its share of a batch.
        open_run: Builds the experiment of a finished run; None where runs cannot be asked.
        split_hash: Of the data; a run on other data is refused.
        features: What is known of users and items; None for nothing.
        shown: Shows progress; None shows nothing.
        interrupted: Whether a person wants it to stop, asked before every chunk.
        run: The folder of the run that the teachers are for, named when it is interrupted.
        bench: What one teacher leaves for the next.
    """

    build_model: Callable[[int], nnx.Module]
    build_optimizer: Callable[[int], optax.GradientTransformation]
    objective: Objective
    placed: Placed
    seed: int = 0
    store: ScoreStore = field(default_factory=ScoreStore)
    identity: str = ""
    steps_per_dispatch: int = 16
    precision: Precision = "float32"
    accumulate: int = 1
    open_run: OpenRun | None = None
    split_hash: str = ""
    features: FeatureSet | None = None
    shown: RunProgress | None = None
    interrupted: Callable[[], bool] = lambda: False
    run: str = ""
    bench: Bench = field(default_factory=Bench, repr=False)

    @classmethod
    def of(
        cls, experiment: Experiment, dataset: Dataset, placed: Placed, *, config_hash: str, **options: Any
    ) -> TeacherWorkshop:
        """Make the workshop of an experiment, whose teachers are models of its first stage.

        Args:
            experiment: The components.
            dataset: Its data.
            placed: The devices.
            config_hash: Stands for a component whose options are not known.
            options: Any other of the class.
        """
        inputs, (model, depth) = dataset.inputs, experiment.model_of(next(iter(experiment.stages)))
        named = {name: getattr(experiment, name) for name in ("objective", "optimizer", "examples")} | {"model": model}
        identity = {name: describe(value, otherwise=config_hash) for name, value in named.items()}
        return cls(
            build_model=lambda seed: replace(experiment, seed=seed).build_model(inputs),
            build_optimizer=experiment.build_optimizer,
            objective=experiment.objective,
            placed=placed,
            seed=experiment.seed,
            identity=repr({**identity, "inputs": inputs, "depth": depth}),
            steps_per_dispatch=experiment.steps_per_dispatch,
            precision=experiment.precision,
            accumulate=experiment.accumulate,
            split_hash=dataset.split.hash,
            features=inputs.features if isinstance(inputs, Catalogue) else None,
            **options,
        )

    def teach(self, examples: Examples, lesson: Lesson, names: tuple[Statistic, ...]) -> dict[str, np.ndarray]:
        """Train a teacher, unless it is known what it says, and ask it about all targets.

        Raises:
            Interrupted: A person wants it to stop.
            TrainingError: A loss is not finite.
        """
        description = {
            "examples": self._digest_of(examples),
            "identity": self.identity,
            "precision": self.precision,
            "accumulate": self.accumulate,
            "seed": self.seed,
            "lesson": {
                **{f.name: getattr(lesson, f.name) for f in dataclasses.fields(lesson)},
                "taught": None if lesson.taught is None else hashlib.blake2b(lesson.taught.tobytes()).hexdigest(),
            },
        }
        said = self.store.read(description, names)
        if said is None:
            answers = self._train(examples, lesson)
            said = {name: np.stack([answer[name] for answer in answers]) for name in names}
            self.store.write(description, said)
        return said

    def consult(
        self, examples: Examples, run: str, names: tuple[Statistic, ...], *, asked: Asked
    ) -> dict[str, np.ndarray]:
        """Ask the best checkpoint of a finished run.

        Raises:
            RunError: There is no such run, or it was trained on other data, which may hold what this one is tested on.
            OptionError: Its model does not fit.
        """
        if self.open_run is None:
            raise OptionError(f"curriculum.difficulty.run={run}: runs can only be asked by an experiment")
        directory = RunDirectory.existing(run)
        experiment, snapshot = self.open_run(directory), load_snapshot(directory)
        if snapshot.meta.get("features_digest") not in (None, self.features and self.features.digest):
            raise RunError(
                f"curriculum.difficulty.run={run}: it was trained with other features; take a run with those of this"
            )
        if snapshot.meta["split_hash"] != self.split_hash:
            raise RunError(
                f"curriculum.difficulty.run={run}: it was trained on other data or another split, so it may know what "
                "this run is tested on; take a run on the same data"
            )
        longest = max(bucket.arrays["history"].shape[1] for bucket in examples.buckets)
        known = experiment.for_items(f"curriculum.difficulty.run={run}").examples.max_length
        if known < longest:
            raise OptionError(
                f"curriculum.difficulty.run={run}: its examples.max_length={known} is below "
                f"the {longest} items that it would be asked about"
            )
        description = {"examples": self._digest_of(examples), "teacher": snapshot.meta["digests"], "asked": asked}
        said = self.store.read(description, names)
        if said is None:
            n_items = len(examples.item_counts) - 1 if examples.item_counts is not None else 0
            structure, params = snapshot_parameters(snapshot, experiment, inputs=Catalogue(n_items, self.features))
            answers = self._ask(examples, structure, self.placed.replicate(params), layers=asked == "layers")
            said = {name: np.stack([answer[name] for answer in answers]) for name in names}
            self.store.write(description, said)
        return said

    def other(self, number: int) -> TeacherWorkshop:
        """Give a workshop with other teachers; number 0 is this one."""
        if number == 0:
            return self
        return replace(self, seed=int(host_stream(self.seed, "other teachers", number).integers(2**32)))

    def say(self, text: str) -> None:
        """Tell the person who watches."""
        if self.shown is not None:
            self.shown.say(text)

    def release(self) -> None:
        """Let go of the arrays on the devices; they come back when they are needed."""
        self.bench.engine = self.bench.scorer = None

    def _train(self, examples: Examples, lesson: Lesson) -> list[dict[str, np.ndarray]]:
        """Train a teacher and ask it when the lesson says so."""
        seed = int(host_stream(self.seed, "teacher", lesson.number).integers(2**32))
        per_epoch = max(1, round(examples.batches_per_epoch * lesson.share))
        total = per_epoch * lesson.epochs
        scheduler = Scheduler(Curriculum(), examples, seed, total, only=lesson.taught)
        engine = self._engine_for(scheduler, seed)
        state = self.placed.place_state(
            TrainState.create(
                self.build_model(seed), engine.optimizer, objective=self.objective, item_counts=examples.item_counts
            )
        )
        position, answers = scheduler.begin(), []

        def on_chunk(chunk: ChunkReport) -> None:
            if self.shown is not None:
                self.shown.teacher(chunk.step, total, float(chunk.loss.mean()))

        for end in range(per_epoch, total + 1, per_epoch):
            state, position = engine.train(
                state, position, stop_at=end, on_chunk=on_chunk, interrupted=self.interrupted
            )
            if engine.stopped:
                raise Interrupted(self.run)
            if lesson.asked == "epochs" or end == total:
                answers += self._ask(
                    examples, state.structure, evaluation_parameters(state), layers=lesson.asked == "layers"
                )
        self.say(f"teacher {lesson.number}: {total} steps, mean loss of the targets {answers[-1]['loss'].mean():.4f}")
        return answers

    def _ask(
        self, examples: Examples, structure: nnx.GraphDef, params: Tree, *, layers: bool
    ) -> list[dict[str, np.ndarray]]:
        """Ask once, or once a layer: the model with its first 0, 1, 2, ... blocks."""
        scorer = self.bench.scorer
        if scorer is None or scorer.examples is not examples:
            scorer = self.bench.scorer = TargetScorer(examples, self.placed)
        if not layers:
            return [scorer(structure, params)]
        depth = stacked_depth(params)
        if depth is None:
            raise OptionError("difficulty PredictionDepth needs a model with stacked blocks, and this one has none")
        return [scorer(structure, first_blocks(params, number)) for number in range(depth + 1)]

    def _engine_for(self, scheduler: Scheduler, seed: int) -> Engine:
        """Give an engine; teachers that are trained for as many steps on the same examples share its program."""
        engine = self.bench.engine
        if (
            engine is not None
            and engine.scheduler.examples is scheduler.examples
            and engine.scheduler.total_steps == scheduler.total_steps
        ):
            engine.begin_anew(scheduler, seed=seed)
            return engine
        self.bench.engine = Engine(
            objective=self.objective,
            optimizer=self.build_optimizer(scheduler.total_steps),
            scheduler=scheduler,
            placed=self.placed,
            seed=seed,
            steps_per_dispatch=self.steps_per_dispatch,
            precision=self.precision,
            accumulate=self.accumulate,
        )
        return self.bench.engine

    def _digest_of(self, examples: Examples) -> str:
        if self.bench.digest is None or self.bench.digest[0] is not examples:
            self.bench.digest = examples, digest_of(examples)
        return self.bench.digest[1]


def first_blocks(params: Tree, number: int) -> Tree:
    """Keep the first blocks of a model's parameters."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: leaf[:number] if is_stacked(path) else leaf, params)


def digest_of(examples: Examples) -> str:
    """Hash what teachers see: the arrays of all buckets, their batches, and which example each row is."""
    hasher = hashlib.blake2b(digest_size=16)
    for bucket in examples.buckets:
        names = sorted(
            name for name in bucket.arrays if not name.startswith(ARRAY)
        )  # a student's teacher is not theirs
        hasher.update(f"{bucket.batch_size}{names}".encode())
        for array in (bucket.example, *(bucket.arrays[name] for name in names)):
            hasher.update(f"{array.dtype}{array.shape}".encode())
            hasher.update(np.ascontiguousarray(array).tobytes())
    return hasher.hexdigest()


def describe(component: Any, *, otherwise: str) -> str:
    """Describe a component by its class and options.

    Args:
        component: A dataclass of plain options, or anything else.
        otherwise: Stands for anything else, whose options cannot be known.

    >>> from curriculum_rec.objectives import Softmax
    >>> describe(Softmax(64), otherwise="?"), describe(print, otherwise="?")
    ('curriculum_rec.objectives.softmax.Softmax(chunk=64, item_chunk=None)', '?')
    """
    if not dataclasses.is_dataclass(component):
        return otherwise
    options = []
    for f in dataclasses.fields(component):
        value = getattr(component, f.name)
        plain = value is None or isinstance(value, int | float | str | bool | tuple | Mapping)
        options.append(f"{f.name}={value!r}" if plain else f"{f.name}={describe(value, otherwise=otherwise)}")
    return f"{type(component).__module__}.{type(component).__qualname__}({', '.join(options)})"


def stores(run: Path | None, common: str | None) -> ScoreStore:
    """Make the store of a run and of a folder that all runs share."""
    folders = (run, None if common is None else Path(common).expanduser())
    return ScoreStore(tuple(folder for folder in folders if folder is not None))
