"""A sampler led by a teacher (host): slices of the difficulties are arms; examples kept apart say how each goes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from curriculum_rec.curriculum.sampling import Choice, Pool
from curriculum_rec.curriculum.teachers import Lesson, OnlineTeacher, Teacher
from curriculum_rec.data.examples import Examples
from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import at_least, check_ranges


@dataclass(frozen=True)
class Classroom:
    """Where a teacher stands.

    Attributes:
        arm: The arm that is trained now.
        probability: float64 ``[n_arms]``, with which it was chosen.
        score: float64 ``[n_arms]``, every arm's score when it was chosen; not a number before the first look.
        memory: What the teacher remembers.
    """

    arm: int
    probability: np.ndarray
    score: np.ndarray
    memory: np.ndarray

    def to_array(self) -> np.ndarray:
        """Give it as one float64 array for a checkpoint."""
        return np.concatenate([[self.arm, len(self.score)], self.probability, self.score, self.memory])

    @classmethod
    def from_array(cls, array: np.ndarray) -> Classroom:
        """Undo :meth:`to_array`."""
        arm, n_arms = (int(value) for value in array[:2])
        probability, score, memory = np.split(array[2:], [n_arms, 2 * n_arms])
        return cls(arm, probability, score, memory)


@dataclass(frozen=True)
class Taught:
    """One arm at a time, for ``every`` steps or one pass over it, whichever ends first.

    The arms are slices of equal size of the ordered difficulties, easiest first. Of each, ``held_out`` examples spread
    evenly over the slice are never trained; an arm's score is the negative mean of their losses, computed afresh at
    every look.

    Args:
        teacher: Chooses the arm.
        arms: How many slices, at least 2.
        held_out: Examples of each slice that are kept apart, at least 1; at most half of the slice are.
        every: Steps between two choices, at least 1.

    Source: automated curricula of Graves et al. (2017) and of Matiisen et al. (2019).
    """

    teacher: Teacher = OnlineTeacher()
    arms: int = 10
    held_out: int = 32
    every: int = 10
    sequences_only = True
    keeps_window = False
    goes_by_order = True
    decay = None

    def __post_init__(self) -> None:
        check_ranges(self, "curriculum.sampler", {"arms": at_least(2), "held_out": at_least(1), "every": at_least(1)})

    def count(self, share: float, n_units: int) -> int:
        """Say how many units are available: all, at any share."""
        return n_units

    def check(self, examples: Examples) -> None:
        """Refuse too few examples."""
        self.kept_apart((np.arange(len(examples)) + 0.5) / len(examples))

    def arm_of(self, quantile: np.ndarray) -> np.ndarray:
        """Give each example's arm, int64 ``[n]``."""
        return np.floor(quantile * self.arms).astype(np.int64)

    def kept_apart(self, quantile: np.ndarray) -> np.ndarray:
        """Give the examples that are never trained, int64 ``[n_arms, n_each]``, those of the easiest arm first.

        Raises:
            OptionError: There are too few examples.
        """
        arm = self.arm_of(quantile)
        sizes = np.bincount(arm, minlength=self.arms)
        n_each = min(self.held_out, int(sizes.min()) // 2)
        if n_each < 1:
            raise OptionError(
                f"curriculum.sampler.arms={self.arms}: {len(quantile)} examples are too few for so many slices"
            )
        order = np.argsort(quantile)
        begin = np.cumsum(sizes) - sizes
        place = np.floor((np.arange(n_each) + 0.5) / n_each * sizes[:, None]).astype(np.int64)
        return order[begin[:, None] + place]

    def begin(self) -> Classroom:
        """Give the classroom before the first look at the scores."""
        return Classroom(0, np.zeros(self.arms), np.full(self.arms, np.nan), self.teacher.begin(self.arms))

    def decide(self, room: Classroom, stream: np.random.Generator) -> Classroom:
        """Choose the next arm."""
        probability = self.teacher.probabilities(room.memory, self.arms, stream)
        return replace(room, arm=int(stream.choice(self.arms, p=probability)), probability=probability)

    def looked(self, room: Classroom, score: np.ndarray) -> Classroom:
        """Take in the scores after an interval; the first ones have nothing before them to be compared with."""
        memory = room.memory
        if not np.isnan(room.score).any():
            memory = self.teacher.taught(memory, Lesson(room.arm, room.score, score, room.probability))
        return replace(room, score=score, memory=memory)

    def choose(self, pool: Pool, stream: np.random.Generator) -> Choice:
        """Choose the arm's examples, each once, without those that are kept apart."""
        chosen = self.arm_of(pool.quantile) == pool.arm
        chosen[self.kept_apart(pool.quantile)] = False
        return Choice(chosen.astype(np.int64))
