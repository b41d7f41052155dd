"""Finished runs, opened to be asked (host): their components, data and a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from flax import nnx

from curriculum_rec.data.splits import Part
from curriculum_rec.errors import RunError
from curriculum_rec.evaluation.contract import EvaluationOptions, Evaluator
from curriculum_rec.models.contract import FitsModel
from curriculum_rec.models.structure import Tree
from curriculum_rec.training.checkpoint import Snapshot
from curriculum_rec.training.data_files import read_again
from curriculum_rec.training.experiment import Dataset, Experiment
from curriculum_rec.training.restore import load_snapshot, snapshot_parameters
from curriculum_rec.training.run_directory import RunDirectory, Which


@dataclass(frozen=True)
class TrainedRun:
    """A run that can be asked.

    Attributes:
        name: What it is called in tables and sentences.
        experiment: Its components.
        dataset: Its data.
        snapshot: The checkpoint.
    """

    name: str
    experiment: Experiment
    dataset: Dataset
    snapshot: Snapshot

    @classmethod
    def open(cls, experiment: Experiment, directory: RunDirectory, *, checkpoint: Which = "best") -> TrainedRun:
        """Read a run's data and a checkpoint.

        Args:
            experiment: The run's components (``config.experiment_of_run``).
            directory: Where it lies.
            checkpoint: The best by the validation metric, the newest, or the one of a step.

        Raises:
            RunError: Its data changed.
            CheckpointError: There is no such checkpoint.
        """
        snapshot, dataset = load_snapshot(directory, checkpoint), read_again(experiment, directory)
        if dataset.split.hash != snapshot.meta["split_hash"]:
            raise RunError(f"the data of {directory.path} changed since it was trained: its items may mean others now")
        return cls(str(directory.path), experiment.for_data(dataset), dataset, snapshot)

    def model(self) -> tuple[nnx.GraphDef, Tree]:
        """Rebuild the model: its structure, and its parameters on the host."""
        return snapshot_parameters(self.snapshot, self.experiment, inputs=self.dataset.inputs)

    def evaluator(self, options: EvaluationOptions, part: Part) -> Evaluator:
        """Prepare to ask it about a part."""
        whole = {"whole": True} if isinstance(self.experiment.model, FitsModel) else {}
        placed = self.experiment.placement.place()
        return options.on(self.dataset.split, part, self.experiment.examples, placed, **whole)

    def answers(self, evaluator: Evaluator) -> np.ndarray:
        """Ask it."""
        structure, params = self.model()
        return evaluator.answers(structure, self.experiment.placement.place().replicate(params))


def check_same_data(runs: Sequence[TrainedRun]) -> None:
    """Refuse runs that are not asked the same questions, or mean other items by the same numbers.

    Raises:
        RunError: There are such.
    """
    first = runs[0]
    for run in runs[1:]:
        if run.dataset.split.codes_digest != first.dataset.split.codes_digest:
            raise RunError(f"{run.name} numbers its items otherwise than {first.name}: they have other catalogues")
        if run.dataset.split.hash != first.dataset.split.hash:
            raise RunError(f"{run.name} has another split than {first.name}: their users or targets are not the same")
