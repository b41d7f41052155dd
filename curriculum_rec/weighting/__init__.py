"""Weighting (device): how much each loss of a batch counts, decided from the losses themselves."""

from curriculum_rec.weighting.contract import Seen, Weighting
from curriculum_rec.weighting.robust import Focal, GeneralisedCrossEntropy, SuperLoss, Truncated
from curriculum_rec.weighting.self_paced import (
    HardThreshold,
    LinearThreshold,
    LogarithmicThreshold,
    LogisticThreshold,
    MixtureThreshold,
    PolynomialThreshold,
)

__all__ = [
    "Focal",
    "GeneralisedCrossEntropy",
    "HardThreshold",
    "LinearThreshold",
    "LogarithmicThreshold",
    "LogisticThreshold",
    "MixtureThreshold",
    "PolynomialThreshold",
    "Seen",
    "SuperLoss",
    "Truncated",
    "Weighting",
]
