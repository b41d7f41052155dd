"""An experiment (host): all components of a run, and its data once they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import optax
from flax import nnx

from curriculum_rec.curriculum.options import Curriculum
from curriculum_rec.data.examples import Examples, SequenceExamples
from curriculum_rec.data.false_positives import split_around
from curriculum_rec.data.interactions import CleaningRule, clean
from curriculum_rec.data.noise import Noise
from curriculum_rec.data.sources import Source
from curriculum_rec.data.splits import Split, Splitter, check_promises
from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.evaluator import FullRanking
from curriculum_rec.growth.contract import Growth, can_shrink
from curriculum_rec.models.contract import CountsUsers, FitsModel, ModelFactory
from curriculum_rec.objectives.losses import Objective
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
        data: Where interactions come from.
        cleaning: Named cleaning rules, applied in order.
        split: Gives every interaction its part.
        noise: What is planted into the training part; None leaves it as it is.
        examples: Cuts the training part into examples.
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
    split: Splitter
    noise: Noise | None
    examples: SequenceExamples
    model: ModelFactory
    objective: Objective
    optimizer: OptimizerFactory | optax.GradientTransformation
    curriculum: Curriculum
    weighting: Weighting | None
    growth: Growth | None
    stages: Mapping[str, Stage]
    placement: Placement
    evaluation: FullRanking
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
        check_stages(
            self.stages,
            model_depth=getattr(self.model, "depth", None),
            can_grow=self.growth is not None,
            can_shrink=can_shrink(self.growth),
        )

    def read(self) -> Dataset:
        """Read, clean, split and cut the data.

        Raises:
            DataError: The data cannot be used.
            OptionError: A cut-off is larger than the catalogue.
        """
        split = split_around(self.split, clean(self.data.read(), self.cleaning, source=self.data.name))
        if self.noise is not None:
            if split.noise is not None:
                raise OptionError(
                    "noise is planted into data that have false positives of their own: choose noise=none"
                )
            split = check_promises(self.noise(split, seed=self.seed))
        self.evaluation.check_catalogue(split.interactions.n_items)
        examples = self.examples(split)
        if isinstance(self.model, CountsUsers):
            examples = examples.with_users()
        return Dataset(split, *hold_out_meta(examples, self.weighting, seed=self.seed))

    def for_data(self, dataset: Dataset) -> Experiment:
        """Tell a model that has something for every user how many there are."""
        model: Any = self.model
        if not isinstance(self.model, CountsUsers) or self.model.n_users is not None:
            return self
        return replace(self, model=replace(model, n_users=dataset.split.interactions.n_users))

    def longest_history(self, dataset: Dataset) -> int:
        """Say how much of a history the model looks at: all of it where it is fitted, which no shape limits."""
        if not isinstance(self.model, FitsModel):
            return self.examples.max_length
        return int(np.diff(dataset.split.interactions.user_offsets()).max())

    def model_of(self, stage: str) -> tuple[ModelFactory, int | None]:
        """Say what a stage trains, from what it and the stages before it change.

        Returns:
            The model's options, and its depth where a stage names one.

        Raises:
            OptionError: An option that a stage changes does not exist or has the wrong type.
        """
        model, depth = self.model, None
        for name, each in self.stages.items():
            changed = each.changed(model, name)
            if changed is each.model:
                depth = None  # another model, of the depth that its own options say
            model, depth = changed, each.depth or depth
            if name == stage:
                break
        return model, depth

    def build_model(self, n_items: int, *, stage: str | None = None, depth: int | None = None) -> nnx.Module:
        """Build a stage's model with the run's initial values.

        Args:
            n_items: Size of the catalogue.
            stage: The stage, None for the first one.
            depth: Its depth, where weights from elsewhere decided it; None takes what the stages say.
        """
        model, named = self.model_of(next(iter(self.stages)) if stage is None else stage)
        rngs = nnx.Rngs(self.seed)
        return model(
            n_items=n_items,
            max_length=self.examples.max_length,
            depth=named if depth is None else depth,
            rngs=rngs,
        )

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


@dataclass(frozen=True)
class Dataset:
    """The data of an experiment.

    Attributes:
        split: The interactions and their parts.
        examples: The training examples.
        meta: Training examples that are held out for a weighting that learns from them; None without one.
    """

    split: Split
    examples: Examples
    meta: Examples | None = None
