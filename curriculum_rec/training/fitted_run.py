"""The run of a model that is fitted at once (host): the same directory, evaluation and report, without a step."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, cast

import jax
import numpy as np

from curriculum_rec.curriculum.options import Curriculum
from curriculum_rec.data.splits import Part, Split
from curriculum_rec.errors import OptionError
from curriculum_rec.files import write_frame, write_text
from curriculum_rec.models.contract import FitsModel, Known
from curriculum_rec.models.structure import Tree, split_model
from curriculum_rec.tracking.mirror import Mirror
from curriculum_rec.training import hosts
from curriculum_rec.training.checkpoint import Checkpoints, flatten
from curriculum_rec.training.data_files import write_data_files
from curriculum_rec.training.experiment import Dataset, Experiment
from curriculum_rec.training.logbook import Logbook
from curriculum_rec.training.progress import Mode, RunProgress
from curriculum_rec.training.record import RunRecord
from curriculum_rec.training.restore import PARAMS, model_template
from curriculum_rec.training.run_directory import MetricsLog, NoLog, RunDirectory, to_json
from curriculum_rec.training.state import count_parameters
from curriculum_rec.training.summary import summarise


@dataclass
class FittedRun:
    """Fits an experiment's model into a run directory; a run that was cut short begins again.

    Objective, optimizer and the stage's length take no part. Where the model is fitted to all that is known before a
    test item, its validation figures come from another fit, which did not see the validation items.

    Args:
        experiment: The components.
        dataset: Its data.
        directory: An existing directory of this run.
        config_hash: Identifies the configuration.
        progress: How progress is shown.
        mirror: The trackers that get the rows of the log.
    """

    experiment: Experiment
    dataset: Dataset
    directory: RunDirectory
    config_hash: str
    progress: Mode = "auto"
    mirror: Mirror = field(default_factory=Mirror)

    @property
    def model(self) -> FitsModel:
        """The model's options."""
        return cast("FitsModel", self.experiment.model)

    def check(self) -> None:
        """Refuse what would have no effect.

        Raises:
            OptionError: Something is chosen that only training could follow.
        """
        experiment, name = self.experiment, type(self.model).__name__
        chosen = {
            "curriculum": experiment.curriculum != Curriculum(),
            "weighting": experiment.weighting is not None,
            "growth": experiment.growth is not None,
            "stages": len(experiment.stages) > 1,
            "placement.table": experiment.placement.table > 1,
        }
        for stage in experiment.stages.values():
            options = ("depth", "model", "until", "warm_start", "freeze", "distil")
            chosen |= {f"stages.NAME.{option}": getattr(stage, option) is not None for option in options}
        for option, is_chosen in chosen.items():
            if is_chosen:
                raise OptionError(f"{option} has no effect on {name}, which is fitted at once and not trained")

    def run(self) -> dict[str, Any]:
        """Fit, evaluate and save.

        Returns:
            The summary, which also stands in ``summary.json``.
        """
        checkpoints = Checkpoints(self.directory.checkpoints, keep=1)
        log = MetricsLog(self.directory.metrics, self.mirror) if hosts.is_first() else NoLog()
        shown = RunProgress(1, self.progress if hosts.is_first() else "none", 1)
        try:
            with self.mirror, shown:
                log.rewind(0)
                if hosts.is_first():
                    write_data_files(self.directory, self.dataset, has_users=False)
                return self._fit(checkpoints, log, Logbook(self.directory, log, shown))
        finally:
            checkpoints.close()
            log.close()

    def _fit(self, checkpoints: Checkpoints, log: MetricsLog | NoLog, logbook: Logbook) -> dict[str, Any]:
        experiment, started, name = self.experiment, time.perf_counter(), type(self.model).__name__
        split, (examples, options) = self.dataset.interactions_for(name), experiment.for_items(name)
        structure, template = split_model(model_template(experiment, inputs=self.dataset.inputs))
        placed, stage = experiment.placement.place(), next(iter(experiment.stages))
        params: Tree = None
        evaluators, answers = {}, {}
        for part in (Part.VALIDATION, Part.TEST):
            if params is None or self.model.fit_on == "known":
                params = None  # the first fit need not stay beside the second
                params = self.model.fit(known_before(split, part if self.model.fit_on == "known" else Part.VALIDATION))
                params = placed.replicate(_like(params, template))
            evaluators[part] = options.on(split, part, examples, placed, whole=True)
            answers[part] = evaluators[part].answers(structure, params)
        quality = {part: evaluator.quality(answers[part]) for part, evaluator in evaluators.items()}
        record = RunRecord().begin_stage(stage, None, count_parameters(params), 0)
        logbook.stage(record, grown_from=None, preserves_function=None)
        record = record.evaluated(0, quality[Part.VALIDATION], options.metric).with_stage(done=True)
        record = record.spent(seconds=time.perf_counter() - started, compile_seconds=0.0)
        logbook.evaluation(0, quality[Part.VALIDATION], record, metric=options.metric)
        log.write("test", step=0, **quality[Part.TEST])
        self._save(checkpoints, record, params, log)
        summary = summarise(
            experiment,
            self.dataset,
            record,
            quality={part.name.lower(): metrics for part, metrics in quality.items()},
            reference=evaluators[Part.TEST].reference(),
            config_hash=self.config_hash,
            placed=placed,
            best_step=0,
        )
        if hosts.is_first():
            for part, evaluator in evaluators.items():
                write_frame(self.directory.evaluation / f"{part.name.lower()}.parquet", evaluator.table(answers[part]))
            write_text(self.directory.summary, to_json(summary))
        return summary

    def _save(self, checkpoints: Checkpoints, record: RunRecord, params: Tree, log: MetricsLog | NoLog) -> None:
        meta = {
            "record": record.to_json(),
            "config_hash": self.config_hash,
            "split_hash": self.dataset.split.hash,
            "items_digest": self.dataset.split.codes_digest,
            "log_position": log.position(),
        }
        arrays = {name: np.asarray(leaf) for name, leaf in flatten(params, PARAMS).items()}
        checkpoints.save(0, arrays, meta, pinned=frozenset({0}))
        checkpoints.wait()


def known_before(split: Split, part: Part) -> Known:
    """Give all interactions of the parts before one, user by user."""
    chosen, data = split.part < part, split.interactions
    counts = np.bincount(data.user[chosen], minlength=data.n_users + 1)
    return Known(data.item[chosen], np.concatenate([[0], np.cumsum(counts)]), data.n_items)


def _like(params: dict[str, np.ndarray], template: Tree) -> Tree:
    """Check that what was fitted is what the model has."""
    fitted, wanted = (jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree) for tree in (params, template))
    if fitted != wanted:
        raise AssertionError(f"a fit gave {fitted} for {wanted}: this is a fault of the program")
    return params
