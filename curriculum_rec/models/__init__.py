"""Recommenders in Flax NNX (device). A model maps a batch to user vectors; its residual blocks lie stacked."""

from curriculum_rec.models.contract import Recommender
from curriculum_rec.models.dnn import DNN
from curriculum_rec.models.sasrec import SASRec

__all__ = ["DNN", "Recommender", "SASRec"]
