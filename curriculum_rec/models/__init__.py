"""Models in Flax NNX (device): a recommender maps a batch to user vectors, a classifier to logits.

Those that are fitted rather than trained score items by themselves (``ScoresItems``).
"""

from curriculum_rec.models.bert4rec import BERT4Rec
from curriculum_rec.models.bprmf import BPRMF
from curriculum_rec.models.classifiers import LogisticRegression, MLPClassifier, ResidualClassifier
from curriculum_rec.models.contract import Recommender
from curriculum_rec.models.dcn_v2 import DCNv2
from curriculum_rec.models.deepfm import DeepFM
from curriculum_rec.models.din import DIN
from curriculum_rec.models.dnn import DNN
from curriculum_rec.models.ease import EASE
from curriculum_rec.models.gru4rec import GRU4Rec
from curriculum_rec.models.hstu import HSTU
from curriculum_rec.models.itemknn import ItemKNN
from curriculum_rec.models.mostpop import MostPop
from curriculum_rec.models.neumf import NeuMF
from curriculum_rec.models.sasrec import SASRec
from curriculum_rec.models.transformer_classifier import TransformerClassifier
from curriculum_rec.models.two_tower import TwoTower
from curriculum_rec.models.wide_deep import WideDeep

__all__ = [
    "BPRMF",
    "DIN",
    "DNN",
    "EASE",
    "HSTU",
    "BERT4Rec",
    "DCNv2",
    "DeepFM",
    "GRU4Rec",
    "ItemKNN",
    "LogisticRegression",
    "MLPClassifier",
    "MostPop",
    "NeuMF",
    "Recommender",
    "ResidualClassifier",
    "SASRec",
    "TransformerClassifier",
    "TwoTower",
    "WideDeep",
]
