"""The commands that look at run directories: list, show and compare (host); they load no JAX."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from curriculum_rec import config
from curriculum_rec.commands.printing import print_table
from curriculum_rec.errors import OptionError, RunError
from curriculum_rec.files import write_text
from curriculum_rec.ranges import check_value, one_of
from curriculum_rec.reports.run_comparison import differing_options, paired_differences
from curriculum_rec.reports.run_overview import Overview, age, find_runs, overview, table
from curriculum_rec.reports.run_page import page
from curriculum_rec.training.run_directory import RunDirectory

COLUMNS = ("run", "state", "age", "stages", "depth", "steps", "metric", "validation", "test", "seed", "config")


def list_command(composed: DictConfig) -> None:
    """List the runs below some folders."""
    data = config.to_data(composed)
    column, output = data["sort"].removeprefix("-"), data["output"]
    check_value("sort", column, one_of(*COLUMNS))
    if output not in ("table", "csv", "json") and Path(output).suffix not in (".csv", ".json"):
        raise OptionError(f"output={output}: it must be table, csv, json, or a file that ends in .csv or .json")
    paths = dict.fromkeys(path for folder in data["folders"] for path in find_runs(Path(folder)))
    rows = table([_look(path) for path in paths], metric=data["metric"])
    if data["metric"] is not None and rows and all(row["validation"] is row["test"] is None for row in rows):
        raise OptionError(f"metric={data['metric']}: none of the runs has it")
    known = [row for row in rows if row[column] not in (None, "")]
    rest = [row for row in rows if row[column] in (None, "")]
    rows = sorted(known, key=lambda row: row[column], reverse=data["sort"].startswith("-")) + rest
    if output == "table":
        _print_runs(rows, data["folders"])
        return
    text = _as_text(rows, output.rpartition(".")[2])
    if output in ("csv", "json"):
        print(text, end="")
    else:
        write_text(Path(output), text)
        print(f"{len(rows)} runs: {output}")


def show(composed: DictConfig) -> None:
    """Say what a run is, what it cost, how good it is, and how to go on."""
    data = config.to_data(composed)
    directory = RunDirectory.existing(data["run"])
    for block in page(_look(directory.path, whole=True), directory, config.config_of_run(directory)):
        if isinstance(block, str):
            print(block)
        else:
            print_table(*block)


def compare(composed: DictConfig) -> None:
    """Say in what runs differ, in their options and in what came of them."""
    data = config.to_data(composed)
    runs = list(dict.fromkeys(data["runs"]))
    if len(runs) < 2:
        raise OptionError(f"runs=[{','.join(runs)}]: name two runs or more; the others are held against the first")
    directories = [RunDirectory.existing(run) for run in runs]
    configs = [config.config_of_run(directory) for directory in directories]
    looks = [_look(directory.path) for directory in directories]
    names = [_letter(number) for number in range(len(runs))]
    for name, look in zip(names, looks, strict=True):
        print(f"{name}  {look.path}  ({look.state})")
    options = differing_options(configs, without=config.NOT_PART_OF_THE_EXPERIMENT)
    if options:
        print_table(["option", *names], [[name, *values] for name, values in options.items()])
    else:
        print("They do not differ in any option.")
    _print_metrics(names, looks)
    metric = data["metric"] or str(configs[0]["evaluation"]["metric"])
    _print_differences(dict(zip((look.path for look in looks), names, strict=True)), metric)


def _look(path: Path, *, whole: bool = False) -> Overview:
    return overview(path, config.config_of_run, lambda data: config.config_hash(dict(data)), whole=whole)


def _print_runs(rows: list[dict[str, Any]], folders: list[str]) -> None:
    if not rows:
        print(f"no runs below {', '.join(folders)}")
        return
    metrics = {row["metric"] for row in rows if row["metric"]}
    names = [name for name in COLUMNS if name != "metric" or len(metrics) > 1]
    said = f" {metrics.pop()}" if len(metrics) == 1 else ""
    header = [name + said if name in ("validation", "test") else name for name in names]
    print_table(header, [[_cell(name, row[name]) for name in names] for row in rows])
    problems = [f"{row['run']}: {row['problem']}" for row in rows if row["problem"]]
    for problem in problems:
        print(problem)


def _cell(name: str, value: Any) -> str:
    if value is None or value == "":
        return "-"
    if name == "age":
        return age(value)
    if name in ("validation", "test"):
        return f"{value:.4f}"
    return f"{value:,}" if name == "steps" else str(value)


def _as_text(rows: list[dict[str, Any]], kind: str) -> str:
    """Write rows as CSV or JSON, with when a run was last written to in place of how long ago that was."""
    now = time.time()
    names = [*(name for name in COLUMNS if name != "age"), "problem"]
    rows = [{"changed": _at(now - row["age"])} | {name: row[name] for name in names} for row in rows]
    if kind == "json":
        return json.dumps(rows, indent=2) + "\n"
    text = io.StringIO()
    writer = csv.DictWriter(text, ["changed", *names], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _at(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds))


def _letter(number: int) -> str:
    return chr(ord("A") + number) if number < 26 else f"A{number - 25}"


def _print_metrics(names: list[str], looks: list[Overview]) -> None:
    metrics = dict.fromkeys(name for look in looks for name in look.test or look.validation or {})
    rows = []
    for metric in metrics:
        for split in ("validation", "test"):
            values = [(getattr(look, split) or {}).get(metric) for look in looks]
            if any(value is not None for value in values):
                rows.append([f"{split} {metric}", *("-" if value is None else f"{value:.4f}" for value in values)])
    rows.append(["steps", *(f"{look.steps:,}" for look in looks)])
    for title, key in (("train seconds", "train_seconds"), ("operations", "operations"), ("parameters", "parameters")):
        values = [None if look.summary is None else look.summary.get(key) for look in looks]
        rows.append([title, *("-" if value is None else f"{value:,.4g}" for value in values)])
    print_table(["result", *names], rows)


def _print_differences(names: dict[Path, str], metric: str) -> None:
    first, *others = names
    try:
        RunDirectory(first).read_summary()
    except RunError as error:
        print(f"users are not compared: {error}")
        return
    found, reasons = paired_differences(first, others, metric)
    if found:
        rows = [
            [
                f"{names[path]} - {names[first]}",
                f"{each.difference:+.4f}",
                f"[{each.low:+.4f}, {each.high:+.4f}]",
                f"{each.p:.4f}",
                f"{each.adjusted_p:.4f}",
                f"{each.n_users:,}",
            ]
            for path, each in found.items()
        ]
        print_table(
            [f"test {metric}", "difference", "95 % interval", "p", "p (Holm)", "users"],
            rows,
            "Over users, each run as it is: one seed a run says nothing about other seeds.",
        )
    for path, reason in reasons.items():
        print(f"{names[path]} is not compared by user: {reason}")
