"""What each command does with its composed configuration (host)."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from curriculum_rec import config
from curriculum_rec.components import build, check_type
from curriculum_rec.compression import Compression
from curriculum_rec.curriculum.quantile import quantiles
from curriculum_rec.data.scores import score_table
from curriculum_rec.data.split import Part
from curriculum_rec.errors import OptionError, RunError
from curriculum_rec.evaluation.evaluator import Evaluation
from curriculum_rec.evaluation.metrics import mean_metrics
from curriculum_rec.evaluation.statistics import Unit
from curriculum_rec.files import check_frame_path, check_output, write_frame, write_text
from curriculum_rec.hydra_door import compose_choice, runs_apart
from curriculum_rec.inference.compressed_run import NewConfig, Source, compress
from curriculum_rec.inference.compression_report import report_table
from curriculum_rec.inference.recommend import recommend
from curriculum_rec.objectives.losses import examples_for
from curriculum_rec.reports import audit as auditing
from curriculum_rec.reports.audit_page import audit_page, scorer_table
from curriculum_rec.reports.figures import FIGURE_ENDINGS, check_installed, write_figure
from curriculum_rec.reports.inspection import draw_inspection, inspection_page
from curriculum_rec.reports.run_log import RunLog
from curriculum_rec.reports.target_files import read_flags, read_scorer
from curriculum_rec.training import hosts
from curriculum_rec.training.checkpoint import Snapshot
from curriculum_rec.training.compilation import use_cache
from curriculum_rec.training.experiment import Dataset, Experiment
from curriculum_rec.training.progress import RunProgress
from curriculum_rec.training.restore import load_snapshot, snapshot_parameters
from curriculum_rec.training.run_directory import RunDirectory, Which
from curriculum_rec.training.runner import Runner
from curriculum_rec.training.summary import reference_metrics, user_results
from curriculum_rec.training.workshop import OpenRun, TeacherWorkshop, stores

OF_A_RUN = (
    "run",
    "curriculum",
    "output",
    "data_path",
    "score_cache",
    "compilation_cache",
    "progress",
    "trusted_packages",
)
"""What ``curriculum-rec score run=DIR`` does not take from the run."""


def train(composed: DictConfig) -> float:
    """Train an experiment; nothing is written before its data and options are known to be good."""
    data = config.absolute_paths(config.to_data(composed))
    trusted = _trusted(data)
    on_existing, progress = config.on_existing(data["on_existing"]), _shows_progress(data)
    _begin(data)
    with hosts.together():
        directory = RunDirectory(_run_directory(data))
        goes_on = on_existing == "resume" and directory.config.exists()
    if goes_on:
        return _go_on(directory, data, progress=progress, same=True)
    with hosts.together():
        experiment = config.build_experiment(data, trusted=trusted)
        dataset = experiment.read()
        runner = _runner(experiment, dataset, directory, data, config.config_hash(data), progress=progress)
        runner.check()
        if hosts.is_first():
            directory.create("refuse" if on_existing == "resume" else on_existing)
            write_text(directory.config, config.config_text(data | {"run_dir": str(directory.path)}))
    if progress and HydraConfig.get().mode == RunMode.MULTIRUN:
        print(f"run {HydraConfig.get().job.num}: {HydraConfig.get().job.override_dirname}", file=sys.stderr)
    return _run(runner)


def resume(composed: DictConfig) -> float:
    """Go on with an interrupted run."""
    data = config.to_data(composed)
    _begin(data)
    with hosts.together():
        directory = RunDirectory.existing(data["run"])
    return _go_on(directory, data, progress=_shows_progress(data), same=False)


def evaluate(composed: DictConfig) -> None:
    """Rank the targets of a split again and print the metrics beside MostPop's."""
    data = config.to_data(composed)
    part = {"validation": Part.VALIDATION, "test": Part.TEST}[
        check_type(data["split"], Literal["validation", "test"], "split")
    ]
    if data["output"] is not None:
        check_frame_path(Path(data["output"]))
    _begin(data)
    experiment, dataset, snapshot = _load(data)
    options = _with_choices(experiment, data)
    options.check_catalogue(dataset.split.interactions.n_items)
    rows, examples = dataset.split.rows(part), experiment.examples
    placed = experiment.placement.place()
    evaluation = Evaluation(options, rows, examples.max_length, examples.bucket_lengths, placed)
    structure, params = snapshot_parameters(snapshot, experiment, n_items=dataset.split.interactions.n_items)
    ranks = evaluation.ranks(structure, placed.replicate(params))
    if data["output"] is not None:
        write_frame(Path(data["output"]), user_results(evaluation, ranks, dataset))
    title = f"{data['run']}: {part.name.lower()}, {len(rows):,} users, checkpoint {snapshot.step:,}:"
    _print_quality(title, mean_metrics(ranks, options.metrics), reference_metrics(dataset, evaluation, part))


