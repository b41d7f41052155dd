"""Difficulty (host): what is hard, a number for every example or every single target."""

from curriculum_rec.curriculum.difficulty.base import Difficulty, RunningLoss, Unit, mean_by_example
from curriculum_rec.curriculum.difficulty.from_data import (
    HistoryDistance,
    HistoryEntropy,
    Length,
    Popularity,
    SequenceRarity,
    StaticDifficulty,
    TimeGap,
    TransitionSurprisal,
    UserActivity,
)
from curriculum_rec.curriculum.difficulty.running import Loss

__all__ = [
    "Difficulty",
    "HistoryDistance",
    "HistoryEntropy",
    "Length",
    "Loss",
    "Popularity",
    "RunningLoss",
    "SequenceRarity",
    "StaticDifficulty",
    "TimeGap",
    "TransitionSurprisal",
    "Unit",
    "UserActivity",
    "mean_by_example",
]
