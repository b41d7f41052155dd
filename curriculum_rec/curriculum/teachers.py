"""Teachers (host): which arm, that is which slice of the difficulties, is trained next, from how its losses fall.

A teacher sees every arm's score, the negative mean loss of examples that are never trained, before and after an
interval in which one arm was trained. What it remembers is one flat array, which lies in the checkpoint.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from scipy.special import logsumexp, softmax

from curriculum_rec.ranges import ABOVE_0_TO_1, POSITIVE, SHARE, at_least, check_ranges


@dataclass(frozen=True)
class Lesson:
    """What an interval did.

    Attributes:
        arm: The arm that was trained.
        before: float64 ``[n_arms]``, scores before it, higher is better.
        after: float64 ``[n_arms]``, scores after it.
        probability: float64 ``[n_arms]``, with which the arm was chosen.
    """

    arm: int
    before: np.ndarray
    after: np.ndarray
    probability: np.ndarray

    @property
    def progress(self) -> float:
        """By how much the arm's score rose."""
        return float(self.after[self.arm] - self.before[self.arm])


@runtime_checkable
class Teacher(Protocol):
    """A rule that chooses arms."""

    def begin(self, n_arms: int) -> np.ndarray:
        """Give the memory before the first interval, float64, of a size that stays."""
        ...

    def probabilities(self, memory: np.ndarray, n_arms: int, stream: np.random.Generator) -> np.ndarray:
        """Give each arm's probability for the next interval, float64 ``[n_arms]``."""
        ...

    def taught(self, memory: np.ndarray, lesson: Lesson) -> np.ndarray:
        """Give the memory after an interval."""
        ...


@dataclass(frozen=True)
class GreedyTeacher:
    """Mostly the arm whose score changes fastest in either direction, now and then any; first, each arm once.

    Args:
        epsilon: Probability of any arm, all alike, in [0, 1].
        temperature: Instead of the fastest arm, one with the probability ``softmax(|speed| / temperature)``; None takes
            the fastest.
        rate: Weight of a new speed in its running mean, in (0, 1].
    """

    epsilon: float = 0.1
    temperature: float | None = None
    rate: float = 0.1

    def __post_init__(self) -> None:
        ranges = {"epsilon": SHARE, "rate": ABOVE_0_TO_1, "temperature": POSITIVE.or_null()}
        check_ranges(self, "curriculum.sampler.teacher", ranges)

    def begin(self, n_arms: int) -> np.ndarray:
        """Give the memory before the first interval: the speeds, of which none is known."""
        return np.full(n_arms, np.nan)

    def probabilities(self, memory: np.ndarray, n_arms: int, stream: np.random.Generator) -> np.ndarray:
        """Give each arm's probability."""
        speed = np.abs(memory[:n_arms])
        unknown = np.isnan(speed)
        if unknown.any():
            return unknown / unknown.sum()
        if self.temperature is not None:
            chosen = softmax(speed / self.temperature)
        else:
            fastest = np.flatnonzero(speed == speed.max())  # of equal ones, any
            chosen = np.eye(n_arms)[stream.choice(fastest)]
        return (1 - self.epsilon) * chosen + self.epsilon / n_arms

    def _with_speed(self, memory: np.ndarray, arm: int, speed: float) -> np.ndarray:
        memory = memory.copy()
        memory[arm] = speed if np.isnan(memory[arm]) else memory[arm] + self.rate * (speed - memory[arm])
        return memory


@dataclass(frozen=True)
class OnlineTeacher(GreedyTeacher):
    """Speed is by how much the score rose in the last interval.

    Source: the online algorithm of teacher-student curriculum learning (Matiisen et al., 2019).
    """

    def taught(self, memory: np.ndarray, lesson: Lesson) -> np.ndarray:
        """Give the memory after an interval."""
        return self._with_speed(memory, lesson.arm, lesson.progress)