def recommend_command(composed: DictConfig) -> None:
    """Write the top items of a run's users."""
    data = config.to_data(composed)
    output = Path(data["output"] or Path(data["run"]) / "recommendations.parquet")
    check_frame_path(output)
    _begin(data)
    experiment, dataset, snapshot = _load(data)
    interactions, examples = dataset.split.interactions, experiment.examples
    structure, params = snapshot_parameters(snapshot, experiment, n_items=interactions.n_items)
    frame = recommend(
        structure,
        params,
        interactions,
        k=data["k"],
        max_length=examples.max_length,
        lengths=examples.bucket_lengths,
        users=data["users"],
        filter_seen=data["filter_seen"],
    )
    write_frame(output, frame)
    print(f"{len(frame):,} recommendations for {frame['user'].n_unique():,} users: {output}")


def score(composed: DictConfig) -> None:
    """Score what a run or an experiment trains on by a difficulty."""
    data = config.absolute_paths(config.to_data(composed))
    output = Path(data["output"])
    check_frame_path(output)
    trusted = _trusted(data)
    if data["distributed"] is not None:
        raise OptionError("score works on one host: leave distributed out")
    _begin(data)
    experiment, config_hash = _experiment_to_score(data)
    curriculum = experiment.curriculum
    if curriculum.difficulty is None:
        raise OptionError("there is no difficulty to score by: choose one by curriculum=NAME")
    dataset = experiment.read()
    run = None if data["run"] is None else RunDirectory(Path(data["run"])).scores
    with RunProgress(0, _shows_progress(data)) as shown:
        workshop = TeacherWorkshop.of(
            experiment,
            dataset,
            experiment.placement.place(),
            config_hash=config_hash,
            store=stores(run, data["score_cache"]),
            open_run=_opener(trusted),
            shown=shown,
        )
        examples = examples_for(experiment.objective, dataset.examples)
        scores = curriculum.difficulty(examples, curriculum.unit, None, workshop)
    if output.suffix == ".jsonl" and np.isinf(scores).any():
        raise OptionError(f"output={output}: JSON has no infinity, and some scores are infinite; take .parquet or .csv")
    table = score_table(dataset.examples, curriculum.unit, scores, quantiles(scores, seed=experiment.seed))
    write_frame(output, table)
    print(f"{len(table):,} scores of {curriculum.unit}s by {type(curriculum.difficulty).__name__}: {output}")


def compress_command(composed: DictConfig) -> None:
    """Compress a run's model into a run directory of its own, and print what it cost."""
    data = config.to_data(composed)
    on_existing = check_type(data["on_existing"], Literal["refuse", "replace"], "on_existing")
    chosen = str(HydraConfig.get().runtime.choices["method"])
    method = check_type(build(data["method"], "method", trusted=_trusted(data)), Compression, "method")
    target = RunDirectory(Path(data["run_dir"] or f"{Path(data['run']).absolute()}-{chosen}"))
    _begin(data)
    experiment, dataset, snapshot = _load(data)
    source = Source(RunDirectory.existing(data["run"]), experiment, dataset, snapshot)
    made_from = {"run": str(source.directory.path.absolute()), "checkpoint": snapshot.step, "method": data["method"]}
    record = config.config_of_run(source.directory) | {"run_dir": str(target.path), "compressed": made_from}
    if data["data_path"] is not None:
        record = config.absolute_paths(record | {"data": record["data"] | {"path": data["data_path"]}})
    new_config = NewConfig(config.config_text(record), config.config_hash(record), chosen)
    report = compress(source, method, target, new_config, on_existing=on_existing)
    _print_table(*report_table(report), f"run directory: {target.path}")


