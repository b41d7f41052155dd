"""An experiment (host): all components of a run, and its data once they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import optax
from flax import nnx

from curriculum_rec.curriculum.options import Curriculum
from curriculum_rec.data.examples import Examples, SequenceExamples
from curriculum_rec.data.false_positives import split_around
from curriculum_rec.data.feature_table import FeatureTable, PointwiseExamples
from curriculum_rec.data.features import Features, FittedFeatures
from curriculum_rec.data.inputs import Catalogue, Inputs
from curriculum_rec.data.interactions import clean
from curriculum_rec.data.ledger import CleaningRule, LedgerEntry
from curriculum_rec.data.noise import Noise
from curriculum_rec.data.rows import RowSplitter, clean_rows
from curriculum_rec.data.sources import Source
from curriculum_rec.data.splits import Split, Splitter, check_promises
from curriculum_rec.data.store.source import ExampleStore
from curriculum_rec.data.task import check_task
from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.contract import EvaluationOptions
from curriculum_rec.evaluation.evaluator import FullRanking
from curriculum_rec.growth.contract import DecidesSizes, Growth, can_shrink
from curriculum_rec.models.contract import (
    CountsUsers,
    ModelFactory,
    RowModelFactory,
    asks_of_nobody,
    fills_masks,
    needs_age,
    needs_time,
)
from curriculum_rec.models.entity_features import takes_features
from curriculum_rec.objectives.losses import ChecksInputs, Objective, with_inner
from curriculum_rec.objectives.masked import MaskedItem
from curriculum_rec.ranges import at_least, check_ranges
from curriculum_rec.training.meta import hold_out_meta
from curriculum_rec.training.optimizers import OptimizerFactory
from curriculum_rec.training.placement import Placement
from curriculum_rec.training.stages import Stage, check_stages
from curriculum_rec.training.step import Precision
from curriculum_rec.weighting.contract import Weighting


@dataclass(frozen=True)
class Experiment:
    """The components of a run, in the order in which data flows through them.

    Args:
        data: Where interactions, or rows with labels, come from.
        cleaning: Named cleaning rules, applied in order.
        features: What is known of users, items and rows; None where nothing is.
        split: Gives every interaction or row its part.
        noise: What is planted into the training part; None leaves it as it is.
        examples: Makes examples of the training part, and so says what the task is.
        model: Builds the model.
        objective: The loss.
        optimizer: Options, or a ready optax transformation.
        curriculum: What is trained when.
        weighting: How much each loss of a batch counts; None lets all count the same.
        growth: How the model grows; None where no stage does.
        stages: Named stages, in order.
        placement: Which devices.
        evaluation: How quality is measured.
        seed: Decides everything random.
        steps_per_dispatch: Most steps that one call to the device makes.
        checkpoint_every_steps: Steps between checkpoints, besides those at evaluations; None takes only these.
        keep_checkpoints: The newest checkpoints that are kept, besides the best.
        precision: What the model and the objective compute in; parameters and optimizer are float32.
        accumulate: Parts into which a device cuts its share of a batch, one after the other, for memory.
    """

    data: Source
    cleaning: Mapping[str, CleaningRule]
    split: Splitter | RowSplitter
    noise: Noise | None
    examples: SequenceExamples | PointwiseExamples
    model: ModelFactory | RowModelFactory
    objective: Objective
    optimizer: OptimizerFactory | optax.GradientTransformation
    curriculum: Curriculum
    weighting: Weighting | None
    growth: Growth | None
    stages: Mapping[str, Stage]
    placement: Placement
    evaluation: EvaluationOptions
    features: Features | None = None
    seed: int = 0
    steps_per_dispatch: int = 16
    checkpoint_every_steps: int | None = None
    keep_checkpoints: int = 3
    precision: Precision = "float32"
    accumulate: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise OptionError(f"seed={self.seed}: it must lie between 0 and {2**32 - 1}")
        ranges = {
            "steps_per_dispatch": at_least(1),
            "checkpoint_every_steps": at_least(1).or_null(),
            "keep_checkpoints": at_least(1),
            "accumulate": at_least(1),
        }
        check_ranges(self, "", ranges)
        self._check_task()
        check_stages(
            self.stages,
            model_depth=getattr(self.model, "depth", None),
            can_grow=self.growth is not None,
            can_shrink=can_shrink(self.growth),
        )
        self._check_masks()
        self._check_users()
        self._check_decisions()

    def _check_decisions(self) -> None:
        """Refuse stages in which a growth that decides sizes has no effect, or no part."""
        growth = self.growth
        if not isinstance(growth, DecidesSizes):
            return
        growth.check_borders(len(self.stages) - 1)
        for number, (name, stage) in enumerate(self.stages.items()):
            if stage.borrows is not None or (number and stage.begin == "random"):
                raise OptionError(
                    f"stages.{name}: {type(growth).__name__} decides sizes by what this run has trained, so that each "
                    "stage goes on from the one before: leave out warm_start and begin=random"
                )
            if (
                number
                and stage.model is not None
                and not (isinstance(stage.model, Mapping) and growth.decides not in stage.model)
            ):
                raise OptionError(
                    f"stages.{name}.model changes model.{growth.decides}, which {type(growth).__name__} decides: leave "
                    "it out"
                )

    def _check_masks(self) -> None:
        """Refuse a model that guesses masked items with a loss that masks none, and the other way round."""
        masks = any(isinstance(each, MaskedItem) for each in with_inner(self.objective))
        for name in self.stages:
            model = self.model_of(name)[0]
            if masks and not fills_masks(model):
                raise OptionError(
                    f"objective=masked_item: {type(model).__name__} looks at earlier items alone and guesses no masked "
                    "ones: choose model=bert4rec"
                )
            if fills_masks(model) and not masks:
                raise OptionError(
                    f"{type(model).__name__} guesses masked items, and {type(self.objective).__name__} masks none: "
                    "choose objective=masked_item, which goes around other objectives"
                )

    def _check_users(self) -> None:
        """Refuse what looks at nobody's histories where a model wants to know whose they are."""
        parts = [part for each in with_inner(self.objective) for part in (each, getattr(each, "negatives", None))]
        looking = [type(part).__name__ for part in parts if asks_of_nobody(part)]
        knows_users = self.features is not None and self.features.user is not None
        for model in (self.model_of(name)[0] for name in self.stages):
            by_features = knows_users and getattr(model, "user_features", "none") == "add"
            if looking and (by_features or isinstance(model, CountsUsers)):
                other = "model.user_features=none" if by_features else "another model"
                raise OptionError(
                    f"objective: {looking[0]} looks at histories that are nobody's, and {type(model).__name__} wants "
                    f"to know whose they are: choose another objective, or {other}"
                )

    def _check_task(self) -> None:
        """Refuse components that do not go with the examples."""
        names = ("split", "noise", "model", "objective", "evaluation")
        check_task(self.examples.TASK, {name: getattr(self, name) for name in names})
        if self.examples.TASK == "pointwise":
            if getattr(self.split, "TASK", None) != "pointwise":
                raise OptionError(
                    f"split: {type(self.split).__name__} divides users' histories: for task=pointwise take "
                    "random_rows, latest_rows, row_folds, or a rule of your own whose TASK is pointwise"
                )
            for name, stage in self.stages.items():
                if stage.distil is not None:
                    raise OptionError(f"stages.{name}.distil: teachers speak of items, and task=pointwise has none")
            self._check_curriculum_of_rows()
        elif self.features is not None:
            self._check_features(self.features)

    def _check_features(self, features: Features) -> None:
        """Refuse features of rows, and models that read none."""
        if features.interaction is not None:
            raise OptionError(
                "features.interaction describes rows, and task=next_item predicts items: leave it out, or take "
                "task=pointwise; features.user and features.item serve both"
            )
        for name in self.stages:
            model = self.model_of(name)[0]
            if not takes_features(model):
                raise OptionError(
                    f"features has no effect on {type(model).__name__}, which reads ids alone: leave it out, or choose "
                    "a model that reads features (docs/features.md names them)"
                )

    def _check_curriculum_of_rows(self) -> None:
        options = self.curriculum
        if options.unit == "target" or options.history is not None:
            what = "unit=target" if options.unit == "target" else "history"
            raise OptionError(f"curriculum.{what} is about sequences, and task=pointwise has none")
        difficulty = options.difficulty
        by_losses = difficulty is None or difficulty.decay is not None
        if not by_losses and getattr(difficulty, "TASK", None) != "pointwise":
            raise OptionError(
                f"curriculum.difficulty={type(difficulty).__name__} is about sequences, which task=pointwise has not: "
                "take curriculum=loss, or a difficulty of your own whose TASK is pointwise"
            )

    def read(self, *, fitted: FittedFeatures | None = None) -> Dataset:
        """Read, clean and split the data, and make examples.

        Args:
            fitted: Features as a run saved them; None fits them to the training part.

        Raises:
            DataError: The data cannot be used.
            OptionError: Options do not suit the data, such as a cut-off that is larger than the catalogue.
        """
        read: Split | FeatureTable
        made: Examples
        if isinstance(self.data, ExampleStore):
            read, made = self._from_store(self.data)
        elif isinstance(self.examples, PointwiseExamples):
            rows = clean_rows(self.data.read(), self.cleaning, source=self.data.name)
            of_rows = cast("RowSplitter", self.split)  # _check_task has seen to it
            read = self.examples.lay_out(of_rows(rows), self.features, fitted=fitted)
            made = self.examples(read)
        else:
            of_users = cast("Splitter", self.split)
            read = self._noisy(split_around(of_users, clean(self.data.read(), self.cleaning, source=self.data.name)))
            if self.features is not None:
                read = read.with_features(self.features, fitted)
            made = self.examples(read)
        if not isinstance(self.examples, PointwiseExamples):
            if any(needs_time(self.model_of(name)[0]) for name in self.stages):
                made = made.with_times()
            if any(needs_age(self.model_of(name)[0]) for name in self.stages):
                made = made.with_ages()
            if isinstance(self.model, CountsUsers) or (self.features is not None and self.features.user is not None):
                made = made.with_users()
        self.evaluation.check(read)
        if isinstance(self.objective, ChecksInputs):
            self.objective.check_inputs(read.inputs)
        return Dataset(read, *hold_out_meta(made, self.weighting, seed=self.seed))

    def _from_store(self, store: ExampleStore) -> tuple[Split, Examples]:
        if not isinstance(self.examples, SequenceExamples):
            raise OptionError("data=store holds users' histories, and task=pointwise predicts the labels of rows")
        if self.placement.examples == "device":
            raise OptionError(
                "placement.examples=device puts all examples on every device, and those of data=store stay on disk: "
                "set placement.examples=host"
            )
        if self.cleaning:
            raise OptionError(
                f"cleaning.{next(iter(self.cleaning))} has no effect: a store was cleaned when it was prepared; leave "
                "cleaning empty"
            )
        if self.features is not None:
            raise OptionError(
                "features are laid out beside data in memory: take data=table, or features=none with data=store"
            )
        if self.noise is not None:
            raise OptionError("noise is planted into data in memory: take data=table, or noise=none with data=store")
        return store.open(cast("Splitter", self.split), self.examples)

    def for_data(self, dataset: Dataset) -> Experiment:
        """Tell a model that has something for every user how many there are."""
        model: Any = self.model
        if not isinstance(self.model, CountsUsers) or self.model.n_users is not None:
            return self
        n_users = dataset.interactions_for("a model with a vector for every user").interactions.n_users
        return replace(self, model=replace(model, n_users=n_users))

    def _noisy(self, split: Split) -> Split:
        if self.noise is None:
            return split
        if split.noise is not None:
            raise OptionError("noise is planted into data that have false positives of their own: choose noise=none")
        return check_promises(self.noise(split, seed=self.seed))

    def for_items(self, what: str) -> NextItem:
        """Give what only an experiment with next items has.

        Args:
            what: Who asks, for the sentence.

        Raises:
            OptionError: It is about something else.
        """
        if isinstance(self.examples, SequenceExamples) and isinstance(self.evaluation, FullRanking):
            return NextItem(self.examples, self.evaluation)
        raise OptionError(f"{what} is about lists of items, and task=pointwise predicts the labels of rows")

    def model_of(self, stage: str) -> tuple[Any, int | None]:
        """Say what a stage trains, from what it and the stages before it change.

        Returns:
            The model's options, and its depth where a stage names one.

        Raises:
            OptionError: An option that a stage changes does not exist or has the wrong type.
        """
        model: Any = self.model
        depth = None
        for name, each in self.stages.items():
            changed = each.changed(model, name)
            if changed is each.model:
                depth = None  # another model, of the depth that its own options say
            model, depth = changed, each.depth or depth
            if name == stage:
                break
        return model, depth

    def build_model(
        self,
        inputs: Inputs,
        *,
        stage: str | None = None,
        depth: int | None = None,
        sizes: Mapping[str, Any] | None = None,
    ) -> nnx.Module:
        """Build a stage's model with the run's initial values.

        Args:
            inputs: What the model must know of the data.
            stage: The stage, None for the first one.
            depth: Its depth, where weights from elsewhere decided it; None takes what the stages say.
            sizes: Options of the model that growth decided; None takes all as the stages say.
        """
        model, named = self.model_of(next(iter(self.stages)) if stage is None else stage)
        if sizes is not None:
            model = replace(model, **sizes)
        known: dict[str, Any] = {"inputs": inputs}
        if isinstance(inputs, Catalogue) and isinstance(self.examples, SequenceExamples):
            known = {"n_items": inputs.n_items, "max_length": self.examples.max_length}
            known |= self._known_features(inputs)
        return model(**known, depth=named if depth is None else depth, rngs=nnx.Rngs(self.seed))

    def _known_features(self, inputs: Catalogue) -> dict[str, Any]:
        """Give a model the features that this experiment declares, and none that only another one does."""
        if self.features is None:
            return {}
        if inputs.features is None:
            raise OptionError("the model reads features, and the data that it is built for have none: declare them")
        return {"features": inputs.features}

    def build_optimizer(self, total_steps: int, scale: optax.Schedule | None = None) -> optax.GradientTransformation:
        """Build the optimizer for a run's length.

        Args:
            total_steps: The length.
            scale: What a stage multiplies the learning rate by.

        Raises:
            OptionError: A ready transformation has no learning rate to scale.
        """
        optimizer: Any = self.optimizer
        if not isinstance(optimizer, optax.GradientTransformation):
            return optimizer(total_steps, scale)
        if scale is not None:
            raise OptionError(
                "a stage's learning_rate_factor and warmup_steps need an optimizer of this package, whose learning "
                "rate they multiply"
            )
        return optimizer

    def total_steps(self, steps_per_epoch: int) -> int:
        """Steps of the whole run, which schedules and pacing refer to."""
        return sum(stage.n_steps(steps_per_epoch) for stage in self.stages.values())


