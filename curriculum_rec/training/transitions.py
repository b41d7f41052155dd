"""From one stage to the next (host): which models both have, what a warm start brings, how the state grows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import optax
from flax import nnx

from curriculum_rec.data.examples import Examples
from curriculum_rec.errors import OptionError
from curriculum_rec.growth.contract import (
    DecidesSizes,
    Decision,
    FitsGrowth,
    GrowsMasked,
    ResetsOptimizer,
    TellsNewBlocks,
    can_shrink,
)
from curriculum_rec.growth.depth import stacked_depth
from curriculum_rec.growth.masks import Masks
from curriculum_rec.models.axes import axis_sizes
from curriculum_rec.models.contract import HasAxes
from curriculum_rec.models.structure import Tree, same_shapes, split_model
from curriculum_rec.training.borrow import Borrowed, Borrower
from curriculum_rec.training.experiment import Dataset, Experiment
from curriculum_rec.training.freezing import StageShape, check_freezing
from curriculum_rec.training.growth_task import RunTask
from curriculum_rec.training.operations import Operations
from curriculum_rec.training.placement import Placed
from curriculum_rec.training.record import RunRecord
from curriculum_rec.training.restore import model_template, with_fresh_parameters
from curriculum_rec.training.stages import check_depth
from curriculum_rec.training.state import TrainState
from curriculum_rec.training.workshop import OpenRun


@dataclass(frozen=True)
class Transitions:
    """What a run's stages make of each other's models.

    Args:
        experiment: The components.
        dataset: Its data.
        placed: The devices.
        examples: What is drawn from.
        total_steps: Steps of the whole run.
        open_run: Builds the experiment of another run, for warm starts; None takes its models to be this run's.
    """

    experiment: Experiment
    dataset: Dataset
    placed: Placed
    examples: Examples
    total_steps: int
    open_run: OpenRun | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Steps of a pass over the full data."""
        return self.dataset.examples.batches_per_epoch

    @property
    def evaluates_every(self) -> int:
        """Steps of a stage between two evaluations."""
        return max(1, round(self.experiment.evaluation.every_epochs * self.steps_per_epoch))

    def model(self, stage: str, depth: int | None = None, sizes: Mapping[str, Any] | None = None) -> nnx.Module:
        """Give a stage's model with shapes alone, of another depth and other sizes if these are given."""
        return model_template(self.experiment, inputs=self.dataset.inputs, stage=stage, depth=depth, sizes=sizes)

    @cached_property
    def first_decision(self) -> Decision | None:
        """What growth that decides sizes decides for the first stage; None where growth decides none.

        Raises:
            OptionError: It has no effect on the model.
        """
        growth = self.experiment.growth
        return (
            growth.begin(self.model(next(iter(self.experiment.stages)))) if isinstance(growth, DecidesSizes) else None
        )

    def decide(self, state: TrainState, model: nnx.Module | None, record: RunRecord) -> Decision | None:
        """Let growth that decides sizes decide them for the next stage; None where growth decides none.

        Args:
            state: At the end of a stage, or the beginning of the run.
            model: Its model, with shapes alone; None at the beginning of the run.
            record: The run's.
        """
        growth = self.experiment.growth
        if not isinstance(growth, DecidesSizes) or model is None:
            return self.first_decision
        before = Decision(record.stage.sizes or {}, record.stage.decision or {})
        border = len(record.stages) - 1
        planned = self.model(record.stage.name)
        task = self._task(state, model)
        return growth.decide(state.params, before, model=model, planned=planned, border=border, task=task)

    def random_state(self, stage: str, optimizer: optax.GradientTransformation) -> TrainState:
        """Begin a stage with the run's initial values."""
        return TrainState.create(
            self.experiment.build_model(self.dataset.inputs, stage=stage, sizes=_sizes(self.first_decision)),
            optimizer,
            self.experiment.weighting,
            objective=self.experiment.objective,
            item_counts=self.dataset.examples.item_counts,
        )

    def borrow(self, stage: str) -> Borrowed | None:
        """Take the weights of a stage's warm start; None without one."""
        warm = self.experiment.stages[stage].borrows
        if warm is None:
            return None
        return Borrower(self.experiment, self.dataset, self.open_run).borrow(warm, stage=stage)

    def models(
        self, name: str, before: nnx.Module | None, borrowed: Borrowed | None, decision: Decision | None = None
    ) -> tuple[nnx.Module, nnx.Module]:
        """Give the models, with shapes alone, that a stage begins with and that it trains.

        Args:
            name: The stage.
            before: The model of the stage before; None if there is none.
            borrowed: What a warm start took; None without one.
            decision: What growth decided; None takes what it decides for the first stage, if it decides anything.
        """
        stage = self.experiment.stages[name]
        if borrowed is not None:
            return borrowed.old, borrowed.new
        sizes = _sizes(decision or self.first_decision)
        if before is None or stage.begin == "random":
            new = self.model(name, sizes=sizes)
            return new, new
        return before, self.model(name, depth=stage.depth or stacked_depth(split_model(before)[1]), sizes=sizes)

    def check(self, name: str, old: nnx.Module, new: nnx.Module) -> None:
        """Refuse what a stage cannot grow or freeze.

        Raises:
            OptionError: It is so.
        """
        stage, growth = self.experiment.stages[name], self.experiment.growth
        before = stacked_depth(split_model(old)[1])
        check_depth(name, stage, before, can_grow=growth is not None, can_shrink=can_shrink(growth))
        if differ(old, new):
            if growth is None:
                raise OptionError(
                    f"stage '{name}' changes the model's shapes, but growth is none: choose one, or begin=random"
                )
            growth.check(old, new)
            self._check_masks(name)
        self._check_freezing(name, old, new)

    def _check_masks(self, name: str) -> None:
        """Refuse masks that an evaluation would meet, or another part of the stage that knows nothing of them."""
        growth, stage = self.experiment.growth, self.experiment.stages[name]
        if not isinstance(growth, GrowsMasked):
            return
        first = min(self.evaluates_every, stage.n_steps(self.steps_per_epoch))
        if growth.steps > first:
            raise OptionError(
                f"growth.steps={growth.steps}: the masks must have risen by the first evaluation of stage '{name}', "
                f"after {first} steps: lower it, or evaluate more rarely (evaluation.every_epochs)"
            )
        if stage.distil is not None:
            raise OptionError(f"stages.{name}.distil does not go with growth=masked: choose another growth")

    def masks(self, old: nnx.Module, new: nnx.Module, step: int) -> Masks:
        """Say what the growth between two models masks at first, from a step of the run on."""
        growth = self.experiment.growth
        if not isinstance(growth, GrowsMasked) or not differ(old, new):
            return Masks()
        return growth.masks(old, new).beginning_at(step)

    def _check_freezing(self, name: str, old: nnx.Module, new: nnx.Module) -> None:
        freeze, growth = self.experiment.stages[name].freeze, self.experiment.growth
        if freeze is None:
            return
        shape = self.stage_shape(name, *(stacked_depth(split_model(model)[1]) for model in (old, new)))
        check_freezing(name, freeze, shape, new)
        if not freeze.from_new_blocks:
            return
        places = growth.is_new(shape.depth_before, shape.depth) if isinstance(growth, TellsNewBlocks) else None
        if places is None or places[: shape.depth_before].any():
            raise OptionError(
                f"stages.{name}.freeze: {type(freeze).__name__} needs growth that puts new blocks on top: "
                "growth=stack, partial_stack, gradual or prefix"
            )

    def stage_shape(self, name: str, depth_before: int | None, depth: int | None) -> StageShape:
        """Say what levels of freezing depend on."""
        steps = self.experiment.stages[name].n_steps(self.steps_per_epoch)
        return StageShape(steps, self.steps_per_epoch, depth or 0, depth_before or 0)

    def grow(
        self, state: TrainState, old: nnx.Module, new: nnx.Module, optimizer: optax.GradientTransformation
    ) -> TrainState:
        """Grow a state to the model of the next stage, if that is another.

        Args:
            state: Of the old model.
            old: The old model, with shapes alone.
            new: The new one.
            optimizer: Its state begins anew where the growth asks for that.
        """
        growth = self.experiment.growth
        if growth is None or not differ(old, new):
            return state
        grow: Callable[..., tuple[Tree, Tree]] = growth
        if isinstance(growth, FitsGrowth):
            grow = partial(growth.fit, task=self._task(state, new))
        params, opt_state = grow(state.params, state.opt_state, old=old, new=new, seed=self.experiment.seed)
        state = replace(state, params=params, opt_state=opt_state)
        resets = isinstance(growth, ResetsOptimizer) and growth.resets_optimizer
        return with_fresh_parameters(state, params, optimizer) if resets else state

    def _task(self, state: TrainState, model: nnx.Module) -> RunTask:
        """Give the run's loss and batches to growth, for parameters of a model."""
        return RunTask(
            self.experiment.objective,
            self.examples,
            split_model(model)[0],
            self.placed,
            self.experiment.seed,
            progress=int(state.step) / self.total_steps,
            memory=state.memory.get("objective", {}),
        )

    def operations(self, model: nnx.Module) -> Operations | None:
        """Say what training a model on each example takes; None where that is not known."""
        return Operations.of(model, self.experiment.objective, self.examples, self.experiment.weighting)

    def planned_operations(self) -> float | None:
        """Count the operations of all stages at their greatest lengths; None where no rule asks.

        Raises:
            OptionError: A rule asks, and nobody can count them.
        """
        total, before, stages = 0.0, None, self.experiment.stages
        asking = [name for name, stage in stages.items() if stage.until is not None and stage.until.needs_operations]
        if not asking:
            return None
        for name, stage in stages.items():
            before = self.models(name, before, self.borrow(name))[1]
            operations = self.operations(before)
            if operations is None:
                raise OptionError(
                    f"stages.{asking[0]}.until counts operations, which the objective or the model of stage '{name}' "
                    "cannot (models/contract.py): choose another rule"
                )
            passes = stage.n_steps(self.steps_per_epoch) / self.steps_per_epoch
            total += passes * operations.of_pass(self.examples)
        return total


def _sizes(decision: Decision | None) -> Mapping[str, Any] | None:
    return None if decision is None else decision.sizes


def differ(old: nnx.Module, new: nnx.Module) -> bool:
    """Say whether models differ in size; more heads on the same width are seen in no shape."""
    if not same_shapes(split_model(old)[1], split_model(new)[1]):
        return True
    return isinstance(old, HasAxes) and isinstance(new, HasAxes) and axis_sizes(old.axes()) != axis_sizes(new.axes())