def inspect(composed: DictConfig) -> None:
    """Draw what runs trained, and what came of it."""
    data = config.to_data(composed)
    runs = [str(run) for run in data["run"]] if isinstance(data["run"], list) else [str(data["run"])]
    if not runs:
        raise OptionError("run=[]: name at least one run")
    against = check_type(data["against"], Unit, "against")
    output = Path(data["output"] or Path(runs[0]) / "inspection.svg")
    check_output(output, (*FIGURE_ENDINGS, ".html"))
    logs = [_read_log(run) for run in runs]
    if output.suffix == ".html":
        write_text(output, inspection_page(logs, against=against))
    else:
        write_figure(output, draw_inspection(logs, against=against))
    print(f"what was trained in {', '.join(runs)}: {output}")


def audit_command(composed: DictConfig) -> None:
    """Compare difficulties and scores of an experiment's training targets, and write a page."""
    data = config.to_data(composed)
    trusted, output = _trusted(data), Path(data["output"])
    check_output(output, (".html",))
    check_installed()
    chosen = dict.fromkeys([*data["difficulties"], *REFERENCES])
    nodes = {name: compose_choice("curriculum/difficulty", name, "difficulties") for name in chosen}
    difficulties = {name: build(node, f"difficulties.{name}", trusted=trusted) for name, node in nodes.items()}
    logs = [_read_log(run) for run in data["runs"]]
    examples = config.build_experiment(data, trusted=trusted).read().examples
    scorers = [
        auditing.score(name, difficulty, examples, n_seeds=data["seeds"]) for name, difficulty in difficulties.items()
    ]
    scorers += [read_scorer(Path(path), examples) for path in data["scores"]]
    flags = examples.noise if data["flagged"] is None else read_flags(Path(data["flagged"]), examples)
    found = auditing.audit(scorers, flags)
    write_text(output, audit_page(f"Audit of scorers: {data['name']}", found, logs))
    _print_table(*scorer_table(found), f"page: {output}")


REFERENCES = ("popularity", "length")
"""Difficulties with which every audit compares the others."""

TASKS: dict[str, Callable[[DictConfig], Any]] = {
    "train": train,
    "resume": resume,
    "evaluate": evaluate,
    "recommend": recommend_command,
    "score": score,
    "compress": compress_command,
    "inspect": inspect,
    "audit": audit_command,
}


def _trusted(data: dict[str, Any]) -> tuple[str, ...]:
    """Give the packages that a person trusts."""
    if data["trusted_packages"] and "trusted_packages" not in str(HydraConfig.get().overrides.task):
        raise OptionError("trusted_packages is taken from the command line only: a file cannot widen what is trusted")
    return tuple(data["trusted_packages"])


def _read_log(run: str) -> RunLog:
    directory = RunDirectory.existing(run)
    return RunLog.read(directory, config.config_of_run(directory))


def _begin(data: dict[str, Any]) -> None:
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


def _shows_progress(data: dict[str, Any]) -> bool:
    """Show no progress of runs beside each other, whose lines would mix, unless the command line asks for it."""
    asked_for = any(word.startswith("progress=") for word in HydraConfig.get().overrides.task)
    return data["progress"] and (asked_for or not runs_apart())


def _run_directory(data: dict[str, Any]) -> Path:
    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN:
        if data["run_dir"] is not None:
            raise OptionError("run_dir names one folder, but a sweep has many runs: set hydra.sweep.dir instead")
        return Path(hydra.runtime.output_dir)
    if data["run_dir"] is not None:
        return Path(data["run_dir"])
    return Path("runs") / data["name"] / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def _go_on(directory: RunDirectory, given: dict[str, Any], *, progress: bool, same: bool) -> float:
    with hosts.together():
        experiment, data = config.experiment_of_run(directory, trusted=tuple(given["trusted_packages"]))
        if same and config.config_hash(data) != config.config_hash(given):
            raise RunError(f"{directory.path} holds a run with another configuration: choose another run_dir")
        finished = directory.summary.is_file()
        if not finished:
            dataset = experiment.read()
            runner = _runner(experiment, dataset, directory, given, config.config_hash(data), progress=progress)
            if hosts.is_first():
                directory.lock()
    if finished:
        print(f"{directory.path} is finished: there is nothing to resume")
        return _score(directory.read_summary())
    return _run(runner)


def _runner(
    experiment: Experiment,
    dataset: Dataset,
    directory: RunDirectory,
    given: dict[str, Any],
    config_hash: str,
    *,
    progress: bool,
) -> Runner:
    return Runner(
        experiment,
        dataset,
        directory,
        config_hash,
        progress,
        given.get("profile", False),
        given["score_cache"],
        _opener(tuple(given["trusted_packages"])),
    )


