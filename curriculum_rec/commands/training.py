"""The commands train and resume (host)."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from curriculum_rec import config
from curriculum_rec.commands.opening import begin, opener, progress_mode
from curriculum_rec.commands.printing import print_quality
from curriculum_rec.commands.trusting import trusted_packages
from curriculum_rec.errors import OptionError, RunError
from curriculum_rec.files import write_text
from curriculum_rec.models.contract import FitsModel
from curriculum_rec.tracking.mirror import Mirror
from curriculum_rec.training import hosts
from curriculum_rec.training.data_files import read_again
from curriculum_rec.training.experiment import Dataset, Experiment
from curriculum_rec.training.fitted_run import FittedRun
from curriculum_rec.training.progress import Mode
from curriculum_rec.training.run_directory import OnExisting, RunDirectory
from curriculum_rec.training.runner import Runner, Watch


def train(composed: DictConfig) -> float:
    """Train an experiment; nothing is written before its data and options are known to be good."""
    data = config.absolute_paths(config.to_data(composed))
    trusted = trusted_packages(data)
    on_existing, progress = config.on_existing(data["on_existing"]), progress_mode(data)
    begin(data)
    with hosts.together():
        directory = RunDirectory(default_directory(data))
    return train_into(directory, data, trusted=trusted, on_existing=on_existing, progress=progress)


def train_into(
    directory: RunDirectory, data: dict[str, Any], *, trusted: tuple[str, ...], on_existing: OnExisting, progress: Mode
) -> float:
    """Train a configuration into a run directory.

    Args:
        directory: Where the run is kept.
        data: The configuration as plain data, its paths absolute.
        trusted: Packages that a person trusts.
        on_existing: What happens if the directory holds a run.
        progress: How progress is shown.

    Returns:
        The validation metric of the best checkpoint.
    """
    with hosts.together():
        goes_on = on_existing == "resume" and directory.config.exists()
    if goes_on:
        return _go_on(directory, data, progress=progress, same=True)
    with hosts.together():
        experiment = config.build_experiment(data, trusted=trusted)
        dataset = experiment.read()
        mirror = config.build_mirror(data["tracking"], data, directory, trusted=trusted)
        runner = make_runner(
            experiment, dataset, directory, data, config.config_hash(data), mirror=mirror, progress=progress
        )
        runner.check()
        if hosts.is_first():
            directory.create("refuse" if on_existing == "resume" else on_existing)
            write_text(directory.config, config.config_text(data | {"run_dir": str(directory.path)}))
    if progress != "none" and HydraConfig.get().mode == RunMode.MULTIRUN:
        print(f"run {HydraConfig.get().job.num}: {HydraConfig.get().job.override_dirname}", file=sys.stderr)
    return _run(runner)


def resume(composed: DictConfig) -> float:
    """Go on with an interrupted run."""
    data = config.to_data(composed)
    begin(data)
    with hosts.together():
        directory = RunDirectory.existing(data["run"])
    return _go_on(directory, data, progress=progress_mode(data), same=False)


def default_directory(data: dict[str, Any]) -> Path:
    """Say where a run is kept: where it is said, in its place in a sweep, or under its name and the time.

    Raises:
        OptionError: A sweep's runs are all to be kept in one place.
    """
    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN:
        if data["run_dir"] is not None:
            raise OptionError("run_dir names one folder, but a sweep has many runs: set hydra.sweep.dir instead")
        return Path(hydra.runtime.output_dir)
    if data["run_dir"] is not None:
        return Path(data["run_dir"])
    return Path("runs") / data["name"] / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def _go_on(directory: RunDirectory, given: dict[str, Any], *, progress: Mode, same: bool) -> float:
    with hosts.together():
        experiment, data = config.experiment_of_run(directory, trusted=tuple(given["trusted_packages"]))
        if same and config.config_hash(data) != config.config_hash(given):
            raise RunError(f"{directory.path} holds a run with another configuration: choose another run_dir")
        finished = directory.summary.is_file()
        if not finished:
            trackers = (given if same else data).get("tracking")
            mirror = config.build_mirror(trackers, data, directory, trusted=tuple(given["trusted_packages"]))
            dataset = read_again(experiment, directory)
            runner = make_runner(
                experiment, dataset, directory, given, config.config_hash(data), mirror=mirror, progress=progress
            )
            if hosts.is_first():
                directory.lock()
    if finished:
        print(f"{directory.path} is finished: there is nothing to resume")
        return score_of(directory.read_summary())
    return _run(runner)


def make_runner(
    experiment: Experiment,
    dataset: Dataset,
    directory: RunDirectory,
    given: dict[str, Any],
    config_hash: str,
    *,
    progress: Mode,
    mirror: Mirror | None = None,
    watch: Watch | None = None,
) -> Runner | FittedRun:
    """Make the runner of an experiment as a command's own options want it."""
    if isinstance(experiment.model, FitsModel):
        if given.get("profile", False):
            raise OptionError("profile=true has no effect on a model that is fitted at once: there are no steps")
        return FittedRun(experiment, dataset, directory, config_hash, progress, mirror or Mirror())
    return Runner(
        experiment,
        dataset,
        directory,
        config_hash,
        progress,
        given.get("profile", False),
        given["score_cache"],
        opener(tuple(given["trusted_packages"])),
        mirror or Mirror(),
        watch,
    )


def _run(runner: Runner | FittedRun) -> float:
    try:
        with hosts.company(str(runner.directory.path)):
            summary = runner.run()
    finally:
        runner.directory.unlock()
    if hosts.is_first():
        _print_summary(runner.directory, summary)
    return score_of(summary)


def score_of(summary: dict[str, Any]) -> float:
    """Give the deciding validation metric of a finished run."""
    return float(summary["validation"][summary["metric"]])


def _print_summary(directory: RunDirectory, summary: dict[str, Any]) -> None:
    if not summary["steps"]:
        title = f"fitted and evaluated in {summary['train_seconds']:.1f} s; test split:"
    else:
        title = _training_title(summary)
    cutoff = summary["metric"].partition("@")[2]
    quality = {name: value for name, value in summary["test"].items() if name.partition("@")[2] == cutoff}
    print_quality(title, quality, summary["reference"], f"run directory: {directory.path}")


def _training_title(summary: dict[str, Any]) -> str:
    return (
        f"{summary['steps']:,} steps in {summary['train_seconds']:.1f} s ({summary['compile_seconds']:.1f} s of them "
        f"compiling), {summary['positions_per_second']:,.0f} positions/s; test split at the best step, "
        f"{summary['best_step']:,}:"
    )
