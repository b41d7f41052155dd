"""What a run tells (host): every event goes to metrics.jsonl and to the person's screen alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import optax

from curriculum_rec.files import write_frame
from curriculum_rec.training import hosts
from curriculum_rec.training.borrow import Borrowed, Fate
from curriculum_rec.training.engine import ChunkReport
from curriculum_rec.training.progress import RunProgress
from curriculum_rec.training.record import RunRecord
from curriculum_rec.training.run_directory import MetricsLog, NoLog, RunDirectory


@dataclass
class Logbook:
    """Tells of a run.

    Args:
        directory: The run's.
        log: Where rows go.
        shown: The person's screen.
    """

    directory: RunDirectory
    log: MetricsLog | NoLog
    shown: RunProgress

    def stage(self, record: RunRecord, *, grown_from: int | None, preserves_function: bool | None) -> None:
        """Tell that a stage has begun.

        Args:
            record: The run's, the stage being its last.
            grown_from: Blocks before growth; None where the model did not grow.
            preserves_function: Whether growth left the function as it was; None where the model did not grow.
        """
        stage = record.stage
        decided = {} if stage.sizes is None else {"sizes": stage.sizes, "decision": stage.decision}
        self.log.write(
            "stage",
            step=stage.first_step,
            stage=stage.name,
            depth=stage.depth,
            parameters=stage.parameters,
            grown_from=grown_from,
            preserves_function=preserves_function,
            **decided,
        )
        self.shown.stage(stage.name, stage.depth, stage.first_step, number=len(record.stages))

    def borrowed(self, stage: str, step: int, borrowed: Borrowed) -> None:
        """Tell what became of every parameter: in a sentence, in the log by names, in a file with shapes."""
        by_fate = {fate: borrowed.table.filter(fate=fate)["parameter"].to_list() for fate in get_args(Fate)}
        ids = {kind: matched.counts() for kind, matched in borrowed.matched.items()}
        self.log.write("warm_start", step=step, stage=stage, checkpoint=borrowed.checkpoint, **by_fate, **ids)
        self.shown.say(f"stage {stage} begins with {borrowed.describe()}")
        if hosts.is_first():
            write_frame(self.directory.path / f"warm_start.{stage}.csv", borrowed.table)
            for kind, matched in borrowed.matched.items():
                write_frame(self.directory.path / f"warm_start.{stage}.{kind}.csv", matched.unmatched())

    def chunk(self, chunk: ChunkReport, record: RunRecord, learning_rate: optax.Schedule | None) -> None:
        """Tell what a dispatch did."""
        loss = float(np.mean(chunk.loss, dtype=np.float64))
        rate = {} if learning_rate is None else {"learning_rate": float(learning_rate(chunk.step - 1))}
        self.log.write(
            "train",
            step=chunk.step,
            epoch=chunk.epoch,
            loss=loss,
            gradient_norm=float(np.mean(chunk.gradient_norm, dtype=np.float64)),
            positions=chunk.positions,
            share=chunk.draw.share,
            depth=record.stage.depth,
            operations=record.operations,
            **rate,
            **{f"objective/{name}": value for name, value in chunk.metrics.items()},
        )
        if chunk.draw.trained is not None:
            self.log.write("curriculum", step=chunk.step, **chunk.draw.trained.row(chunk.decile_losses))
        self.shown.trained(chunk.step, chunk.positions)
        self.shown.chunk(chunk.step, loss, chunk.draw.share)

    def evaluation(self, step: int, quality: Mapping[str, float], record: RunRecord, *, metric: str) -> None:
        """Tell how good the model is; the record has taken it in."""
        values: dict[str, Any] = dict(quality)
        self.log.write("evaluation", step=step, split="validation", operations=record.operations, **values)
        self.shown.evaluation(step, quality, metric, best=record.best_step == step)