class NextItem(NamedTuple):
    """How examples and evaluation of an experiment are made that is about next items.

    Attributes:
        examples: Cuts histories.
        evaluation: Ranks.
    """

    examples: SequenceExamples
    evaluation: FullRanking


@dataclass(frozen=True)
class Dataset:
    """The data of an experiment.

    Attributes:
        split: The interactions or the rows, and their parts.
        examples: The training examples.
        meta: Training examples that are held out for a weighting that learns from them; None without one.
    """

    split: Split | FeatureTable
    examples: Examples
    meta: Examples | None = None

    @property
    def inputs(self) -> Inputs:
        """What a model must know of the data."""
        return self.split.inputs

    @property
    def n_items(self) -> int:
        """Size of the catalogue; 0 where there is none."""
        return self.inputs.n_items if isinstance(self.inputs, Catalogue) else 0

    @property
    def ledger(self) -> tuple[LedgerEntry, ...]:
        """What each cleaning rule removed."""
        return self.split.interactions.ledger if isinstance(self.split, Split) else self.split.ledger

    @property
    def features_digest(self) -> str | None:
        """Identify what sequence models know of users and items; None for nothing."""
        features = self.inputs.features if isinstance(self.inputs, Catalogue) else None
        return None if features is None else features.digest

    def interactions_for(self, what: str) -> Split:
        """Give the interactions of users with items, for what is about nothing else.

        Args:
            what: Who asks, for the sentence.

        Raises:
            OptionError: The data are rows with labels.
        """
        if isinstance(self.split, Split):
            return self.split
        raise OptionError(f"{what} is about lists of items, and task=pointwise predicts the labels of rows")
