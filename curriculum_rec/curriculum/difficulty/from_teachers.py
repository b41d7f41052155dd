"""Difficulties judged by teachers (host): trained on the same examples, or a finished run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from curriculum_rec.curriculum.difficulty.base import RunningLoss, Unit, check_targets
from curriculum_rec.curriculum.difficulty.dynamics import (
    ambiguity,
    area_under_margin,
    forgetting_events,
    lack_of_confidence,
    learnt_after,
    mean_mistakes,
    variability,
)
from curriculum_rec.curriculum.difficulty.from_data import StaticDifficulty
from curriculum_rec.curriculum.difficulty.workshop import Asked, Lesson, Statistic, Workshop, needed
from curriculum_rec.data.examples import Examples
from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import at_least, check_ranges, one_of

Judgement = Literal["loss", "rank", "confidence"]
Map = Literal["confidence", "variability", "ambiguity"]


class TaughtDifficulty(StaticDifficulty):
    """A difficulty of single targets that teachers judge, once; teachers see training rows only."""

    def __call__(
        self,
        examples: Examples,
        unit: Unit,
        losses: RunningLoss | None = None,
        workshop: Workshop | None = None,
    ) -> np.ndarray:
        """Score all units, float64 ``[n_units]``.

        Raises:
            OptionError: There is no workshop, or the examples are no sequences.
        """
        check_targets(self, examples)
        scores = self.judge(examples, needed(workshop, self)).astype(np.float64)
        return scores if unit == "target" else self.of_sequences(examples, scores)

    def judge(self, examples: Examples, workshop: Workshop) -> np.ndarray:
        """Score all targets, ``[n_targets]``."""
        raise NotImplementedError


@dataclass(frozen=True)
class TransferTeacher(TaughtDifficulty):
    """What a trained teacher finds hard.

    Args:
        score: ``loss``, the cross-entropy among all items; ``rank``, that of the target among all items, from 0 to 1;
            or ``confidence``, 1 less the target's probability.
        run: A finished run on the same data, whose best checkpoint is the teacher; None trains one.
        epochs: Passes over the data of a teacher that is trained.

    Source: Weinshall et al. (2018) and Hacohen and Weinshall (2019); the rank, free of the loss's scale, is ours.
    """

    score: Judgement = "loss"
    run: str | None = None
    epochs: int = 10

    def __post_init__(self) -> None:
        check_ranges(self, "curriculum.difficulty", {"score": one_of(*get_args(Judgement)), "epochs": at_least(1)})

    def judge(self, examples: Examples, workshop: Workshop) -> np.ndarray:
        """Score all targets."""
        names: dict[str, Statistic] = {"loss": "loss", "rank": "rank", "confidence": "probability"}
        value = ask(self, examples, workshop, names[self.score])[0]
        if self.score == "rank" and examples.item_counts is not None:
            return (value - 1) / (len(examples.item_counts) - 2)
        return lack_of_confidence(value[None]) if self.score == "confidence" else value


@dataclass(frozen=True)
class PredictionDepth(TaughtDifficulty):
    """The number of layers after which a trained teacher has found the target, one more where it never does.

    The final norm and the item vectors read every layer's output. A target counts as found from the first layer on
    after which each has it among its best ``k``; layer 0 is what goes into the first block.

    Args:
        k: Ranks that count as right.
        run: A finished run on the same data, whose best checkpoint is the teacher; None trains one.
        epochs: Passes over the data of a teacher that is trained.

    Source: Baldock et al. (2021); reading with the output layer in place of nearest neighbours, and asking for the
    target in place of the final answer, which for a target never found would be shallow, are ours.
    """

    k: int = 10
    run: str | None = None
    epochs: int = 10

    def __post_init__(self) -> None:
        check_ranges(self, "curriculum.difficulty", {"k": at_least(1), "epochs": at_least(1)})

    def judge(self, examples: Examples, workshop: Workshop) -> np.ndarray:
        """Score all targets."""
        return learnt_after(ask(self, examples, workshop, "rank", asked="layers") <= self.k)


def ask(
    teacher: TransferTeacher | PredictionDepth,
    examples: Examples,
    workshop: Workshop,
    name: Statistic,
    *,
    asked: Asked = "end",
) -> np.ndarray:
    """Ask the run that a difficulty names, or a teacher that is trained, ``[times, n_targets]``."""
    if teacher.run is not None:
        return workshop.consult(examples, teacher.run, (name,), asked=asked)[name]
    return workshop.teach(examples, Lesson(0, teacher.epochs, asked=asked), (name,))[name]


@dataclass(frozen=True)
class ErrorNorm(TaughtDifficulty):
    """The distance between a young teacher's probabilities and the right answer, ``norm(softmax(z) - onehot)``.

    Args:
        teachers: Teachers over which it is averaged.
        epochs: Passes over the data; a small part of a training.

    Source: EL2N of Paul et al. (2021), who average 10 runs at a tenth of the training.
    """

    teachers: int = 10
    epochs: int = 1

    def __post_init__(self) -> None:
        check_ranges(self, "curriculum.difficulty", {"teachers": at_least(1), "epochs": at_least(1)})

    def judge(self, examples: Examples, workshop: Workshop) -> np.ndarray:
        """Score all targets."""
        total = np.zeros(len(examples.targets))
        for number in range(self.teachers):
            total += self.of_teacher(workshop.teach(examples, Lesson(number, self.epochs), self.statistics))
        return total / self.teachers

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        """What each teacher is asked."""
        return ("error_norm",)

    def of_teacher(self, said: dict[str, np.ndarray]) -> np.ndarray:
        """Turn what a teacher said into a score."""
        return said["error_norm"][0]


@dataclass(frozen=True)
class GradientNorm(ErrorNorm):
    """The length of a target's gradient in the output layer, ``norm(softmax(z) - onehot) norm(h)``.

    It bounds the length of the whole gradient up to a factor that is much the same for all targets.

    Args:
        teachers: Teachers over which it is averaged.
        epochs: Passes over the data; a small part of a training.

    Source: GraNd of Paul et al. (2021), with the bound of Katharopoulos and Fleuret (2018) for the last layer.
    """

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        """What each teacher is asked."""
        return ("error_norm", "hidden_norm")

    def of_teacher(self, said: dict[str, np.ndarray]) -> np.ndarray:
        """Turn what a teacher said into a score."""
        return said["error_norm"][0].astype(np.float64) * said["hidden_norm"][0]


@dataclass(frozen=True)
class Course(TaughtDifficulty):
    """A difficulty judged by what a teacher gets right after each epoch of its training.

    Args:
        k: Ranks among all items that count as right.
        epochs: Passes over the data, and how often the teacher is asked; at least 2.
    """

    k: int = 10
    epochs: int = 10

    def __post_init__(self) -> None:
        check_ranges(self, "curriculum.difficulty", {"k": at_least(1)})
        check_course(self.epochs)

    def judge(self, examples: Examples, workshop: Workshop) -> np.ndarray:
        """Score all targets."""
        return self.of_answers(course(examples, workshop, self.epochs, "rank") <= self.k)

    def of_answers(self, correct: np.ndarray) -> np.ndarray:
        """Turn what was right, bool ``[epochs, n_targets]``, into a score."""
        raise NotImplementedError


@dataclass(frozen=True)
class FirstLearnt(Course):
    """When a teacher has learnt the target for good, as a share of its epochs; 1 where it never has.

    Args:
        k: Ranks among all items that count as right.
        epochs: Passes over the data, and how often the teacher is asked; at least 2.

    Source: the learnt iteration of Wu, Dyer and Neyshabur (2021).
    """

    def of_answers(self, correct: np.ndarray) -> np.ndarray:
        """Turn what was right into a score."""
        return learnt_after(correct) / len(correct)


@dataclass(frozen=True)
class Correctness(Course):
    """The share of a teacher's epochs after which the target is wrong.

    Args:
        k: Ranks among all items that count as right.
        epochs: Passes over the data, and how often the teacher is asked; at least 2.

    Source: the correctness of Swayamdipta et al. (2020).
    """

    def of_answers(self, correct: np.ndarray) -> np.ndarray:
        """Turn what was right into a score."""
        return mean_mistakes(correct)


@dataclass(frozen=True)
class Forgetting(Course):
    """How often a teacher forgets the target between two epochs; infinite where it never knows it.

    In the mean over a sequence, a target never known counts as forgotten in every epoch.

    Args:
        k: Ranks among all items that count as right.
        epochs: Passes over the data, and how often the teacher is asked; at least 2.

    Source: Toneva et al. (2019).
    """

    def of_answers(self, correct: np.ndarray) -> np.ndarray:
        """Turn what was right into a score."""
        return forgetting_events(correct)

    def of_sequences(self, examples: Examples, scores: np.ndarray) -> np.ndarray:
        """Turn the scores of targets into those of the sequences that they belong to."""
        return super().of_sequences(examples, np.where(np.isinf(scores), self.epochs, scores))


@dataclass(frozen=True)
class DataMap(TaughtDifficulty):
    """Where a target lies on the map of a teacher's training.

    Args:
        score: ``confidence``, 1 less the mean probability of the target over the epochs; ``variability``, its standard
            deviation; or ``ambiguity``, the nearness of its mean to one half.
        epochs: Passes over the data, and how often the teacher is asked; at least 2.

    Source: Swayamdipta et al. (2020).
    """

    score: Map = "confidence"
    epochs: int = 10

    def __post_init__(self) -> None:
        check_ranges(self, "curriculum.difficulty", {"score": one_of(*get_args(Map))})
        check_course(self.epochs)

    def judge(self, examples: Examples, workshop: Workshop) -> np.ndarray:
        """Score all targets."""
        function = {"confidence": lack_of_confidence, "variability": variability, "ambiguity": ambiguity}[self.score]
        return function(course(examples, workshop, self.epochs, "probability"))


@dataclass(frozen=True)
class AreaUnderMargin(TaughtDifficulty):
    """How far a teacher's best other item lies above the target, on average over its epochs.

    Args:
        epochs: Passes over the data, and how often the teacher is asked; at least 2.

    Source: Pleiss et al. (2020), with the sign turned.
    """

    epochs: int = 10

    def __post_init__(self) -> None:
        check_course(self.epochs)

    def judge(self, examples: Examples, workshop: Workshop) -> np.ndarray:
        """Score all targets."""
        return -area_under_margin(course(examples, workshop, self.epochs, "margin"))


def course(examples: Examples, workshop: Workshop, epochs: int, name: Statistic) -> np.ndarray:
    """Ask a teacher after each epoch of its training, ``[epochs, n_targets]``."""
    return workshop.teach(examples, Lesson(0, epochs, asked="epochs"), (name,))[name]


def check_course(epochs: int) -> None:
    """Refuse a course that is none.

    Raises:
        OptionError: It has one epoch, or none.
    """
    if epochs < 2:
        raise OptionError(f"curriculum.difficulty.epochs={epochs}: a course of training has at least 2")
