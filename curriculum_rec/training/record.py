"""What a run remembers besides arrays (host): where it stands, its best checkpoint, its history, its clocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Standing:
    """Where a run stood at an evaluation.

    Attributes:
        step: Steps trained.
        metric: The deciding validation metric; higher is better.
        loss: Mean training loss of the steps since the evaluation before, or since the stage began.
        share: What the curriculum had made available, in [0, 1].
        operations: Operations trained so far, as a fraction of what the run's stages take at their greatest lengths on
            whole passes; None where no stage's rule asks.
    """

    step: int
    metric: float
    loss: float
    share: float
    operations: float | None


@dataclass(frozen=True)
class StageRecord:
    """A stage that has begun.

    Attributes:
        name: Its name.
        depth: Blocks of the model; None for a model without stacked blocks.
        parameters: Numbers in the model.
        first_step: Steps trained before it.
        depth_before: Blocks of the model that it began with, before growth.
        steps: Steps trained in it.
        seconds: Wall seconds spent in it, compilation and evaluation included.
        operations: What the model computed in it, training alone; None where it does not know.
        quality: The last validation metrics in it.
        best: The best value of the deciding metric in it, or None before the first evaluation.
        best_step: The step of its checkpoint.
        evaluations: Where the run stood at each evaluation in it, oldest first.
        loss_sum: Sum of the training losses since the last of these.
        loss_steps: Over so many steps.
        done: Whether it has ended.
        masks: What its growth masks at first, as JSON data; None for nothing.
        sizes: Options of the model that growth decided; None where it decides none.
        decision: What it had measured, and goes by at the next border, as JSON data; None where it decides nothing.
    """

    name: str
    depth: int | None
    parameters: int
    first_step: int
    depth_before: int | None = None
    steps: int = 0
    seconds: float = 0.0
    operations: float | None = 0.0
    quality: Mapping[str, float] | None = None
    best: float | None = None
    best_step: int = -1
    evaluations: tuple[Standing, ...] = ()
    loss_sum: float = 0.0
    loss_steps: int = 0
    done: bool = False
    masks: Mapping[str, Any] | None = None
    sizes: Mapping[str, Any] | None = None
    decision: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class RunRecord:
    """A run so far; part of every checkpoint.

    Attributes:
        stages: The stages begun, the last one current.
        best_metric: The best value of the deciding validation metric since a stage last began anew, or None before the
            first evaluation.
        best_step: The step of its checkpoint.
        train_seconds: Wall seconds of training so far, over all processes that worked on the run.
        compile_seconds: Those spent compiling.
        step_seconds: Those spent in steps, compilation not counted.
        positions: Targets trained.
        planned_operations: What the run's stages take at their greatest lengths; None where no rule asks.
    """

    stages: tuple[StageRecord, ...] = ()
    best_metric: float | None = None
    best_step: int = -1
    train_seconds: float = 0.0
    compile_seconds: float = 0.0
    step_seconds: float = 0.0
    positions: float = 0.0
    planned_operations: float | None = None

    @property
    def stage(self) -> StageRecord:
        """The current stage."""
        return self.stages[-1]

    @property
    def operations(self) -> float | None:
        """What the model computed so far, training alone; None where a stage does not know."""
        total = 0.0
        for stage in self.stages:
            if stage.operations is None:
                return None
            total += stage.operations
        return total

    def with_stage(self, **changes: Any) -> RunRecord:
        """Change the current stage."""
        return replace(self, stages=(*self.stages[:-1], replace(self.stage, **changes)))

    @property
    def pinned_steps(self) -> frozenset[int]:
        """Steps whose checkpoints stay: the best of each stage."""
        return frozenset(stage.best_step for stage in self.stages if stage.best_step >= 0)

    def begin_stage(
        self,
        name: str,
        depth: int | None,
        parameters: int,
        step: int,
        *,
        depth_before: int | None = None,
        anew: bool = False,
    ) -> RunRecord:
        """Append a stage; one that begins anew has nothing to do with the best model before it."""
        record = replace(self, best_metric=None, best_step=-1) if anew else self
        return replace(record, stages=(*self.stages, StageRecord(name, depth, parameters, step, depth_before)))

    def evaluated(self, step: int, quality: Mapping[str, float], metric: str, *, share: float = 1.0) -> RunRecord:
        """Take in an evaluation.

        Args:
            step: Steps trained.
            quality: Validation metrics.
            metric: The deciding one.
            share: What the curriculum has made available.
        """
        value, stage, planned = quality[metric], self.stage, self.planned_operations
        better_stage = stage.best is None or value > stage.best
        standing = Standing(
            step=step,
            metric=value,
            loss=stage.loss_sum / max(stage.loss_steps, 1),
            share=share,
            operations=None if self.operations is None or planned is None else self.operations / planned,
        )
        record = self.with_stage(
            quality=dict(quality),
            best=value if better_stage else stage.best,
            best_step=step if better_stage else stage.best_step,
            evaluations=(*stage.evaluations, standing),
            loss_sum=0.0,
            loss_steps=0,
        )
        if self.best_metric is None or value > self.best_metric:
            record = replace(record, best_metric=value, best_step=step)
        return record

    def computed(self, operations: float | None, losses: np.ndarray) -> RunRecord:
        """Take in a chunk; one by one, so that no sum depends on where a run was interrupted.

        Args:
            operations: What was computed, None where that is not known.
            losses: ``[n_steps]``, the mean loss of every step.
        """
        stage = self.stage
        known = stage.operations is not None and operations is not None
        return self.with_stage(
            operations=stage.operations + operations if known else None,  # type: ignore[operator]
            loss_sum=stage.loss_sum + float(losses.sum(dtype=np.float64)),
            loss_steps=stage.loss_steps + len(losses),
        )

    def trained(self, *, steps: int, seconds: float, positions: float) -> RunRecord:
        """Take in some steps; seconds of compilation are not among these."""
        record = self.with_stage(steps=self.stage.steps + steps)
        return replace(record, step_seconds=self.step_seconds + seconds, positions=self.positions + positions)

    def spent(self, *, seconds: float, compile_seconds: float) -> RunRecord:
        """Take in wall seconds."""
        record = self.with_stage(seconds=self.stage.seconds + seconds)
        return replace(
            record,
            train_seconds=self.train_seconds + seconds,
            compile_seconds=self.compile_seconds + compile_seconds,
        )

    def to_json(self) -> dict[str, Any]:
        """Give the record as JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunRecord:
        """Undo :meth:`to_json`."""
        stages = tuple(
            StageRecord(**{**stage, "evaluations": tuple(Standing(**each) for each in stage["evaluations"])})
            for stage in data["stages"]
        )
        return cls(**{**data, "stages": stages})
