import math

import numpy as np
import pytest

from curriculum_rec.curriculum.teachers import (
    Exp3S,
    Lesson,
    MasteryGate,
    NaiveTeacher,
    OnlineTeacher,
    SamplingTeacher,
    WindowTeacher,
    slope,
)
from curriculum_rec.errors import OptionError

ALL = [
    OnlineTeacher(),
    OnlineTeacher(temperature=1e-3),
    NaiveTeacher(),
    WindowTeacher(),
    SamplingTeacher(),
    Exp3S(),
    MasteryGate(),
]


class World:
    """Arms whose scores rise, each at its own speed and only while it is trained."""

    def __init__(self, teacher, speeds, seed=0, noise=0.0):
        self.teacher, self.speeds, self.noise = teacher, np.array(speeds, float), noise
        self.stream = np.random.default_rng(seed)
        self.score, self.memory = np.zeros(len(speeds)), teacher.begin(len(speeds))
        self.pulls = []

    def pull(self, n):
        for _ in range(n):
            probability = self.teacher.probabilities(self.memory, len(self.speeds), self.stream)
            assert probability.sum() == pytest.approx(1)
            arm = self.stream.choice(len(self.speeds), p=probability)
            before = self.score.copy()
            self.score[arm] += self.speeds[arm] + self.noise * self.stream.normal()
            self.memory = self.teacher.taught(self.memory, Lesson(arm, before, self.score.copy(), probability))
            self.pulls.append(arm)
        return self


@pytest.mark.parametrize("teacher", ALL, ids=str)
def test_memory_is_a_flat_array_of_one_size(teacher):
    world = World(teacher, [0.1, 0.0, 0.2]).pull(30)
    assert world.memory.shape == teacher.begin(3).shape
    assert world.memory.dtype == np.float64


@pytest.mark.parametrize(
    "teacher",
    [OnlineTeacher(), OnlineTeacher(epsilon=0.0, temperature=1e-3), NaiveTeacher(), WindowTeacher(), SamplingTeacher()],
    ids=str,
)
def test_the_arm_that_rises_is_found(teacher):
    world = World(teacher, [0.0, 0.0, 0.05, 0.0, 0.0], noise=1e-4).pull(300)
    assert np.mean(np.array(world.pulls[200:]) == 2) >= 0.8


@pytest.mark.parametrize("teacher", [OnlineTeacher(epsilon=0.0), WindowTeacher(epsilon=0.0)], ids=str)
def test_an_arm_that_is_being_forgotten_is_found_too(teacher):
    world = World(teacher, [0.001, -0.05, 0.001]).pull(300)
    assert np.mean(np.array(world.pulls[200:]) == 1) >= 0.8


def test_speed_of_the_online_teacher_by_hand():
    teacher = OnlineTeacher(rate=1 / 4)
    memory = teacher.taught(np.array([0.0, 4.0]), Lesson(1, np.array([9.0, 1.0]), np.array([8.0, 3.0]), np.ones(2) / 2))
    assert memory.tolist() == [0, 4 + 1 / 4 * (2 - 4)]
    assert teacher.probabilities(memory, 2, np.random.default_rng(0)) == pytest.approx([0.05, 0.95])


def test_the_naive_teacher_keeps_an_arm_and_takes_the_slope():
    teacher, stream = NaiveTeacher(epsilon=0.0, rate=1.0, keep=3), np.random.default_rng(0)
    memory = teacher.begin(2)
    for before, after in ((1.0, 2.0), (2.0, 2.5), (2.5, 4.0)):
        memory = teacher.taught(memory, Lesson(1, np.array([0, before]), np.array([0, after]), np.ones(2) / 2))
        if after != 4.0:
            assert teacher.probabilities(memory, 2, stream).tolist() == [0, 1]
            assert np.isnan(memory[:2]).all()
    assert memory[1] == pytest.approx(np.polyfit(range(4), [1, 2, 2.5, 4], 1)[0])


def test_the_window_teacher_takes_the_slope_of_the_last_scores_over_all_intervals():
    teacher, memory = WindowTeacher(rate=1.0, window=3), WindowTeacher(window=3).begin(2)
    trained = [(1, 5.0), (0, 1.0), (1, 6.0), (0, 2.0), (1, 9.0), (1, 7.0)]
    for arm, score in trained:
        scores = np.full(2, score)
        memory = teacher.taught(memory, Lesson(arm, scores, scores, np.ones(2) / 2))
    assert memory[0] == pytest.approx((2 - 1) / (4 - 2))
    assert memory[1] == pytest.approx(np.polyfit([3, 5, 6], [6, 9, 7], 1)[0])


