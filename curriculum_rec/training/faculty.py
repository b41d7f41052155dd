"""The checkpoints that teach a stage (host): opened, seen to know the same items and no more, put on the devices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from curriculum_rec.data.examples import Examples
from curriculum_rec.distillation.options import Distillation
from curriculum_rec.distillation.teachers import Ensemble, RunTeacher, Source, StageTeacher, Trajectory, sources_of
from curriculum_rec.errors import CheckpointError, OptionError, RunError
from curriculum_rec.models.structure import join_model, split_model
from curriculum_rec.training.checkpoint import Snapshot
from curriculum_rec.training.experiment import Dataset, Experiment
from curriculum_rec.training.placement import Placed
from curriculum_rec.training.restore import check_features, load_snapshot, model_template, snapshot_parameters
from curriculum_rec.training.run_directory import RunDirectory
from curriculum_rec.training.teacher_lists import Frozen
from curriculum_rec.training.workshop import OpenRun


@dataclass(frozen=True)
class Faculty:
    """Finds the teachers of a run's stages.

    Args:
        experiment: The components.
        dataset: Its data.
        examples: What teachers will be asked about.
        placed: The devices.
        open_run: Builds the experiment of a finished run; None where runs cannot be asked.
    """

    experiment: Experiment
    dataset: Dataset
    examples: Examples
    placed: Placed
    open_run: OpenRun | None

    def template_of(self, source: Source, name: str) -> nnx.Module:
        """Give a teacher's model, with shapes alone.

        Args:
            source: The teacher.
            name: The stage that it teaches, for error messages.
        """
        if isinstance(source, StageTeacher):
            return model_template(self.experiment, inputs=self.dataset.inputs, stage=source.stage)
        experiment, snapshot = self._open(source, name)
        return nnx.eval_shape(
            lambda: join_model(*snapshot_parameters(snapshot, experiment, inputs=self.dataset.inputs))
        )

    def _open(self, source: RunTeacher, name: str) -> tuple[Experiment, Snapshot]:
        """Open a run that teaches, and see that it knows the same items and no more.

        Raises:
            OptionError: Its histories are shorter.
            RunError: There is no such run, or its data are others.
        """
        where = f"stages.{name}.distil.teacher.run={source.run}"
        if self.open_run is None:
            raise OptionError(f"{where}: runs can only teach in an experiment")
        directory = RunDirectory.existing(source.run)
        experiment, snapshot = self.open_run(directory), load_snapshot(directory)
        if snapshot.meta["items_digest"] != self.dataset.split.codes_digest:
            raise CheckpointError(
                f"{where}: that run has another catalogue, so its item codes mean other items; take a run on the same "
                "data"
            )
        if snapshot.meta["split_hash"] != self.dataset.split.hash:
            raise RunError(
                f"{where}: it was trained on other data or another split, so it may know what this run is tested on; "
                "take a run on the same data"
            )
        check_features(snapshot, self.dataset, directory)
        longest = max(bucket.arrays["history"].shape[1] for bucket in self.examples.buckets)
        known = experiment.for_items(where).examples.max_length
        if known < longest:
            raise OptionError(
                f"{where}: its examples.max_length={known} is below the {longest} items that it would be asked about"
            )
        return experiment, snapshot

    def load(self, distil: Distillation, name: str, of_stage: Callable[[str], Snapshot]) -> Frozen:
        """Load all that a teacher is made of, once.

        Args:
            distil: The stage's options.
            name: The stage.
            of_stage: Gives the best checkpoint of an earlier stage.
        """
        structures, params, digests = [], [], []
        for source in sources_of(distil.teacher):
            if isinstance(source, StageTeacher):
                experiment, snapshot = self.experiment, of_stage(source.stage)
            else:
                experiment, snapshot = self._open(source, name)
            structure, tree = snapshot_parameters(snapshot, experiment, inputs=self.dataset.inputs)
            structures.append(structure)
            params.append(jax.tree.map(lambda leaf: jnp.asarray(leaf, self.experiment.precision), tree))
            digests.append(snapshot.meta["digests"])
        how = distil.teacher.how if isinstance(distil.teacher, Ensemble) else "mean"
        versions = isinstance(distil.teacher, Trajectory)
        return Frozen(tuple(structures), self.placed.replicate(params), digests, how, versions)


def width_of(model: Any) -> int:
    """Say how wide the vectors of a model are, which may hold shapes alone."""
    structure, params = split_model(model)
    one = jax.ShapeDtypeStruct((1,), jnp.int32)
    return jax.eval_shape(lambda params, item: join_model(structure, params).item_vectors(item), params, one).shape[-1]
