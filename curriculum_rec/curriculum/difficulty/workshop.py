"""Teachers (host): what a difficulty asks of models that are trained to judge examples, and not to recommend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np

from curriculum_rec.data.examples import Examples
from curriculum_rec.errors import OptionError
from curriculum_rec.streams import host_stream

Statistic = Literal["loss", "probability", "rank", "margin", "error_norm", "hidden_norm"]
"""What a model says of a target, the whole catalogue being the candidates: its cross-entropy; its probability; its
rank, from 1, in which items level with it count half; its score above the best other item's; the Euclidean distance
between all probabilities and the right answer; the Euclidean norm of the vector that asks."""

STATISTICS: tuple[Statistic, ...] = get_args(Statistic)

Asked = Literal["end", "epochs", "layers"]


@dataclass(frozen=True)
class Lesson:
    """What one teacher is taught, and when it is asked about the targets of all examples.

    Attributes:
        number: Tells the teachers of one difficulty apart: each has its own initial values, order and dropout.
        epochs: Passes over what it is taught.
        taught: bool ``[n]``, the examples that it is trained on; None takes all.
        share: Their share of all examples, the same number for all teachers of a difficulty, which are then trained
            for as many steps, by one compiled program.
        asked: At the ``end``, after each of the ``epochs``, or at the end of a forward pass through the first 0, 1, 2,
            ... of its ``layers``.
    """

    number: int
    epochs: int
    taught: np.ndarray | None = None
    share: float = 1.0
    asked: Asked = "end"


@runtime_checkable
class Workshop(Protocol):
    """Trains teachers, and asks them."""

    @property
    def seed(self) -> int:
        """Decides everything random about its teachers."""
        ...

    def teach(self, examples: Examples, lesson: Lesson, names: tuple[Statistic, ...]) -> dict[str, np.ndarray]:
        """Train a teacher, unless it is known what it says, and ask it about all targets.

        Returns:
            float32 ``[times asked, n_targets]`` a name, in the order of ``examples.targets``.
        """
        ...

    def consult(
        self, examples: Examples, run: str, names: tuple[Statistic, ...], *, asked: Asked
    ) -> dict[str, np.ndarray]:
        """Ask the best checkpoint of a finished run; as :meth:`teach` but for the training."""
        ...

    def other(self, number: int) -> Workshop:
        """Give a workshop with other teachers; number 0 is this one."""
        ...

    def say(self, text: str) -> None:
        """Tell the person who watches."""
        ...


def needed(workshop: Workshop | None, difficulty: object) -> Workshop:
    """Give the workshop, without which a difficulty cannot be.

    Raises:
        OptionError: There is none.
    """
    if workshop is None:
        raise OptionError(
            f"difficulty {type(difficulty).__name__} asks teachers, and there is no workshop to train them in: give "
            "one (workshop=TeacherWorkshop(...)), train by an experiment, or audit the file that curriculum-rec score "
            "writes (scores=[FILE])"
        )
    return workshop


def folds(n: int, parts: int, *, seed: int, repeat: int = 0) -> np.ndarray:
    """Share examples out to parts whose sizes differ by one at most.

    Args:
        n: Number of examples.
        parts: Number of parts.
        seed: Decides who comes where.
        repeat: Another way to share them out.

    Returns:
        int64 ``[n]``, the part of each.

    Raises:
        OptionError: There are more parts than examples.

    >>> np.bincount(folds(7, 3, seed=0)).tolist()
    [3, 2, 2]
    """
    if parts > n:
        raise OptionError(f"{n} examples cannot be shared out to {parts} parts")
    return host_stream(seed, "folds", repeat).permutation(np.arange(n) % parts)
