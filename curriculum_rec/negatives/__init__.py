"""Negatives (device): which items a target is compared with."""

from curriculum_rec.negatives.adaptive import Adaptive, Mixed
from curriculum_rec.negatives.cached import CachedHard
from curriculum_rec.negatives.candidates import Hardest, Quantile, SoftmaxNegatives
from curriculum_rec.negatives.contract import (
    Asked,
    Avoid,
    Drawn,
    KnowsProbabilities,
    Negatives,
    PerPosition,
    Shared,
    SharedDraw,
)
from curriculum_rec.negatives.fixed import Popularity, Uniform
from curriculum_rec.negatives.in_batch import InBatch

__all__ = [
    "Adaptive",
    "Asked",
    "Avoid",
    "CachedHard",
    "Drawn",
    "Hardest",
    "InBatch",
    "KnowsProbabilities",
    "Mixed",
    "Negatives",
    "PerPosition",
    "Popularity",
    "Quantile",
    "Shared",
    "SharedDraw",
    "SoftmaxNegatives",
    "Uniform",
]
