"""A workshop whose teachers say what a test wants, and that remembers what it was asked."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class ToldWorkshop:
    """Teachers answer by ``answer(lesson, name, n_targets) -> [times, n_targets]``."""

    answer: object
    seed: int = 0
    number: int = 0
    lessons: list = field(default_factory=list)
    said: list = field(default_factory=list)

    def teach(self, examples, lesson, names):
        self.lessons.append((self.number, lesson))
        n = len(examples.targets)
        return {name: np.asarray(self.answer(self, lesson, name, n), np.float32) for name in names}

    def consult(self, examples, run, names, *, asked):
        self.lessons.append((run, asked))
        return {name: np.asarray(self.answer(self, run, name, len(examples.targets)), np.float32) for name in names}

    def other(self, number):
        return ToldWorkshop(self.answer, self.seed, number, self.lessons, self.said)

    def say(self, text):
        self.said.append(text)
