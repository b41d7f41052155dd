"""The command track: a run's log goes to trackers afterwards (host)."""

from __future__ import annotations

from dataclasses import replace

from omegaconf import DictConfig

from curriculum_rec import config
from curriculum_rec.commands.trusting import trusted_packages
from curriculum_rec.errors import OptionError, RunError
from curriculum_rec.tracking.rows import read_rows
from curriculum_rec.training.run_directory import RunDirectory


def track(composed: DictConfig) -> None:
    """Send what a run has logged, as if its trackers had been there from the start."""
    data = config.to_data(composed)
    trusted = trusted_packages(data)
    directory = RunDirectory.existing(data["run"])
    mirror = config.build_mirror(data["tracking"], config.config_of_run(directory), directory, trusted=trusted)
    if not mirror.trackers:
        raise OptionError("tracking=none sends nothing: choose tensorboard, mlflow, wandb or trackio, or several")
    if not directory.metrics.is_file():
        raise RunError(f"{directory.path} has no metrics.jsonl: it was not trained")
    directory.lock()  # a run that goes on sends its rows itself
    try:
        mirror = replace(mirror, strict=True)
        mirror.begin(read_rows(directory.metrics))
        mirror.end("finished" if directory.summary.is_file() else "interrupted")
    finally:
        directory.unlock()
    print(f"{directory.path}: its rows are in {', '.join(mirror.trackers)}")
