"""Who teaches (host): a run, an earlier stage, several of these, versions of one, or the student's own average."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from curriculum_rec.distillation.voice import How
from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import ABOVE_0_TO_1, INSIDE_ONE, POSITIVE, at_least, check_ranges, one_of


@dataclass(frozen=True)
class RunTeacher:
    """The best checkpoint of a finished run on the same data, of whatever model.

    Args:
        run: Its directory.
    """

    run: str


@dataclass(frozen=True)
class StageTeacher:
    """The best checkpoint of an earlier stage of the same run.

    Args:
        stage: Its name.
    """

    stage: str


Source = RunTeacher | StageTeacher


@dataclass(frozen=True)
class Ensemble:
    """Several teachers with one voice.

    Args:
        members: Named teachers, at least two.
        how: ``mean`` averages their standardised scores, at their mean scale; ``borda`` averages their ranks.

    Source: the ensemble of Hinton et al. (2015), of standardised scores since models differ in scale.
    """

    members: Mapping[str, Source]
    how: How = "mean"

    def __post_init__(self) -> None:
        if len(self.members) < 2:
            raise OptionError("distil.teacher.members: an ensemble has at least two; take the one by itself")
        check_ranges(self, "distil.teacher", {"how": one_of(*get_args(How))})


@dataclass(frozen=True)
class Trajectory:
    """Versions of a teacher from weak to strong; every user follows one and goes on to the next when it is ready.

    In every ``every_epochs``-th pass the student's list at a user's last target is compared with the next version's.
    The user goes on when the discrepancy has fallen by more than the factor ``threshold x patience^checks`` since it
    began with its version. Discrepancy is ``1 - DCG / ideal DCG`` over the first ``depth`` items, an item at place
    ``r`` (from 0) gaining ``2^(e^(-r / 10)) - 1`` if it is in both lists.

    Args:
        versions: Named teachers, weakest first, at least two.
        every_epochs: Passes between two looks at a user, at least 1.
        threshold: Above 0.
        patience: In (0, 1]; the lower, the sooner users go on that do not get nearer.
        depth: Items of a list that are compared, at least 1.
        enough: The student counts as finished once users stand at this share of the way on average, in (0, 1].

    Source: HetComp of Kang et al. (2023), section 4.2, with one teacher's versions.
    """

    versions: Mapping[str, Source]
    every_epochs: int = 10
    threshold: float = 1.05
    patience: float = 0.995
    depth: int = 50
    enough: float = 1.0

    def __post_init__(self) -> None:
        if len(self.versions) < 2:
            raise OptionError("distil.teacher.versions: a trajectory has at least two")
        ranges = {
            "every_epochs": at_least(1),
            "threshold": POSITIVE,
            "patience": ABOVE_0_TO_1,
            "depth": at_least(1),
            "enough": ABOVE_0_TO_1,
        }
        check_ranges(self, "distil.teacher", ranges)


@dataclass(frozen=True)
class AverageTeacher:
    """The exponential average of the student's own weights.

    Args:
        decay: Share of the old average that every step leaves, in (0, 1).

    Source: Tarvainen and Valpola (2017).
    """

    decay: float = 0.999

    def __post_init__(self) -> None:
        check_ranges(self, "distil.teacher", {"decay": INSIDE_ONE})


Teacher = RunTeacher | StageTeacher | Ensemble | Trajectory | AverageTeacher


def sources_of(teacher: Teacher) -> tuple[Source, ...]:
    """List the checkpoints that a teacher is made of; none for the student's own average.

    >>> sources_of(Ensemble({"a": StageTeacher("first"), "b": RunTeacher("runs/x")}))
    (StageTeacher(stage='first'), RunTeacher(run='runs/x'))
    """
    if isinstance(teacher, Ensemble):
        return tuple(teacher.members.values())
    if isinstance(teacher, Trajectory):
        return tuple(teacher.versions.values())
    return () if isinstance(teacher, AverageTeacher) else (teacher,)
