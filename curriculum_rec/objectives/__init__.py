"""Objectives (device): from a model and a batch to one loss per example or target, never to a scalar."""

from curriculum_rec.objectives.binary import BinaryCrossEntropy, GeneralisedBCE
from curriculum_rec.objectives.classification import CrossEntropy, FocalLoss, Logistic
from curriculum_rec.objectives.contrastive import Contrastive, DuoRec
from curriculum_rec.objectives.losses import Losses, Objective
from curriculum_rec.objectives.masked import MaskedItem
from curriculum_rec.objectives.nested import Nested
from curriculum_rec.objectives.pairwise import BPR
from curriculum_rec.objectives.regression import MeanSquaredError
from curriculum_rec.objectives.sampled import SampledSoftmax
from curriculum_rec.objectives.softmax import Softmax

__all__ = [
    "BPR",
    "BinaryCrossEntropy",
    "Contrastive",
    "CrossEntropy",
    "DuoRec",
    "FocalLoss",
    "GeneralisedBCE",
    "Logistic",
    "Losses",
    "MaskedItem",
    "MeanSquaredError",
    "Nested",
    "Objective",
    "SampledSoftmax",
    "Softmax",
]
