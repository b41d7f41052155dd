"""The command evaluate: measure a run again, or several beside each other and as one (host)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from omegaconf import DictConfig

from curriculum_rec import config
from curriculum_rec.commands.opening import begin, load_run
from curriculum_rec.commands.printing import print_quality, print_table
from curriculum_rec.components import check_type
from curriculum_rec.data.splits import Part
from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.classes import Predictions
from curriculum_rec.evaluation.contract import EvaluationOptions, Evaluator, Reference
from curriculum_rec.evaluation.evaluator import FullRanking, Ranking
from curriculum_rec.evaluation.lines import ALL, Line, lines_of
from curriculum_rec.evaluation.numbers import NumberPredictions
from curriculum_rec.evaluation.questions import Targets
from curriculum_rec.evaluation.slices import By
from curriculum_rec.files import FRAME_WRITERS, check_frame_path, check_output, write_frame, write_text
from curriculum_rec.inference.ensemble import Ensemble, Rule
from curriculum_rec.inference.trained import TrainedRun, check_same_data
from curriculum_rec.models.contract import FitsModel
from curriculum_rec.reports.run_page import reference_title
from curriculum_rec.training.experiment import Experiment
from curriculum_rec.training.run_directory import to_json

OF_RANKING = ("k", "filter_seen", "metrics", "targets", "item_chunk", "groups")
"""Options that another choice than the run's own may be made of."""

REPORTS = (".json", *FRAME_WRITERS)


@dataclass(frozen=True)
class Answered:
    """Who said what.

    Attributes:
        name: The run, or the ensemble.
        evaluator: What was asked.
        answers: The answers.
    """

    name: str
    evaluator: Evaluator
    answers: np.ndarray


def evaluate(composed: DictConfig) -> None:
    """Rank the targets of a split again and print the metrics beside MostPop's."""
    data = config.to_data(composed)
    part = {"validation": Part.VALIDATION, "test": Part.TEST}[
        check_type(data["part"], Literal["validation", "test"], "split")
    ]
    names, rule = _named_runs(data), _rule(data)
    slices = [check_type(each, By, "slices") for each in data["slices"]]
    if data["output"] is not None:
        check_frame_path(Path(data["output"]))
    if data["report"] is not None:
        check_output(Path(data["report"]), REPORTS, option="report")
    begin(data)
    runs = [TrainedRun(name, *load_run(data | {"run": name})) for name in names]
    for run in runs:
        _check_unseen(run.experiment, part)
    check_same_data(runs)
    options = _with_choices(runs[0].experiment, data)
    options.check(runs[0].dataset.split)
    evaluators = [run.evaluator(options, part) for run in runs]
    found = [
        Answered(run.name, evaluator, run.answers(evaluator)) for run, evaluator in zip(runs, evaluators, strict=True)
    ]
    if rule is not None:
        found.append(Answered(f"ensemble {rule}", evaluators[0], _together(runs, found, rule)))
    if data["output"] is not None:
        write_frame(Path(data["output"]), _table(found))
    lines = [
        line
        for each in found
        for line in lines_of(each.name, each.evaluator, each.answers, slices=slices, intervals=data["intervals"])
    ]
    reference = evaluators[0].reference()
    if data["report"] is not None:
        _write_report(Path(data["report"]), lines, reference, runs=runs, part=part, rule=rule)
    _print(lines, reference, runs=runs, part=part, n=len(evaluators[0]), metric=options.metric)


def _named_runs(data: dict[str, Any]) -> list[str]:
    if data["run"] is None and data["runs"] is None:
        raise OptionError("run is not set: give it as run=VALUE, or several as runs=[DIR,DIR]")
    if data["run"] is not None and data["runs"] is not None:
        raise OptionError("run and runs name what is evaluated both: leave one out")
    if data["runs"] is not None and not data["runs"]:
        raise OptionError("runs=[]: it needs at least one run")
    names = [data["run"]] if data["runs"] is None else list(data["runs"])
    if len(set(names)) < len(names):
        raise OptionError(f"runs={names}: a run is named twice")
    return names


def _rule(data: dict[str, Any]) -> Rule | None:
    if data["ensemble"] is None:
        return None
    rule: Rule = check_type(data["ensemble"], Rule, "ensemble")
    if len(data["runs"] or ()) < 2:
        raise OptionError(f"ensemble={rule} needs at least two runs: runs=[DIR,DIR]")
    return rule


def _check_unseen(experiment: Experiment, part: Part) -> None:
    if part == Part.VALIDATION and isinstance(experiment.model, FitsModel) and experiment.model.fit_on == "known":
        raise OptionError(
            "split=validation: this run's model was fitted to the validation items, too (model.fit_on=known); its "
            "validation figures in summary.json come from a fit without them"
        )