def _opener(trusted: tuple[str, ...]) -> OpenRun:
    return lambda directory: config.experiment_of_run(directory, trusted=trusted)[0]


def _run(runner: Runner) -> float:
    try:
        with hosts.company(str(runner.directory.path)):
            summary = runner.run()
    finally:
        runner.directory.unlock()
    if hosts.is_first():
        _print_summary(runner.directory, summary)
    return _score(summary)


def _score(summary: dict[str, Any]) -> float:
    return float(summary["validation"][summary["metric"]])


def _load(data: dict[str, Any]) -> tuple[Experiment, Dataset, Snapshot]:
    directory = RunDirectory.existing(data["run"])
    trusted = tuple(data["trusted_packages"])
    experiment, _ = config.experiment_of_run(directory, trusted=trusted, data_path=data["data_path"])
    snapshot = load_snapshot(directory, _which(data["checkpoint"]))
    dataset = experiment.read()
    if dataset.split.hash != snapshot.meta["split_hash"]:
        raise RunError(f"the data of {directory.path} changed since it was trained: its items may mean others now")
    return experiment, dataset, snapshot


def _experiment_to_score(data: dict[str, Any]) -> tuple[Experiment, str]:
    """Build the experiment, of a run with another curriculum if one is chosen; and give the configuration's hash."""
    trusted = tuple(data["trusted_packages"])
    if data["run"] is None:
        return config.build_experiment(data, trusted=trusted), config.config_hash(data)
    for word in HydraConfig.get().overrides.task:
        if re.match(r"\w+", word.lstrip("+~"))[0] not in OF_A_RUN:  # type: ignore[index]
            raise OptionError(f"{word}: with run={data['run']} its own configuration counts; leave it out")
    directory = RunDirectory.existing(data["run"])
    experiment, of_run = config.experiment_of_run(directory, trusted=trusted, data_path=data["data_path"])
    chosen = build(data["curriculum"], "curriculum", trusted=trusted)
    if chosen is not None and chosen.difficulty is not None:
        experiment = replace(experiment, curriculum=chosen)
    return experiment, config.config_hash(of_run)


def _which(checkpoint: str) -> Which:
    if checkpoint in ("best", "newest"):
        return checkpoint  # type: ignore[return-value]
    if not checkpoint.isdecimal():
        raise OptionError(f"checkpoint={checkpoint}: it must be best, newest or the number of a step")
    return int(checkpoint)


def _with_choices(experiment: Experiment, data: dict[str, Any]) -> Any:
    options = experiment.evaluation
    if data["filter_seen"] is not None:
        options = replace(options, filter_seen=data["filter_seen"])
    if data["k"] is not None and not data["k"]:
        raise OptionError("k=[]: it needs at least one cut-off")
    if data["k"] is not None:
        options = replace(options, k=tuple(data["k"]), metric=f"{options.metric.partition('@')[0]}@{data['k'][0]}")
    return options


def _print_summary(directory: RunDirectory, summary: dict[str, Any]) -> None:
    title = (
        f"{summary['steps']:,} steps in {summary['train_seconds']:.1f} s ({summary['compile_seconds']:.1f} s of them "
        f"compiling), {summary['positions_per_second']:,.0f} positions/s; test split at the best step, "
        f"{summary['best_step']:,}:"
    )
    cutoff = summary["metric"].partition("@")[2]
    quality = {name: value for name, value in summary["test"].items() if name.endswith(f"@{cutoff}")}
    _print_quality(title, quality, summary["reference"], f"run directory: {directory.path}")


def _print_quality(title: str, quality: dict[str, float], reference: dict[str, Any], *after: str) -> None:
    rows = [[name, f"{value:.4f}", f"{reference[name]:.4f}"] for name, value in quality.items()]
    _print_table(["metric", "model", "MostPop"], rows, *after, title=title)


def _print_table(header: list[str], rows: list[list[str]], *after: str, title: str | None = None) -> None:
    table = Table(header[0])
    for name in header[1:]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*row)
    with Console() as console:  # written at once, so that runs beside each other do not mix their lines
        if title is not None:
            console.out(title, highlight=False)
        console.print(table)
        for line in after:
            console.out(line, highlight=False)
