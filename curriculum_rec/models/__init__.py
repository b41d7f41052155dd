"""Models in Flax NNX (device): a recommender maps a batch to user vectors, a classifier to logits."""

from curriculum_rec.models.classifiers import LogisticRegression, MLPClassifier, ResidualClassifier
from curriculum_rec.models.contract import Recommender
from curriculum_rec.models.dnn import DNN
from curriculum_rec.models.sasrec import SASRec

__all__ = ["DNN", "LogisticRegression", "MLPClassifier", "Recommender", "ResidualClassifier", "SASRec"]