def _with_choices(experiment: Experiment, data: dict[str, Any]) -> EvaluationOptions:
    options = experiment.evaluation
    chosen = {name: data[name] for name in OF_RANKING if data[name] is not None}
    if not isinstance(options, FullRanking):
        if set(chosen) <= {"metrics"} and hasattr(options, "metrics"):
            return replace(options, **{name: tuple(value) for name, value in chosen.items()})  # type: ignore[type-var]
        name = next(iter(set(chosen) - {"metrics"}), "metrics")
        if chosen:
            raise OptionError(f"{name} has no effect: this run is not evaluated by ranking items; leave it out")
        return options
    if "k" in chosen and not chosen["k"]:
        raise OptionError("k=[]: it needs at least one cut-off")
    for name in {"k", "metrics"} & set(chosen):
        chosen[name] = tuple(chosen[name])
    if "targets" in chosen:
        check_type(chosen["targets"], Targets, "targets")
    return options.asking(**chosen)


def _together(runs: Sequence[TrainedRun], found: Sequence[Answered], rule: Rule) -> np.ndarray:
    evaluator = found[0].evaluator
    if isinstance(evaluator, Ranking):
        return Ensemble.of(runs, rule).answers(evaluator)
    if rule != "mean" or not isinstance(evaluator, Predictions | NumberPredictions):
        raise OptionError(f"ensemble={rule} is about lists of items; of what is predicted for rows take ensemble=mean")
    return evaluator.average([each.answers for each in found])


def _table(found: Sequence[Answered]) -> pl.DataFrame:
    """Give the answers row by row, of several runs one run after the other."""
    frames = [each.evaluator.table(each.answers) for each in found]
    if len(found) == 1:
        return frames[0]
    named = [
        frame.select(pl.lit(each.name).alias("run"), *frame.columns) for each, frame in zip(found, frames, strict=True)
    ]
    return pl.concat(named)


def _write_report(
    path: Path,
    lines: Sequence[Line],
    reference: Reference,
    *,
    runs: Sequence[TrainedRun],
    part: Part,
    rule: Rule | None,
) -> None:
    if path.suffix != ".json":
        write_frame(path, pl.DataFrame([asdict(line) for line in lines], infer_schema_length=None))
        return
    record = {
        "split": part.name.lower(),
        "split_hash": runs[0].dataset.split.hash,
        "runs": [{"run": run.name, "checkpoint": run.snapshot.step} for run in runs],
        "ensemble": rule,
        "reference": {"model": reference.name, **reference.quality},
        "results": [asdict(line) for line in lines],
    }
    write_text(path, to_json(record))


def _print(
    lines: Sequence[Line], reference: Reference, *, runs: Sequence[TrainedRun], part: Part, n: int, metric: str
) -> None:
    asked = "targets" if runs[0].dataset.n_items else "rows"
    whole = [line for line in lines if line.slice == ALL]
    about = f"{part.name.lower()}, {n:,} {asked}"
    if len(runs) == 1:
        title = f"{runs[0].name}: {about}, checkpoint {runs[0].snapshot.step:,}:"
        if all(line.low is None for line in whole):
            print_quality(
                title, {line.metric: line.value for line in whole}, {"model": reference.name, **reference.quality}
            )
        else:
            rows = [[line.metric, f"{line.value:.4f}", _between(line), _of(reference, line.metric)] for line in whole]
            print_table(["metric", "model", "95 % interval", reference_title(reference.name)], rows, title=title)
    else:
        names = list(dict.fromkeys(line.run for line in whole))
        cells = {(line.run, line.metric): f"{line.value:.4f} {_between(line)}".rstrip() for line in whole}
        metrics = list(dict.fromkeys(line.metric for line in whole))
        rows = [[name, *(cells[run, name] for run in names), _of(reference, name)] for name in metrics]
        print_table(["metric", *names, reference_title(reference.name)], rows, title=f"{about}:")
    _print_slices([line for line in lines if line.slice != ALL and line.metric == metric], metric)


def _print_slices(lines: Sequence[Line], metric: str) -> None:
    if not lines:
        return
    names = list(dict.fromkeys(line.run for line in lines))
    cells = {(line.slice, line.run): f"{line.value:.4f} {_between(line)}".rstrip() for line in lines}
    sizes = {line.slice: line.n for line in lines}
    rows = [[name, f"{n:,}", *(cells[name, run] for run in names)] for name, n in sizes.items()]
    header = ["model"] if len(names) == 1 else names
    print_table(["slice", "targets", *header], rows, title=f"{metric} by slice (report=FILE has all metrics):")


def _between(line: Line) -> str:
    return "" if line.low is None or line.high is None else f"({line.low:.4f} to {line.high:.4f})"


def _of(reference: Reference, metric: str) -> str:
    return f"{reference.quality[metric]:.4f}"
