"""Tracking: metrics.jsonl is the truth, and trackers mirror its rows (host)."""

from curriculum_rec.tracking.contract import OpenTracker, Status, TrackedRun, Tracker
from curriculum_rec.tracking.mirror import Mirror
from curriculum_rec.tracking.mlflow import MLflow
from curriculum_rec.tracking.tensorboard import TensorBoard
from curriculum_rec.tracking.trackio import Trackio
from curriculum_rec.tracking.wandb import WandB

__all__ = ["MLflow", "Mirror", "OpenTracker", "Status", "TensorBoard", "TrackedRun", "Tracker", "Trackio", "WandB"]
