"""What a run remembers besides arrays (host): where it stands, its best checkpoint, its history, its clocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class StageRecord:
    """A stage that has begun.

    Attributes:
        name: Its name.
        depth: Blocks of the model; None for a model without stacked blocks.
        parameters: Numbers in the model.
        first_step: Steps trained before it.
        steps: Steps trained in it.
        seconds: Wall seconds spent in it, compilation and evaluation included.
        operations: What the model computed in it, training alone; None where it does not know.
        quality: The last validation metrics in it.
        best: The best value of the deciding metric in it, or None before the first evaluation.
        best_step: The step of its checkpoint.
        evaluations_since_best: Evaluations since then, for the plateau rule.
        done: Whether it has ended.
    """

    name: str
    depth: int | None
    parameters: int
    first_step: int
    steps: int = 0
    seconds: float = 0.0
    operations: float | None = 0.0
    quality: Mapping[str, float] | None = None
    best: float | None = None
    best_step: int = -1
    evaluations_since_best: int = 0
    done: bool = False


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
    """

    stages: tuple[StageRecord, ...] = ()
    best_metric: float | None = None
    best_step: int = -1
    train_seconds: float = 0.0
    compile_seconds: float = 0.0
    step_seconds: float = 0.0
    positions: float = 0.0

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

    def begin_stage(self, name: str, depth: int | None, parameters: int, step: int, *, anew: bool = False) -> RunRecord:
        """Append a stage; one that begins anew has nothing to do with the best model before it."""
        record = replace(self, best_metric=None, best_step=-1) if anew else self
        return replace(record, stages=(*self.stages, StageRecord(name, depth, parameters, step)))

    def evaluated(self, step: int, quality: Mapping[str, float], metric: str) -> RunRecord:
        """Take in an evaluation."""
        value, stage = quality[metric], self.stage
        better_stage = stage.best is None or value > stage.best
        record = self.with_stage(
            quality=dict(quality),
            best=value if better_stage else stage.best,
            best_step=step if better_stage else stage.best_step,
            evaluations_since_best=0 if better_stage else stage.evaluations_since_best + 1,
        )
        if self.best_metric is None or value > self.best_metric:
            record = replace(record, best_metric=value, best_step=step)
        return record

    def computed(self, operations: float | None) -> RunRecord:
        """Take in the operations of a chunk, None where they are not known.

        Chunk by chunk, so that the sum does not depend on where a run was interrupted.
        """
        before = self.stage.operations
        known = before is not None and operations is not None
        return self.with_stage(operations=before + operations if known else None)  # type: ignore[operator]

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
        stages = tuple(StageRecord(**stage) for stage in data["stages"])
        return cls(**{**data, "stages": stages})
