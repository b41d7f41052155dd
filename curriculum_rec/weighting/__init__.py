"""Weighting (device): how much each loss of a batch counts, decided from the losses themselves."""

from curriculum_rec.weighting.contract import Seen, Weighting
from curriculum_rec.weighting.groups import DiverseThreshold, GroupRobust, InversePropensity
from curriculum_rec.weighting.learned import LearnToReweight, MetaWeightNet, Screener
from curriculum_rec.weighting.robust import Focal, Gaussian, GeneralisedCrossEntropy, SuperLoss, Truncated
from curriculum_rec.weighting.selection import Oracle, Reducible, Selective
from curriculum_rec.weighting.self_paced import (
    HardThreshold,
    LinearThreshold,
    LogarithmicThreshold,
    LogisticThreshold,
    Mentor,
    MixtureThreshold,
    PolynomialThreshold,
)
from curriculum_rec.weighting.temperature import DataParameters

__all__ = [
    "DataParameters",
    "DiverseThreshold",
    "Focal",
    "Gaussian",
    "GeneralisedCrossEntropy",
    "GroupRobust",
    "HardThreshold",
    "InversePropensity",
    "LearnToReweight",
    "LinearThreshold",
    "LogarithmicThreshold",
    "LogisticThreshold",
    "Mentor",
    "MetaWeightNet",
    "MixtureThreshold",
    "Oracle",
    "PolynomialThreshold",
    "Reducible",
    "Screener",
    "Seen",
    "Selective",
    "SuperLoss",
    "Truncated",
    "Weighting",
]
