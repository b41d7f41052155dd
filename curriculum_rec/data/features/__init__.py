"""Features (host): options, fitted to the training part alone, that turn columns into numbers and codes."""

from curriculum_rec.data.features.categorical import Categorical, MultiCategorical
from curriculum_rec.data.features.contract import Feature, Fitted
from curriculum_rec.data.features.dense import Dense
from curriculum_rec.data.features.groups import Encoded
from curriculum_rec.data.features.history import History
from curriculum_rec.data.features.numeric import Numeric
from curriculum_rec.data.features.owners import (
    EntityFeatures,
    Features,
    FeatureSet,
    FittedFeatures,
    InteractionFeatures,
)
from curriculum_rec.data.features.reduce import PCA, LinearDiscriminant, TopicModel, TruncatedSVD
from curriculum_rec.data.features.schema import Field, Schema, code_width, dense_width
from curriculum_rec.data.features.text import SentenceVectors, Text
from curriculum_rec.data.features.time import Time, TimeGap

__all__ = [
    "PCA",
    "Categorical",
    "Dense",
    "Encoded",
    "EntityFeatures",
    "Feature",
    "FeatureSet",
    "Features",
    "Field",
    "Fitted",
    "FittedFeatures",
    "History",
    "InteractionFeatures",
    "LinearDiscriminant",
    "MultiCategorical",
    "Numeric",
    "Schema",
    "SentenceVectors",
    "Text",
    "Time",
    "TimeGap",
    "TopicModel",
    "TruncatedSVD",
    "code_width",
    "dense_width",
]
