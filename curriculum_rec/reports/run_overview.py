"""What a run directory holds, at a glance (host): read without JAX and without its configuration being built."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from curriculum_rec.errors import RunError
from curriculum_rec.training.run_directory import RunDirectory

State = Literal["finished", "running", "interrupted", "broken"]
ReadConfig = Callable[[RunDirectory], Mapping[str, Any]]
Row = Mapping[str, Any]

BOOKKEEPING = ("event", "step", "split", "operations")
"""What a row of an evaluation has besides metrics."""

WANTED = ("stage", "evaluation", "test")
"""Events whose rows are all read; of the others the last one says how far the run is."""


@dataclass(frozen=True)
class Overview:
    """A run directory.

    Attributes:
        path: The directory.
        state: ``running`` while a process holds its lock; ``broken`` where a file cannot be read (see ``problem``).
        changed: When it was last written to, seconds since 1970.
        stages: Names of the stages that have begun, with the model's depth where it has one.
        steps: Steps trained.
        metric: The validation metric that decides.
        validation: Metrics of the best checkpoint, or of the best evaluation so far.
        step: The step of that.
        test: Metrics of the best checkpoint; empty before the run's end.
        seed: The run's.
        config_hash: Identifies the configuration.
        problem: Why it is broken.
        summary: The whole result; None before the run's end.
    """

    path: Path
    state: State
    changed: float
    stages: tuple[tuple[str, int | None], ...] = ()
    steps: int = 0
    metric: str | None = None
    validation: Mapping[str, float] | None = None
    step: int | None = None
    test: Mapping[str, float] | None = None
    seed: int | None = None
    config_hash: str | None = None
    problem: str | None = None
    summary: Mapping[str, Any] | None = None


def find_runs(folder: Path) -> Iterator[Path]:
    """Find the run directories at or below a folder, in the order of their names.

    Raises:
        RunError: There is no such folder.
    """
    if not folder.is_dir():
        raise RunError(f"{folder} is no folder: name one that holds run directories")
    for place, folders, files in os.walk(folder):
        folders.sort()
        marks = {"metrics.jsonl", "summary.json", ".lock"} & {*files} or {"checkpoints"} & {*folders}
        if marks and ("config.yaml" in files or marks != {".lock"}):
            folders.clear()  # what lies inside a run is its own
            yield Path(place)


def overview(
    path: Path, read_config: ReadConfig, config_hash: Callable[[Mapping[str, Any]], str], *, whole: bool = False
) -> Overview:
    """Look at a run directory.

    Args:
        path: The directory.
        read_config: Reads the configuration of a run as plain data.
        config_hash: Identifies a configuration; both are asked where no result says what is wanted.
        whole: Whether the configuration is read even where the result says it all, to see that it can be.
    """
    directory = RunDirectory(path)
    changed = _changed(directory)
    try:
        running = directory.is_locked()
        if directory.summary.is_file() and not running:
            if whole or not directory.config.is_file():
                read_config(directory)
            return _of_summary(path, changed, directory.read_summary())
        config = read_config(directory)
        found = _of_log(directory)
    except (RunError, ValueError, KeyError, TypeError, OSError) as error:
        return Overview(path, "broken", changed, problem=str(error).split("\n")[0] or type(error).__name__)
    metric = str(config["evaluation"]["metric"])
    best = max((row for row in found["evaluation"] if metric in row), key=lambda row: row[metric], default=None)
    return Overview(
        path,
        "running" if running else "interrupted",
        changed,
        stages=tuple((row["stage"], row["depth"]) for row in found["stage"]),
        steps=max((int(row["step"]) for rows in found.values() for row in rows), default=0),
        metric=metric,
        validation=None if best is None else {name: value for name, value in best.items() if name not in BOOKKEEPING},
        step=None if best is None else int(best["step"]),
        seed=config["seed"],
        config_hash=config_hash(config),
    )


def age(seconds: float) -> str:
    """Write how long ago something was, in its greatest unit.

    >>> age(59), age(3 * 3600 + 5), age(200_000)
    ('59 s', '3 h', '2 d')
    """
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(int(seconds), 0)} s"


def table(runs: Sequence[Overview], *, metric: str | None, now: float | None = None) -> list[dict[str, Any]]:
    """Give one row a run.

    Args:
        runs: The runs.
        metric: The metric that is shown; None takes each run's own.
        now: Seconds since 1970; None asks the clock.
    """
    now = time.time() if now is None else now
    rows = []
    for run in runs:
        name = metric or run.metric or ""
        depths = [str(depth) for _, depth in run.stages if depth is not None]
        row = {
            "run": str(run.path),
            "state": run.state,
            "age": now - run.changed,
            "stages": ",".join(name for name, _ in run.stages),
            "depth": ",".join(depths),
            "steps": run.steps,
            "metric": name,
            "validation": (run.validation or {}).get(name),
            "test": (run.test or {}).get(name),
            "seed": run.seed,
            "config": run.config_hash,
            "problem": run.problem,
        }
        rows.append(row)
    return rows


def _of_summary(path: Path, changed: float, summary: dict[str, Any]) -> Overview:
    return Overview(
        path,
        "finished",
        changed,
        stages=tuple((stage["name"], stage["depth"]) for stage in summary["stages"]),
        steps=summary["steps"],
        metric=summary["metric"],
        validation=summary["validation"],
        step=summary["best_step"],
        test=summary["test"],
        seed=summary["seed"],
        config_hash=summary["config_hash"],
        summary=summary,
    )


def _of_log(directory: RunDirectory) -> dict[str, list[Row]]:
    """Read the rows of some events, and the last row of all; most of a log are rows of training, which are skipped."""
    found: dict[str, list[Row]] = {name: [] for name in (*WANTED, "last")}
    if not directory.metrics.is_file():
        return found
    last, marks = b"", tuple(f'{{"event": "{name}"'.encode() for name in WANTED)
    with directory.metrics.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break  # it is being written
            last = line
            if line.startswith(marks):
                row = json.loads(line)
                found[row["event"]].append(row)
    if last:
        found["last"].append(json.loads(last))
    return found


def _changed(directory: RunDirectory) -> float:
    files = (directory.summary, directory.metrics, directory.config, directory.path)
    return max(file.stat().st_mtime for file in files if file.exists())