def test_the_sampling_teacher_draws_among_the_last_changes():
    teacher = SamplingTeacher(window=2)
    memory = teacher.begin(2)
    for arm, change in ((0, 9.0), (0, 1.0), (0, 3.0), (1, 2.0), (1, -2.0)):
        memory = teacher.taught(memory, Lesson(arm, np.zeros(2), np.full(2, change), np.ones(2) / 2))
    stream = np.random.default_rng(0)
    first = np.mean([teacher.probabilities(memory, 2, stream)[0] for _ in range(4000)])
    assert first == pytest.approx(1 / 2, abs=0.05)  # 1 or 3 against 2; the 9 is forgotten


def test_every_arm_is_tried_once_before_the_sampling_teacher_compares():
    assert sorted(World(SamplingTeacher(), [0.1] * 6).pull(6).pulls) == list(range(6))


def test_exp3s_keeps_every_arm_alive_and_follows_a_switch():
    teacher = Exp3S(rate=0.05, window=100)
    world = World(teacher, [0.0, 0.1, 0.0, 0.0], noise=0.01).pull(300)
    assert np.argmax(teacher.probabilities(world.memory, 4, world.stream)) == 1
    world.speeds = np.array([0.0, 0.0, 0.0, 0.1])
    world.pull(300)
    probability = teacher.probabilities(world.memory, 4, world.stream)
    assert np.argmax(probability) == 3
    assert (probability >= teacher.epsilon / 4 - 1e-12).all()


def test_a_step_of_exp3s_by_hand():
    teacher = Exp3S(rate=0.5, epsilon=0.1, window=2)
    memory = teacher.taught(teacher.begin(2), Lesson(0, np.zeros(2), np.array([1.0, 0]), np.array([0.25, 0.75])))
    assert memory[:2].tolist() == [0, 0]  # one reward has no scale yet
    memory = teacher.taught(memory, Lesson(0, np.zeros(2), np.array([5.0, 0]), np.array([0.25, 0.75])))
    share, grown = 1 / 3, math.exp(0.5 * 1 / 0.25)  # the larger of two rewards counts as 1
    weights = np.log([(1 - share) * grown + share * 1, (1 - share) * 1 + share * grown])
    assert memory[0] - memory[1] == pytest.approx(weights[0] - weights[1])


def test_the_gate_opens_by_mastery_or_by_patience():
    gate = MasteryGate(loss=1.0, patience=2, min_delta=0.1)
    memory = gate.begin(3)
    unlocked = []
    for losses in ([3, 9, 9], [2, 9, 9], [1, 9, 9], [0.5, 5, 9], [0.4, 4.95, 9], [0.3, 4.94, 9], [0.2, 0.1, 0.0]):
        memory = gate.taught(memory, Lesson(0, np.zeros(3), -np.array(losses, float), np.ones(3) / 3))
        unlocked.append(int(memory[0]))
    assert unlocked == [1, 1, 2, 2, 2, 3, 3]
    assert gate.probabilities(memory, 3, np.random.default_rng(0)).tolist() == [1 / 3] * 3


def test_slope_equals_a_fit():
    x, y = np.random.default_rng(0).normal(size=(2, 20))
    assert slope(x, y) == pytest.approx(np.polyfit(x, y, 1)[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OnlineTeacher(epsilon=1.5), "epsilon=1.5"),
        (lambda: OnlineTeacher(temperature=0.0), "temperature=0"),
        (lambda: OnlineTeacher(rate=0.0), "rate=0"),
        (lambda: NaiveTeacher(keep=0), "keep=0"),
        (lambda: WindowTeacher(window=1), "window=1"),
        (lambda: SamplingTeacher(window=1), "window=1"),
        (lambda: Exp3S(epsilon=0.0), "epsilon=0"),
        (lambda: Exp3S(rate=-1.0), "rate=-1"),
        (lambda: MasteryGate(loss=-1.0), "loss=-1"),
        (lambda: MasteryGate(patience=0), "patience=0"),
        (lambda: MasteryGate(min_delta=-1.0), "min_delta=-1"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
