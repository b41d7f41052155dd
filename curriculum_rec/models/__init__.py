"""Models in Flax NNX (device): a recommender maps a batch to user vectors, a classifier to logits."""

from curriculum_rec.models.bert4rec import BERT4Rec
from curriculum_rec.models.classifiers import LogisticRegression, MLPClassifier, ResidualClassifier
from curriculum_rec.models.contract import Recommender
from curriculum_rec.models.dnn import DNN
from curriculum_rec.models.hstu import HSTU
from curriculum_rec.models.sasrec import SASRec
from curriculum_rec.models.transformer_classifier import TransformerClassifier

__all__ = [
    "DNN",
    "HSTU",
    "BERT4Rec",
    "LogisticRegression",
    "MLPClassifier",
    "Recommender",
    "ResidualClassifier",
    "SASRec",
    "TransformerClassifier",
]
