"""The command prequential: test on each window of time, then train on it (host)."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import polars as pl
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from curriculum_rec import config
from curriculum_rec.commands.opening import begin, progress_mode
from curriculum_rec.commands.printing import print_table
from curriculum_rec.commands.training import default_directory, train_into
from curriculum_rec.commands.trusting import trusted_packages
from curriculum_rec.data.interactions import TIMESTAMP
from curriculum_rec.data.windows import Cut, Tested, timed, window_begins
from curriculum_rec.errors import CurriculumRecError, OptionError, RunError
from curriculum_rec.files import write_frame, write_text
from curriculum_rec.ranges import INSIDE_ONE, POSITIVE, at_least, check_value, one_of
from curriculum_rec.training.experiment import Experiment
from curriculum_rec.training.interrupt import Interrupted
from curriculum_rec.training.prequential import (
    MOSTPOP,
    Window,
    check_evaluation,
    check_starts_fresh,
    overall,
    window_nodes,
    window_results,
    window_table,
    windows_between,
)
from curriculum_rec.training.progress import Mode
from curriculum_rec.training.run_directory import OnExisting, RunDirectory, to_json


def prequential(composed: DictConfig) -> float:
    """Test an experiment on each window of time, then train it on that window; go on where it was left."""
    data = config.absolute_paths(config.to_data(composed))
    trusted = trusted_packages(data)
    if data["distributed"] is not None:
        raise OptionError("prequential works on one host: leave distributed out")
    for word in HydraConfig.get().overrides.task:
        if word.lstrip("+~").startswith(("split", "fold=")):
            raise OptionError(f"{word}: windows of time are the split; leave it out")
    cutting = {name: data[name] for name in OF_PREQUENTIAL}
    _check_cutting(cutting)
    on_existing, progress = config.on_existing(data["on_existing"]), progress_mode(data)
    begin(data)
    plain = {name: value for name, value in data.items() if name not in OF_PREQUENTIAL}
    experiment = config.build_experiment(plain, trusted=trusted)
    check_evaluation(experiment.for_items("prequential").evaluation)
    check_starts_fresh(experiment.stages)
    if experiment.features is not None:
        raise OptionError(
            "prequential goes on from window to window, in each of which features would be fitted anew and mean other "
            "values: leave features out"
        )
    folder = default_directory(data)
    windows = _plan(folder, data, experiment, on_existing)
    results, previous = [], None
    for window in windows:
        directory = RunDirectory(folder / window.name)
        nodes = window_nodes(
            plain,
            window,
            experiment.stages,
            previous=previous,
            **{name: cutting[name] for name in ("tested", "validation", "update_epochs")},
        )
        with _nothing_left(folder):
            _train_window(directory, plain | nodes, trusted=trusted, progress=progress)
        of_window = config.experiment_of_run(directory, trusted=trusted)[0]
        results.append(window_results(directory, of_window, of_window.read(), window))
        previous = directory.path.absolute()
    return _report(folder, pl.concat(results), windows, experiment)


OF_PREQUENTIAL = ("windows", "warm_up", "cut", "tested", "validation", "update_epochs")
"""Options that an experiment of ``curriculum-rec train`` does not have."""


def _check_cutting(options: dict[str, Any]) -> None:
    for name, allowed in (
        ("windows", at_least(1)),
        ("warm_up", INSIDE_ONE),
        ("cut", one_of(*get_args(Cut))),
        ("tested", one_of(*get_args(Tested))),
        ("validation", INSIDE_ONE),
        ("update_epochs", POSITIVE.or_null()),
    ):
        check_value(name, options[name], allowed)


def _plan(folder: Path, data: dict[str, Any], experiment: Experiment, on_existing: OnExisting) -> list[Window]:
    """Cut time, or read how it was cut: what was trained must not move when data are added at the end."""
    path, config_hash = folder / PLAN, config.config_hash(data)
    if path.is_file() and on_existing == "resume":
        plan = json.loads(path.read_text())
        if plan["config_hash"] != config_hash:
            raise RunError(f"{folder} holds windows of another configuration: choose another run_dir")
        return windows_between(plan["begins"])
    if path.is_file() and on_existing == "refuse":
        raise RunError(
            f"{folder} holds windows already: go on with them by on_existing=resume, choose another run_dir, or set "
            "on_existing=replace"
        )
    if not path.is_file() and folder.exists() and any(folder.iterdir()):
        raise RunError(f"{folder} holds other files: choose another run_dir")
    times = timed(experiment.data)[TIMESTAMP].drop_nulls().to_numpy()
    begins = window_begins(times, **{name: data[name] for name in ("windows", "warm_up", "cut")})
    if folder.exists():
        for old in (*folder.glob("window-*"), *(folder / name for name in RESULTS)):
            shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
    write_text(path, to_json({"config_hash": config_hash, "begins": begins}))
    return windows_between(begins)


@contextmanager
def _nothing_left(folder: Path) -> Iterator[None]:
    """Take the plan away where the first window is refused, as a run that is refused leaves nothing behind."""
    try:
        yield
    except CurriculumRecError:
        if {path.name for path in folder.iterdir()} == {PLAN}:
            shutil.rmtree(folder)
        raise


PLAN = "windows.json"
"""How time was cut, and for which configuration."""

RESULTS = ("prequential.csv", "interactions.parquet", "summary.json")
"""What is written beside the windows' run directories at the end."""


def _train_window(directory: RunDirectory, data: dict[str, Any], *, trusted: tuple[str, ...], progress: Mode) -> None:
    if directory.summary.is_file():
        if directory.read_summary()["config_hash"] != config.config_hash(data):
            raise RunError(f"{directory.path} holds a run with another configuration: choose another run_dir")
        return
    print(f"{directory.path.name}:", flush=True)
    try:
        train_into(directory, data, trusted=trusted, on_existing="resume", progress=progress)
    except Interrupted:
        print(
            f"\nthe windows go on by the same command with run_dir={directory.path.parent} on_existing=resume",
            file=sys.stderr,
        )
        raise


def _report(folder: Path, results: pl.DataFrame, windows: list[Window], experiment: Experiment) -> float:
    options = experiment.for_items("prequential").evaluation
    metrics, metric = options.metric_names, options.metric
    table = window_table(results, windows, metrics)
    found = overall(results, metrics, seed=experiment.seed)
    write_frame(folder / RESULTS[0], table)
    write_frame(folder / RESULTS[1], results)
    summary = {"metric": metric, "tested": len(results), "overall": found, "windows": table.to_dicts()}
    write_text(folder / RESULTS[2], to_json(summary))
    rows = [
        [
            str(row["window"]),
            str(row["begin"]),
            f"{row['tested']:,}",
            f"{row['new_items']:.1%}",
            f"{row[metric]:.4f}",
            f"{row[MOSTPOP + metric]:.4f}",
        ]
        for row in table.to_dicts()
    ]
    print_table(
        ["window", "begins at", "tested", "new items", metric, "MostPop"],
        rows,
        *(f"{name}: {_words(found[metric][name])}" for name in ("model", "mostpop", "difference")),
        f"windows: {folder}",
        title=f"{metric} on what each window brought, before it was trained on:",
    )
    return float(found[metric]["model"]["value"])


def _words(mean: dict[str, Any]) -> str:
    interval = mean["interval"]
    between = "" if interval is None else f" ({interval[0]:.4f} to {interval[1]:.4f} at 95 % over users)"
    return f"{mean['value']:.4f}{between}"
