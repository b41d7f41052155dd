"""The commands that look at difficulties and at what runs trained: score, inspect and audit (host)."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from curriculum_rec import config
from curriculum_rec.commands.opening import begin, opener, progress_mode, read_log
from curriculum_rec.commands.printing import print_table
from curriculum_rec.commands.trusting import trusted_packages
from curriculum_rec.components import build, check_type
from curriculum_rec.curriculum.quantile import quantiles
from curriculum_rec.data.scores import score_table
from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.curves import Unit
from curriculum_rec.files import check_frame_path, check_output, write_frame, write_text
from curriculum_rec.hydra_door import compose_choice
from curriculum_rec.objectives.losses import examples_for
from curriculum_rec.reports import audit as auditing
from curriculum_rec.reports.audit_page import audit_page, scorer_table
from curriculum_rec.reports.figures import FIGURE_ENDINGS, check_installed, write_figure
from curriculum_rec.reports.inspection import draw_inspection, inspection_page
from curriculum_rec.reports.target_files import read_flags, read_scorer
from curriculum_rec.training.experiment import Experiment
from curriculum_rec.training.progress import RunProgress
from curriculum_rec.training.run_directory import RunDirectory
from curriculum_rec.training.workshop import TeacherWorkshop, stores

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


def score(composed: DictConfig) -> None:
    """Score what a run or an experiment trains on by a difficulty."""
    data = config.absolute_paths(config.to_data(composed))
    output = Path(data["output"])
    check_frame_path(output)
    trusted = trusted_packages(data)
    if data["distributed"] is not None:
        raise OptionError("score works on one host: leave distributed out")
    begin(data)
    experiment, config_hash = _experiment_to_score(data)
    curriculum = experiment.curriculum
    if curriculum.difficulty is None:
        raise OptionError("there is no difficulty to score by: choose one by curriculum=NAME")
    dataset = experiment.read()
    run = None if data["run"] is None else RunDirectory(Path(data["run"])).scores
    with RunProgress(0, progress_mode(data)) as shown:
        workshop = TeacherWorkshop.of(
            experiment,
            dataset,
            experiment.placement.place(),
            config_hash=config_hash,
            store=stores(run, data["score_cache"]),
            open_run=opener(trusted),
            shown=shown,
        )
        examples = examples_for(experiment.objective, dataset.examples)
        scores = curriculum.difficulty(examples, curriculum.unit, None, workshop)
    if output.suffix == ".jsonl" and np.isinf(scores).any():
        raise OptionError(f"output={output}: JSON has no infinity, and some scores are infinite; take .parquet or .csv")
    table = score_table(dataset.examples, curriculum.unit, scores, quantiles(scores, seed=experiment.seed))
    write_frame(output, table)
    print(f"{len(table):,} scores of {curriculum.unit}s by {type(curriculum.difficulty).__name__}: {output}")


def inspect(composed: DictConfig) -> None:
    """Draw what runs trained, and what came of it."""
    data = config.to_data(composed)
    runs = [str(run) for run in data["run"]] if isinstance(data["run"], list) else [str(data["run"])]
    if not runs:
        raise OptionError("run=[]: name at least one run")
    against = check_type(data["against"], Unit, "against")
    output = Path(data["output"] or Path(runs[0]) / "inspection.svg")
    check_output(output, (*FIGURE_ENDINGS, ".html"))
    logs = [read_log(run) for run in runs]
    if output.suffix == ".html":
        write_text(output, inspection_page(logs, against=against))
    else:
        write_figure(output, draw_inspection(logs, against=against))
    print(f"what was trained in {', '.join(runs)}: {output}")


def audit_command(composed: DictConfig) -> None:
    """Compare difficulties and scores of an experiment's training targets, and write a page."""
    data = config.to_data(composed)
    trusted, output = trusted_packages(data), Path(data["output"])
    check_output(output, (".html",))
    check_installed()
    chosen = dict.fromkeys([*data["difficulties"], *REFERENCES])
    nodes = {name: compose_choice("curriculum/difficulty", name, "difficulties") for name in chosen}
    difficulties = {name: build(node, f"difficulties.{name}", trusted=trusted) for name, node in nodes.items()}
    logs = [read_log(run) for run in data["runs"]]
    examples = config.build_experiment(data, trusted=trusted).read().examples
    scorers = [
        auditing.score(name, difficulty, examples, n_seeds=data["seeds"]) for name, difficulty in difficulties.items()
    ]
    scorers += [read_scorer(Path(path), examples) for path in data["scores"]]
    flags = examples.noise if data["flagged"] is None else read_flags(Path(data["flagged"]), examples)
    found = auditing.audit(scorers, flags)
    write_text(output, audit_page(f"Audit of scorers: {data['name']}", found, logs))
    print_table(*scorer_table(found), f"page: {output}")


REFERENCES = ("popularity", "length")
"""Difficulties with which every audit compares the others."""


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