@dataclass(frozen=True)
class NaiveTeacher(GreedyTeacher):
    """An arm is kept for several intervals; speed is the slope of its scores over them, by least squares.

    Args:
        keep: Intervals, at least 1.

    Source: the naive algorithm of Matiisen et al. (2019).
    """

    keep: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "curriculum.sampler.teacher", {"keep": at_least(1)})

    def begin(self, n_arms: int) -> np.ndarray:
        """Give the memory: the speeds, the arm that is kept, for how many intervals it was, and its scores."""
        return np.concatenate([super().begin(n_arms), [-1.0, 0.0], np.zeros(self.keep + 1)])

    def probabilities(self, memory: np.ndarray, n_arms: int, stream: np.random.Generator) -> np.ndarray:
        """Give each arm's probability."""
        kept = int(memory[n_arms])
        return np.eye(n_arms)[kept] if kept >= 0 else super().probabilities(memory, n_arms, stream)

    def taught(self, memory: np.ndarray, lesson: Lesson) -> np.ndarray:
        """Give the memory after an interval."""
        memory, n_arms = memory.copy(), len(lesson.before)
        count = int(memory[n_arms + 1]) + 1
        scores = memory[n_arms + 2 :]
        if count == 1:
            scores[0] = lesson.before[lesson.arm]
        scores[count] = lesson.after[lesson.arm]
        memory[n_arms : n_arms + 2] = lesson.arm, count
        if count < self.keep:
            return memory
        memory = self._with_speed(memory, lesson.arm, slope(np.arange(count + 1), scores))
        memory[n_arms : n_arms + 2] = -1, 0
        return memory


@dataclass(frozen=True)
class WindowTeacher(GreedyTeacher):
    """Speed is the slope of an arm's last scores over the intervals, by least squares.

    Args:
        window: How many scores, at least 2.

    Source: the window algorithm of Matiisen et al. (2019).
    """

    window: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "curriculum.sampler.teacher", {"window": at_least(2)})

    def begin(self, n_arms: int) -> np.ndarray:
        """Give the memory: the speeds, the number of intervals, and each arm's last times and scores."""
        return np.concatenate([super().begin(n_arms), [0.0], np.full(2 * n_arms * self.window, np.nan)])

    def taught(self, memory: np.ndarray, lesson: Lesson) -> np.ndarray:
        """Give the memory after an interval."""
        memory, n_arms = memory.copy(), len(lesson.before)
        memory[n_arms] += 1
        pairs = memory[n_arms + 1 :].reshape(2, n_arms, self.window)[:, lesson.arm]
        pairs[:] = np.roll(pairs, -1, axis=1)
        pairs[:, -1] = memory[n_arms], lesson.after[lesson.arm]
        known = ~np.isnan(pairs[0])
        if known.sum() < 2:
            return memory
        return self._with_speed(memory, lesson.arm, slope(*pairs[:, known]))


@dataclass(frozen=True)
class SamplingTeacher:
    """For each arm one of its last changes is drawn, and the arm of the largest, in either direction, is trained.

    Args:
        window: Changes that are remembered of each arm, at least 2.

    Source: the sampling algorithm of Matiisen et al. (2019), after Thompson (1933).
    """

    window: int = 10

    def __post_init__(self) -> None:
        check_ranges(self, "curriculum.sampler.teacher", {"window": at_least(2)})

    def begin(self, n_arms: int) -> np.ndarray:
        """Give the memory: each arm's last changes; those of an arm never trained are without bound."""
        return np.full(n_arms * self.window, np.nan)

    def probabilities(self, memory: np.ndarray, n_arms: int, stream: np.random.Generator) -> np.ndarray:
        """Give each arm's probability."""
        changes = memory.reshape(n_arms, self.window)
        known = (~np.isnan(changes)).sum(axis=1)
        place = self.window - 1 - (stream.random(n_arms) * known).astype(np.int64)
        drawn = np.where(known > 0, np.abs(changes[np.arange(n_arms), place]), np.inf)
        return np.eye(n_arms)[stream.choice(np.flatnonzero(drawn == drawn.max()))]

    def taught(self, memory: np.ndarray, lesson: Lesson) -> np.ndarray:
        """Give the memory after an interval."""
        memory = memory.copy()
        changes = memory.reshape(len(lesson.before), self.window)[lesson.arm]
        changes[:] = np.append(changes[1:], lesson.progress)
        return memory


