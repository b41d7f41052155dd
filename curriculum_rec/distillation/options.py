"""Distillation in a stage (host): who teaches what, how much of it, and whether what is said is written beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from flax import nnx

from curriculum_rec.curriculum.difficulty import Difficulty
from curriculum_rec.curriculum.pacing import Pacing
from curriculum_rec.distillation.contract import Needs, Term
from curriculum_rec.distillation.distilled import PARTS
from curriculum_rec.distillation.schedule import Schedule
from curriculum_rec.distillation.teachers import AverageTeacher, StageTeacher, Teacher, Trajectory, sources_of
from curriculum_rec.distillation.versions import needed_by
from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import check_ranges, one_of

Cache = Literal["auto", "always", "never"]


@dataclass(frozen=True)
class Distillation:
    """What a stage's model learns from a teacher, besides its own targets.

    Args:
        teacher: Who teaches.
        terms: Named losses by which the student follows; names are Python names.
        schedule: How much the teacher counts when.
        cache: Whether the teacher's lists are written before the stage (``always``), the teacher is asked in every step
            (``never``), or what both take is measured once and the faster is taken (``auto``). Terms that need the
            teacher itself are not cached.
        difficulty: What makes a user hard to distil; None where all are distilled from the start.
        pacing: Which share of the users is distilled at a step of the stage, easiest first.
    """

    teacher: Teacher
    terms: Mapping[str, Term]
    schedule: Schedule = Schedule()
    cache: Cache = "auto"
    difficulty: Difficulty | None = None
    pacing: Pacing | None = None

    def __post_init__(self) -> None:
        if not self.terms:
            raise OptionError("distil.terms is empty: choose one, such as distillation/term=catalogue_divergence")
        for name in self.terms:
            if not name.isidentifier() or hasattr(nnx.Module, name) or name == PARTS:
                raise OptionError(f"distil.terms.{name}: a term's name must be a plain Python name of its own")
        check_ranges(self, "distil", {"cache": one_of(*get_args(Cache))})
        if (self.difficulty is None) != (self.pacing is None):
            raise OptionError("distil.difficulty and distil.pacing go together: give both, or null for both")
        if self.difficulty is not None and self.difficulty.decay is not None:
            name = type(self.difficulty).__name__
            raise OptionError(f"distil.difficulty={name} changes while training: take one that is known beforehand")
        if self.pacing is not None and len(self.pacing.begin()):
            raise OptionError(f"distil.pacing={type(self.pacing).__name__} paces by evaluations: take another")
        if self.schedule.heat != 1 and not any(term.tempered for term in self.terms.values()):
            raise OptionError(f"distil.schedule.heat={self.schedule.heat} has no effect: no term has a temperature")
        self._check_teacher()

    def _check_teacher(self) -> None:
        needs = Needs.of(term.needs for term in self.terms.values())
        if isinstance(self.teacher, Trajectory) and (needs.online or needs.drawn or needs.grouped):
            raise OptionError(
                "distil.teacher=Trajectory says which items are the best and no more: take terms of these alone, such "
                "as EasyToHard or RelaxedRanking"
            )
        if self.cache == "always" and (needs.online or isinstance(self.teacher, AverageTeacher)):
            what = "a term needs" if needs.online else "an average changes, so a step needs"
            raise OptionError(f"distil.cache=always: {what} the teacher itself; set auto or never")

    @property
    def is_on(self) -> bool:
        """Whether the teacher counts at all."""
        return self.schedule.weight > 0

    @property
    def needs(self) -> Needs:
        """What the teacher has to say."""
        needs = Needs.of(term.needs for term in self.terms.values())
        return needed_by(self.teacher, needs) if isinstance(self.teacher, Trajectory) else needs

    @property
    def can_be_cached(self) -> bool:
        """Whether lists will do."""
        return not self.needs.online and not isinstance(self.teacher, AverageTeacher)

    @property
    def stages(self) -> tuple[str, ...]:
        """The earlier stages that teach."""
        return tuple(source.stage for source in sources_of(self.teacher) if isinstance(source, StageTeacher))


def check_teaching_stages(distillations: Mapping[str, Distillation | None]) -> None:
    """Refuse a teacher that is no earlier stage.

    Args:
        distillations: Of every stage, in order.

    Raises:
        OptionError: It is a later one, the stage itself, or none.
    """
    before: list[str] = []
    for name, distillation in distillations.items():
        for stage in () if distillation is None else distillation.stages:
            if stage not in before:
                there = ", ".join(before) or "none"
                raise OptionError(
                    f"stages.{name}.distil.teacher.stage={stage}: it must be an earlier stage; there are: {there}"
                )
        before.append(name)
