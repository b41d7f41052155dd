"""Splits (host): rules that give every interaction its part, and what each of them promises."""

from curriculum_rec.data.splits.at_random import RandomRows
from curriculum_rec.data.splits.by_time import GlobalTime
from curriculum_rec.data.splits.by_user import LastN, LeaveOneOut, RatioPerUser
from curriculum_rec.data.splits.cold import ColdItems, ColdUsers
from curriculum_rec.data.splits.folds import Folds, InteractionFolds, UserFolds
from curriculum_rec.data.splits.parts import EvaluationRows, Part, Promise, Split, Splitter
from curriculum_rec.data.splits.promises import breaches, check_promises

__all__ = [
    "ColdItems",
    "ColdUsers",
    "EvaluationRows",
    "Folds",
    "GlobalTime",
    "InteractionFolds",
    "LastN",
    "LeaveOneOut",
    "Part",
    "Promise",
    "RandomRows",
    "RatioPerUser",
    "Split",
    "Splitter",
    "UserFolds",
    "breaches",
    "check_promises",
]
