"""What commands do before they compute: whom they trust, which hosts they join, which run they open (host)."""

from __future__ import annotations

from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from curriculum_rec import config
from curriculum_rec.errors import OptionError, RunError
from curriculum_rec.hydra_door import runs_apart
from curriculum_rec.models.contract import FitsModel
from curriculum_rec.reports.run_log import RunLog
from curriculum_rec.training import hosts
from curriculum_rec.training.checkpoint import Snapshot
from curriculum_rec.training.compilation import use_cache
from curriculum_rec.training.data_files import read_again
from curriculum_rec.training.experiment import Dataset, Experiment
from curriculum_rec.training.progress import Mode, check_mode
from curriculum_rec.training.restore import check_features, load_snapshot
from curriculum_rec.training.run_directory import RunDirectory, Which
from curriculum_rec.training.workshop import OpenRun


def begin(data: dict[str, Any]) -> None:
    """Join the other hosts, and say where compiled programs lie, before anything is computed."""
    if data.get("distributed") is not None and data.get("profile"):
        raise OptionError("profile=true is for runs on one host: leave distributed out")
    if data.get("distributed") is not None and "run" not in data:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise OptionError("distributed and a sweep do not go together: start its runs one by one")
        if data["run_dir"] is None:
            raise OptionError("distributed needs run_dir: all hosts must know the same folder, on a disk they share")
    hosts.join(data.get("distributed"))
    use_cache(data["compilation_cache"])


def progress_mode(data: dict[str, Any]) -> Mode:
    """Show no progress of runs beside each other, whose lines would mix, unless the command line asks for it."""
    asked_for = any(word.startswith("progress=") for word in HydraConfig.get().overrides.task)
    mode = check_mode(data["progress"])
    return mode if asked_for or not runs_apart() else "none"


def opener(trusted: tuple[str, ...]) -> OpenRun:
    """Say how an experiment of another run is built, for what takes weights from it or asks it."""

    def open_run(directory: RunDirectory) -> Experiment:
        experiment = config.experiment_of_run(directory, trusted=trusted)[0]
        refuse_fitted(experiment, f"what {directory.path} is asked for")
        return experiment

    return open_run


def load_run(data: dict[str, Any]) -> tuple[Experiment, Dataset, Snapshot]:
    """Open the run that a command names: its experiment, its data and the chosen checkpoint.

    Raises:
        RunError: There is none, or its data changed.
    """
    directory = RunDirectory.existing(data["run"])
    trusted = tuple(data["trusted_packages"])
    experiment, _ = config.experiment_of_run(directory, trusted=trusted, data_path=data["data_path"])
    snapshot = load_snapshot(directory, _which(data["checkpoint"]))
    dataset = read_again(experiment, directory)
    if dataset.split.hash != snapshot.meta["split_hash"]:
        raise RunError(f"the data of {directory.path} changed since it was trained: its items may mean others now")
    check_features(snapshot, dataset, directory)
    return experiment.for_data(dataset), dataset, snapshot


def refuse_fitted(experiment: Experiment, command: str) -> None:
    """Refuse a run whose model was fitted, for a command that looks at vectors or training.

    Raises:
        OptionError: It is such a run.
    """
    if isinstance(experiment.model, FitsModel):
        raise OptionError(
            f"{command} is for trained models, and {type(experiment.model).__name__} is fitted at once: it has no "
            "vectors, weights or steps to look at"
        )


def _which(checkpoint: str) -> Which:
    if checkpoint in ("best", "newest"):
        return checkpoint  # type: ignore[return-value]
    if not checkpoint.isdecimal():
        raise OptionError(f"checkpoint={checkpoint}: it must be best, newest or the number of a step")
    return int(checkpoint)


def read_log(run: str) -> RunLog:
    """Read the log of a run.

    Raises:
        RunError: There is none.
    """
    directory = RunDirectory.existing(run)
    return RunLog.read(directory, config.config_of_run(directory))
