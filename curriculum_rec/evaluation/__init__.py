"""Evaluation: from ranks over the whole catalogue to metrics, one row a user.

The names below are imported when they are first used, so that statistics alone need not load JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curriculum_rec.evaluation.evaluator import Evaluation, FullRanking
    from curriculum_rec.evaluation.metrics import METRICS, mean_metrics, user_metrics
    from curriculum_rec.evaluation.mostpop import most_popular_ranks

_HOME = {
    "METRICS": "metrics",
    "Evaluation": "evaluator",
    "FullRanking": "evaluator",
    "mean_metrics": "metrics",
    "most_popular_ranks": "mostpop",
    "user_metrics": "metrics",
}

__all__ = ["METRICS", "Evaluation", "FullRanking", "mean_metrics", "most_popular_ranks", "user_metrics"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