@dataclass(frozen=True)
class Exp3S:
    """An adversarial bandit whose reward is the arm's progress, scaled to [-1, 1] by quantiles of past ones.

    Args:
        rate: Step of the weights, above 0.
        epsilon: Share of the probability that all arms share alike, in (0, 1].
        window: Past rewards whose 20 % and 80 % quantiles scale a new one, at least 2.

    Source: Graves et al. (2017), section 3 and algorithm 1, with prediction gain as the reward.
    """

    rate: float = 0.001
    epsilon: float = 0.05
    window: int = 1000

    def __post_init__(self) -> None:
        check_ranges(
            self, "curriculum.sampler.teacher", {"rate": POSITIVE, "epsilon": ABOVE_0_TO_1, "window": at_least(2)}
        )

    def begin(self, n_arms: int) -> np.ndarray:
        """Give the memory: the weights, the number of intervals, and the last rewards."""
        return np.concatenate([np.zeros(n_arms), [0.0], np.full(self.window, np.nan)])

    def probabilities(self, memory: np.ndarray, n_arms: int, stream: np.random.Generator) -> np.ndarray:
        """Give each arm's probability."""
        return (1 - self.epsilon) * softmax(memory[:n_arms]) + self.epsilon / n_arms

    def taught(self, memory: np.ndarray, lesson: Lesson) -> np.ndarray:
        """Give the memory after an interval."""
        memory, n_arms = memory.copy(), len(lesson.before)
        memory[n_arms] += 1
        rewards = memory[n_arms + 1 :]
        rewards[:] = np.append(rewards[1:], lesson.progress)
        low, high = np.quantile(rewards[~np.isnan(rewards)], [0.2, 0.8])
        reward = np.clip(2 * (lesson.progress - low) / (high - low) - 1, -1, 1) if high > low else 0.0
        weight = memory[:n_arms].copy()
        weight[lesson.arm] += self.rate * reward / lesson.probability[lesson.arm]
        share = 1 / (memory[n_arms] + 1)
        others = np.where(np.eye(n_arms, dtype=bool), -np.inf, weight[None, :])
        mixed = logsumexp(others, axis=1) + math.log(share / max(n_arms - 1, 1))
        memory[:n_arms] = np.logaddexp(math.log1p(-share) + weight, mixed)
        memory[:n_arms] -= memory[:n_arms].max()  # probabilities know differences only
        return memory


@dataclass(frozen=True)
class MasteryGate:
    """The arms that are unlocked, all alike; the next one is unlocked when the hardest of them is mastered.

    Args:
        loss: Mean loss at or below which an arm is mastered; None waits for the plateau in any case.
        patience: An arm is mastered, too, after so many intervals in which its score did not get better, at least 1.
        min_delta: By how much a score must be better to count, at least 0.

    Source: mastery learning (Bloom, 1968).
    """

    loss: float | None = None
    patience: int = 5
    min_delta: float = 0.001

    def __post_init__(self) -> None:
        ranges = {"loss": at_least(0).or_null(), "patience": at_least(1), "min_delta": at_least(0)}
        check_ranges(self, "curriculum.sampler.teacher", ranges)

    def begin(self, n_arms: int) -> np.ndarray:
        """Give the memory: the number of unlocked arms, the best score of the hardest, and the intervals since."""
        return np.array([1.0, -np.inf, 0.0])

    def probabilities(self, memory: np.ndarray, n_arms: int, stream: np.random.Generator) -> np.ndarray:
        """Give each arm's probability."""
        return (np.arange(n_arms) < memory[0]) / memory[0]

    def taught(self, memory: np.ndarray, lesson: Lesson) -> np.ndarray:
        """Give the memory after an interval."""
        unlocked, best, since = memory
        score = lesson.after[int(unlocked) - 1]
        since = 0 if score > best + self.min_delta else since + 1
        best = max(best, score)
        mastered = since >= self.patience or (self.loss is not None and -score <= self.loss)
        if mastered and unlocked < len(lesson.before):
            return np.array([unlocked + 1, -np.inf, 0.0])
        return np.array([unlocked, best, since])


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """Give the slope of the line of least squares through at least two points.

    >>> slope(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 5.0]))
    2.0
    """
    centred = x - x.mean()
    return float((centred * y).sum() / (centred**2).sum())
