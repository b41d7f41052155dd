"""Difficulties judged by teachers that were not trained on what they judge (host)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curriculum_rec.curriculum.difficulty.base import RunningLoss, Unit, check_targets, mean_by_example
from curriculum_rec.curriculum.difficulty.from_teachers import TaughtDifficulty
from curriculum_rec.curriculum.difficulty.workshop import Lesson, Workshop, folds, needed
from curriculum_rec.data.examples import Examples
from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import BELOW_ONE, at_least, check_ranges


@dataclass(frozen=True)
class CrossValidated(TaughtDifficulty):
    """The mean loss of teachers that were trained on the other folds of the sequences.

    Args:
        repeats: How often the sequences are shared out to folds anew.
        folds: Parts of the sequences, at least 2; there are ``repeats * folds`` teachers.
        epochs: Passes of each teacher over what it is trained on.

    Source: the loss-based c-score of Jiang et al. (2021) as in Wu, Dyer and Neyshabur (2021), who repeat 10 times for
    30 epochs.
    """

    repeats: int = 3
    folds: int = 4
    epochs: int = 10

    def __post_init__(self) -> None:
        check_ranges(
            self, "curriculum.difficulty", {"repeats": at_least(1), "epochs": at_least(1), "folds": at_least(2)}
        )

    def judge(self, examples: Examples, workshop: Workshop) -> np.ndarray:
        """Score all targets."""
        total = np.zeros(len(examples.targets))
        for repeat in range(self.repeats):
            total += held_out_loss(examples, workshop, self.folds, epochs=self.epochs, repeat=repeat)
        return total / self.repeats


@dataclass(frozen=True)
class CrossReview(TaughtDifficulty):
    """How many teachers of the other parts get the target wrong, each being trained on one part of the sequences.

    Args:
        parts: Parts of the sequences, at least 2, each with a teacher.
        k: Ranks among all items that count as right.
        epochs: Passes of each teacher over its part.

    Source: Xu et al. (2020).
    """

    parts: int = 10
    k: int = 10
    epochs: int = 10

    def __post_init__(self) -> None:
        check_ranges(self, "curriculum.difficulty", {"k": at_least(1), "epochs": at_least(1), "parts": at_least(2)})

    def judge(self, examples: Examples, workshop: Workshop) -> np.ndarray:
        """Score all targets."""
        part = folds(len(examples), self.parts, seed=workshop.seed)
        of_target = np.repeat(part, np.diff(examples.target_offsets))
        wrong = np.zeros(len(examples.targets))
        for number in range(self.parts):
            lesson = Lesson(number, self.epochs, part == number, 1 / self.parts)
            rank = workshop.teach(examples, lesson, ("rank",))["rank"][0]
            wrong += (of_target != number) & (rank > self.k)
        return wrong


@dataclass(frozen=True)
class ReducibleLoss:
    """The part of the student's running loss that can be learnt: less the loss of a model trained on other sequences.

    Each half of the training sequences is judged by a model that was trained on the other one. What is high is not yet
    learnt but can be; with ``curriculum.order=anti`` it comes first, as in the source. Both losses are the same with
    ``objective=softmax``; that of sampled negatives is smaller. A unit that was never seen counts as of average
    difficulty.

    Args:
        decay: Share of the old mean that a new loss leaves: ``m <- decay * m + (1 - decay) * loss``.
        epochs: Passes of each of the two models over its half.

    Source: RHO-LOSS of Mindermann et al. (2022), in their form without further data.
    """

    decay: float = 0.9
    epochs: int = 10

    def __post_init__(self) -> None:
        check_ranges(self, "curriculum.difficulty", {"decay": BELOW_ONE, "epochs": at_least(1)})

    def __call__(
        self, examples: Examples, unit: Unit, losses: RunningLoss | None, workshop: Workshop | None = None
    ) -> np.ndarray:
        """Score all units.

        Raises:
            OptionError: There are no running losses or no workshop, or the examples are no sequences.
        """
        check_targets(self, examples)
        if losses is None:
            raise OptionError("difficulty ReducibleLoss needs the running losses of a training run")
        least = held_out_loss(examples, needed(workshop, self), 2, epochs=self.epochs)
        if unit == "sequence":
            least = mean_by_example(least, examples.target_offsets)
        reducible = losses.mean - least
        average = reducible[losses.seen].mean() if losses.seen.any() else 0.0
        return np.where(losses.seen, reducible, average)


def held_out_loss(examples: Examples, workshop: Workshop, parts: int, *, epochs: int, repeat: int = 0) -> np.ndarray:
    """Give every target's loss under the teacher that was trained on all parts but that of its sequence.

    Args:
        examples: What is judged.
        workshop: Trains the teachers.
        parts: Parts of the sequences.
        epochs: Passes of each teacher over what it is trained on.
        repeat: Shares the sequences out anew.

    Returns:
        float64 ``[n_targets]``.
    """
    part = folds(len(examples), parts, seed=workshop.seed, repeat=repeat)
    of_target = np.repeat(part, np.diff(examples.target_offsets))
    held_out = np.zeros(len(examples.targets))
    for number in range(parts):
        lesson = Lesson(repeat * parts + number, epochs, part != number, (parts - 1) / parts)
        loss = workshop.teach(examples, lesson, ("loss",))["loss"][0]
        held_out = np.where(of_target == number, loss, held_out)
    return held_out
