"""A stage under a teacher (host): who is loaded and checked, and whose lists are written before it begins."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array

from curriculum_rec.curriculum.difficulty import Workshop
from curriculum_rec.curriculum.quantile import quantiles
from curriculum_rec.data.examples import Examples
from curriculum_rec.distillation.attention_maps import check_attention
from curriculum_rec.distillation.contract import Sizes
from curriculum_rec.distillation.distilled import (
    QUANTILE,
    Distilled,
    Parts,
    Span,
    make_parts,
)
from curriculum_rec.distillation.groups import check_groups, popularity_groups
from curriculum_rec.distillation.hearing import GROUPS, PARAMS, VECTORS, FromAverage, FromLists, FromTeachers, Hearing
from curriculum_rec.distillation.options import Distillation
from curriculum_rec.distillation.teachers import (
    AverageTeacher,
    Trajectory,
    sources_of,
)
from curriculum_rec.distillation.versions import EXAMPLE, FromVersions
from curriculum_rec.errors import OptionError
from curriculum_rec.files import write_text
from curriculum_rec.models.structure import Tree, join_model, split_model
from curriculum_rec.training import hosts
from curriculum_rec.training.checkpoint import Snapshot
from curriculum_rec.training.experiment import Dataset, Experiment
from curriculum_rec.training.faculty import Faculty, width_of
from curriculum_rec.training.placement import Placed
from curriculum_rec.training.run_directory import RunDirectory
from curriculum_rec.training.score_store import ScoreStore
from curriculum_rec.training.teacher_lists import Frozen, TeacherLists
from curriculum_rec.weighting.learned import MetaLearned
from curriculum_rec.weighting.temperature import DataParameters


@dataclass(frozen=True)
class Tuition:
    """What a stage trains by under a teacher.

    Attributes:
        objective: The task's and the teacher's.
        examples: With what the teacher says of them.
        teacher: Frozen arrays on every device.
        parts: The trainable parts of its terms; None if none has any.
        taken: What was decided about the teacher, for the person who watches.
    """

    objective: Distilled
    examples: Examples
    teacher: Tree
    parts: Parts | None
    taken: str


@dataclass
class Tutor:
    """Arranges the stages of a run that have a teacher.

    Args:
        experiment: The components.
        dataset: Its data.
        examples: Whole training examples, as the task's objective wants them.
        placed: The devices.
        directory: The run's.
        store: Keeps what teachers listed.
        workshop: Trains teachers for a difficulty that says which users are hard to distil.
        faculty: Finds the teachers.
    """

    experiment: Experiment
    dataset: Dataset
    examples: Examples
    placed: Placed
    directory: RunDirectory
    store: ScoreStore
    workshop: Workshop | None
    faculty: Faculty

    def check(self, name: str, student: nnx.Module) -> None:
        """Refuse what would fail when the stage begins.

        Args:
            name: The stage.
            student: Its model, holding shapes alone.

        Raises:
            OptionError: Something does not go together, or does not fit the model or the catalogue.
            RunError: A run that teaches does not exist, or was trained on other data.
        """
        distil = self._of_stage(name)
        if distil is None:
            return
        self._check_company(name, distil)
        for term in distil.terms.values():
            term.check(self._n_items)
        if distil.needs.best > self._n_items:
            raise OptionError(
                f"stages.{name}.distil: lists of {distil.needs.best} items, of {self._n_items} that exist"
            )
        if distil.needs.groups:
            check_groups(self._groups(distil.needs.groups), distil.needs.grouped)
        teachers = [self.faculty.template_of(source, name) for source in sources_of(distil.teacher)]
        widths = [width_of(teacher) for teacher in teachers]
        make_parts(distil.terms, self._sizes(distil, student, widths), seed=self.experiment.seed)
        if distil.needs.attention:
            check_attention(f"stages.{name}.distil.terms", student, teachers)

    def begin(
        self,
        name: str,
        student: nnx.Module,
        *,
        first_step: int,
        steps_per_epoch: int,
        total_steps: int,
        of_stage: Callable[[str], Snapshot],
    ) -> Tuition | None:
        """Arrange a stage; None where it has no teacher, or one who does not count.

        Args:
            name: The stage.
            student: Its model, holding shapes alone.
            first_step: Steps of the run before it.
            steps_per_epoch: Those of a pass over all examples.
            total_steps: Those of the run.
            of_stage: Gives the best checkpoint of an earlier stage.
        """
        distil = self._of_stage(name)
        if distil is None:
            return None
        n_steps = self.experiment.stages[name].n_steps(steps_per_epoch)
        span = Span(first_step, n_steps, total_steps, steps_per_epoch)
        frozen = self.faculty.load(distil, name, of_stage)
        parts = make_parts(distil.terms, self._sizes(distil, student, _widths(frozen)), seed=self.experiment.seed)
        groups = self._groups(distil.needs.groups) if distil.needs.groups else None
        lists, taken = self._lists(distil, name, frozen, groups, n_steps)
        objective = Distilled(
            self.experiment.objective,
            distil.terms,
            distil.schedule,
            self._hearing(distil, frozen, student, parts, span, cached=lists is not None),
            span,
            self.placed.axis_name,
            distil.pacing,
        )
        teacher: dict[str, Any] = {} if groups is None else {GROUPS: groups}
        if lists is None:
            teacher[PARAMS] = frozen.params
        elif distil.needs.drawn:
            teacher[VECTORS] = _item_vectors(frozen)
        return Tuition(objective, self._laid_out(distil, lists), self.placed.replicate(teacher), parts, taken)

    @property
    def _n_items(self) -> int:
        return self.dataset.n_items

    def _of_stage(self, name: str) -> Distillation | None:
        distil = self.experiment.stages[name].distil
        return distil if distil is not None and distil.is_on else None

    def _groups(self, n_groups: int) -> np.ndarray:
        counts = self.examples.item_counts
        return popularity_groups(counts if counts is not None else np.ones(self._n_items + 1, np.int64), n_groups)

    def _check_company(self, name: str, distil: Distillation) -> None:
        """Refuse what does not go together with a teacher."""
        experiment, where = self.experiment, f"stages.{name}.distil"
        if isinstance(experiment.weighting, DataParameters | MetaLearned):
            raise OptionError(
                f"{where} does not go with weighting={type(experiment.weighting).__name__}, which looks at examples of "
                "which the teacher says nothing: take another"
            )
        if not self.examples.has_targets:
            raise OptionError(f"{where} needs sequences, and these examples have no 2-D 'target'")
        if distil.needs.whole_batch and experiment.accumulate > 1:
            raise OptionError(
                f"{where}.terms compare the examples of a whole batch, and accumulate={experiment.accumulate} cuts it: "
                "set accumulate=1"
            )
        if isinstance(distil.teacher, Trajectory) and experiment.curriculum.history is not None:
            raise OptionError(f"{where}.teacher=Trajectory does not go with curriculum.history, which cuts users up")

    def _sizes(self, distil: Distillation, student: nnx.Module, widths: list[int]) -> Sizes:
        own = width_of(student)
        if isinstance(distil.teacher, AverageTeacher):
            return Sizes(own, own)
        return Sizes(own, widths[0] if len(widths) == 1 else None)

    def _hearing(
        self,
        distil: Distillation,
        frozen: Frozen,
        student: nnx.Module,
        parts: Parts | None,
        span: Span,
        *,
        cached: bool,
    ) -> Hearing:
        """Say how the teacher is heard."""
        if isinstance(distil.teacher, AverageTeacher):
            structure, template = split_model(student)
            return FromAverage(structure, template, distil.teacher.decay, distil.needs)
        if isinstance(distil.teacher, Trajectory):
            return FromVersions(
                distil.teacher,
                distil.needs,
                len(self.examples),
                len(frozen.structures),
                span.steps_per_epoch,
                span.first_step,
                () if cached else frozen.structures,
            )
        if cached:
            return FromLists(distil.needs, self._n_items, frozen.how)
        return FromTeachers(frozen.structures, distil.needs, frozen.how)

    def _lists(
        self, distil: Distillation, name: str, frozen: Frozen, groups: np.ndarray | None, n_steps: int
    ) -> tuple[list[dict[str, np.ndarray]] | None, str]:
        """Give the teacher's lists if they are to be read, else None, and say why."""
        if distil.cache == "never" or not distil.can_be_cached:
            return None, "asked in every step"
        lists = TeacherLists(frozen, distil.needs, self.examples, groups, self.placed)
        cached, taken = self._decision(distil, name, lists, n_steps)
        if not cached:
            return None, taken
        there = lists.read(self.store)
        return lists.write(self.store) if there is None else there, taken

    def _decision(self, distil: Distillation, name: str, lists: TeacherLists, n_steps: int) -> tuple[bool, str]:
        """Decide whether lists are written, once a stage: a run that goes on must not decide anew."""
        if distil.cache == "always":
            return True, "its lists are written beforehand"
        path = self.directory.scores / f"distillation_{name}.json"
        if not path.is_file():
            asked, read = lists.seconds()
            n_batches = self.examples.batches_per_epoch
            cached = hosts.all_agree(n_batches * asked + n_steps * read < n_steps * asked)
            record: dict[str, Any] = {
                "cached": cached,
                "seconds_a_batch": {"asked": asked, "read": read},
                "batches": n_batches,
            }
            if hosts.is_first():
                write_text(path, json.dumps(record) + "\n")
        else:
            record = json.loads(path.read_text())
        seconds = record["seconds_a_batch"]
        figures = f"{1e3 * seconds['asked']:.2f} ms a batch asked, {1e3 * seconds['read']:.2f} ms read"
        cached = hosts.all_agree(bool(record["cached"]))
        return cached, f"{'its lists are written beforehand' if cached else 'asked in every step'} ({figures})"

    def _laid_out(self, distil: Distillation, lists: list[dict[str, np.ndarray]] | None) -> Examples:
        """Lay beside the examples what the teacher says of them."""
        more: list[dict[str, np.ndarray]] = [{} for _ in self.examples.buckets] if lists is None else lists
        if isinstance(distil.teacher, Trajectory):
            more = [
                named | {EXAMPLE: bucket.example} for named, bucket in zip(more, self.examples.buckets, strict=True)
            ]
        if distil.difficulty is not None:
            scores = distil.difficulty(self.examples, "sequence", None, self.workshop)
            quantile = quantiles(scores, seed=self.experiment.seed).astype(np.float32)
            more = [
                named | {QUANTILE: quantile[bucket.example]}
                for named, bucket in zip(more, self.examples.buckets, strict=True)
            ]
        buckets = tuple(
            replace(bucket, arrays={**bucket.arrays, **named})
            for bucket, named in zip(self.examples.buckets, more, strict=True)
        )
        return replace(self.examples, buckets=buckets)


def _item_vectors(frozen: Frozen) -> list[Array]:
    """Give the item vectors of every teacher."""

    @partial(jax.jit, static_argnums=0)
    def vectors(structure: nnx.GraphDef, params: Tree) -> Array:
        return join_model(structure, params).item_vectors()

    return [vectors(structure, tree) for structure, tree in zip(frozen.structures, frozen.params, strict=True)]


def _widths(frozen: Frozen) -> list[int]:
    return [
        width_of(join_model(structure, tree)) for structure, tree in zip(frozen.structures, frozen.params, strict=True)
    ]
