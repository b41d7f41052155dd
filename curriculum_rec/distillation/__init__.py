"""Distillation (device, with options for the host): a student follows a teacher besides its own targets."""

from curriculum_rec.distillation.attention_maps import AttentionMaps
from curriculum_rec.distillation.distilled import Distilled
from curriculum_rec.distillation.features import Experts, HiddenState
from curriculum_rec.distillation.groups import UnbiasedRanking
from curriculum_rec.distillation.logits import CandidateDivergence, CatalogueDivergence, SoftBinary
from curriculum_rec.distillation.options import Distillation
from curriculum_rec.distillation.ranking import (
    CollaborativeDistillation,
    PairwiseMargin,
    RankingDistillation,
    RelaxedRanking,
)
from curriculum_rec.distillation.schedule import Schedule
from curriculum_rec.distillation.teachers import AverageTeacher, Ensemble, RunTeacher, StageTeacher, Trajectory
from curriculum_rec.distillation.topology import FullTopology, HierarchicalTopology, ItemSideRanking
from curriculum_rec.distillation.trajectory import EasyToHard

__all__ = [
    "AttentionMaps",
    "AverageTeacher",
    "CandidateDivergence",
    "CatalogueDivergence",
    "CollaborativeDistillation",
    "Distillation",
    "Distilled",
    "EasyToHard",
    "Ensemble",
    "Experts",
    "FullTopology",
    "HiddenState",
    "HierarchicalTopology",
    "ItemSideRanking",
    "PairwiseMargin",
    "RankingDistillation",
    "RelaxedRanking",
    "RunTeacher",
    "Schedule",
    "SoftBinary",
    "StageTeacher",
    "Trajectory",
    "UnbiasedRanking",
]
