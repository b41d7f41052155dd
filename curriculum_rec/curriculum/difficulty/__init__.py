"""Difficulty (host): what is hard, a number for every example or every single target."""

from curriculum_rec.curriculum.difficulty.base import Difficulty, RunningLoss, Unit, mean_by_example
from curriculum_rec.curriculum.difficulty.combined import Combined, Ensemble
from curriculum_rec.curriculum.difficulty.from_data import (
    Arrival,
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
from curriculum_rec.curriculum.difficulty.from_file import ScoreFile
from curriculum_rec.curriculum.difficulty.from_teachers import (
    AreaUnderMargin,
    Correctness,
    DataMap,
    ErrorNorm,
    FirstLearnt,
    Forgetting,
    GradientNorm,
    PredictionDepth,
    TransferTeacher,
)
from curriculum_rec.curriculum.difficulty.held_out import CrossReview, CrossValidated, ReducibleLoss
from curriculum_rec.curriculum.difficulty.running import Loss
from curriculum_rec.curriculum.difficulty.workshop import Lesson, Workshop

__all__ = [
    "AreaUnderMargin",
    "Arrival",
    "Combined",
    "Correctness",
    "CrossReview",
    "CrossValidated",
    "DataMap",
    "Difficulty",
    "Ensemble",
    "ErrorNorm",
    "FirstLearnt",
    "Forgetting",
    "GradientNorm",
    "HistoryDistance",
    "HistoryEntropy",
    "Length",
    "Lesson",
    "Loss",
    "Popularity",
    "PredictionDepth",
    "ReducibleLoss",
    "RunningLoss",
    "ScoreFile",
    "SequenceRarity",
    "StaticDifficulty",
    "TimeGap",
    "TransferTeacher",
    "TransitionSurprisal",
    "Unit",
    "UserActivity",
    "Workshop",
    "mean_by_example",
]
