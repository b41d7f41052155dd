"""Optimizers (device): options around optax, all of whose states grow with the model."""

from curriculum_rec.training.optimizers.adam import AdamW
from curriculum_rec.training.optimizers.contract import OptimizerFactory
from curriculum_rec.training.optimizers.elementwise import SGD, Adagrad, Lion, RowwiseAdagrad
from curriculum_rec.training.optimizers.lamb import LAMB
from curriculum_rec.training.optimizers.muon import Muon
from curriculum_rec.training.optimizers.options import Optimizer, ScheduledOptimizer
from curriculum_rec.training.optimizers.penalty import Penalty
from curriculum_rec.training.optimizers.schedule_free import ScheduleFree
from curriculum_rec.training.optimizers.touched import TouchedRows

__all__ = [
    "LAMB",
    "SGD",
    "Adagrad",
    "AdamW",
    "Lion",
    "Muon",
    "Optimizer",
    "OptimizerFactory",
    "Penalty",
    "RowwiseAdagrad",
    "ScheduleFree",
    "ScheduledOptimizer",
    "TouchedRows",
]
