"""Evaluation: from ranks over the whole catalogue to metrics, one row a user."""

from curriculum_rec.evaluation.evaluator import Evaluation, FullRanking
from curriculum_rec.evaluation.metrics import METRICS, mean_metrics, user_metrics
from curriculum_rec.evaluation.mostpop import most_popular_ranks

__all__ = ["METRICS", "Evaluation", "FullRanking", "mean_metrics", "most_popular_ranks", "user_metrics"]
