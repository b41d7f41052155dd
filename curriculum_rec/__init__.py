"""curriculum_rec: curriculum and progressive training of recommender systems in JAX.

The names below are imported when they are first used, so that ``curriculum-rec --help`` need not load JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from curriculum_rec.curriculum import Curriculum, Scheduler
    from curriculum_rec.data.examples import Examples, SequenceExamples
    from curriculum_rec.errors import CurriculumRecError
    from curriculum_rec.growth import DepthGrowth
    from curriculum_rec.models import DNN, HSTU, BERT4Rec, SASRec
    from curriculum_rec.models.batch import Batch, BatchRng
    from curriculum_rec.objectives import (
        BinaryCrossEntropy,
        Contrastive,
        Losses,
        MaskedItem,
        SampledSoftmax,
        Softmax,
    )
    from curriculum_rec.training.fit import FitResult, fit
    from curriculum_rec.training.optimizers import LAMB, SGD, Adagrad, AdamW, Lion, Muon, ScheduleFree
    from curriculum_rec.training.placement import Placement
    from curriculum_rec.training.state import TrainState, evaluation_parameters
    from curriculum_rec.training.step import make_step
    from curriculum_rec.training.workshop import TeacherWorkshop

_HOME = {
    "Adagrad": "training.optimizers",
    "AdamW": "training.optimizers",
    "BERT4Rec": "models",
    "Batch": "models.batch",
    "BatchRng": "models.batch",
    "BinaryCrossEntropy": "objectives",
    "Contrastive": "objectives",
    "Curriculum": "curriculum",
    "CurriculumRecError": "errors",
    "DNN": "models",
    "DepthGrowth": "growth",
    "Examples": "data.examples",
    "FitResult": "training.fit",
    "HSTU": "models",
    "LAMB": "training.optimizers",
    "Lion": "training.optimizers",
    "Losses": "objectives",
    "MaskedItem": "objectives",
    "Muon": "training.optimizers",
    "Placement": "training.placement",
    "SASRec": "models",
    "SGD": "training.optimizers",
    "SampledSoftmax": "objectives",
    "ScheduleFree": "training.optimizers",
    "Scheduler": "curriculum",
    "SequenceExamples": "data.examples",
    "Softmax": "objectives",
    "TeacherWorkshop": "training.workshop",
    "TrainState": "training.state",
    "evaluation_parameters": "training.state",
    "fit": "training.fit",
    "make_step": "training.step",
}

__all__ = [
    "DNN",
    "HSTU",
    "LAMB",
    "SGD",
    "Adagrad",
    "AdamW",
    "BERT4Rec",
    "Batch",
    "BatchRng",
    "BinaryCrossEntropy",
    "Contrastive",
    "Curriculum",
    "CurriculumRecError",
    "DepthGrowth",
    "Examples",
    "FitResult",
    "Lion",
    "Losses",
    "MaskedItem",
    "Muon",
    "Placement",
    "SASRec",
    "SampledSoftmax",
    "ScheduleFree",
    "Scheduler",
    "SequenceExamples",
    "Softmax",
    "TeacherWorkshop",
    "TrainState",
    "evaluation_parameters",
    "fit",
    "make_step",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
