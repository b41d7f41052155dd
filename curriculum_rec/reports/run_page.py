"""A run told on a screen (host): what it is, its stages, its quality, its files, and what can be done with it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from curriculum_rec.reports.description import describe, kind
from curriculum_rec.reports.run_overview import Overview, age
from curriculum_rec.training.run_directory import RunDirectory

Block = str | tuple[list[str], list[list[str]]]
"""A line, or the header and the rows of a table."""


def page(run: Overview, directory: RunDirectory, config: Mapping[str, Any]) -> Iterator[Block]:
    """Tell of a run, block by block.

    Args:
        run: What is known of it.
        directory: Its directory.
        config: Its configuration, as plain data.
    """
    yield f"{run.path}: {run.state}, last written {age(time.time() - run.changed)} ago"
    if run.problem is not None:
        yield f"problem: {run.problem}"
    yield f"data: {_data(run.summary, config)}"
    yield f"what: {describe(config)}; {kind(config['objective'])}, {kind(config['optimizer'])}"
    yield f"seed {config['seed']}, configuration {run.config_hash or 'unknown'}, {run.steps:,} steps trained"
    if run.summary is not None:
        yield _stages(run.summary)
        yield from _decided(run.summary)
        yield _cost(run.summary)
        yield _quality(run.summary)
    elif run.stages:
        yield "stages so far: " + ", ".join(
            name if depth is None else f"{name} (depth {depth})" for name, depth in run.stages
        )
    if run.metric is not None and run.validation is not None and run.metric in run.validation:
        yield f"best validation {run.metric}: {run.validation[run.metric]:.4f} at step {run.step:,}"
    if run.summary is not None:
        yield "versions: " + ", ".join(f"{name} {version}" for name, version in run.summary["versions"].items())
    yield "files: " + ", ".join(_files(directory.path))
    yield _next(run)


def _data(summary: Mapping[str, Any] | None, config: Mapping[str, Any]) -> str:
    source = kind(config["data"]) + (f" {config['data']['path']}" if config["data"].get("path") else "")
    if summary is None:
        return source
    counts = summary["data"]
    names = ("users", "items", "interactions", "rows", "classes", "features")
    return f"{source}: " + ", ".join(f"{counts[name]:,} {name}" for name in names if name in counts)


def _stages(summary: Mapping[str, Any]) -> Block:
    metric = summary["metric"]
    rows = [
        [
            stage["name"],
            "-" if stage["depth"] is None else str(stage["depth"]),
            f"{stage['parameters']:,}",
            f"{stage['steps']:,}",
            f"{stage['seconds']:.1f}",
            "-" if not stage["quality"] else f"{stage['quality'][metric]:.4f}",
        ]
        for stage in summary["stages"]
    ]
    return ["stage", "depth", "parameters", "steps", "seconds", f"last {metric}"], rows


def _decided(summary: Mapping[str, Any]) -> Iterator[str]:
    """Say which options of the model growth had decided in the end."""
    for option, value in (summary["stages"][-1].get("sizes") or {}).items():
        sizes = ", ".join(f"{name} {size}" for name, size in value.items()) if isinstance(value, Mapping) else value
        yield f"{option} of the last stage, as growth decided: {sizes}"


def _cost(summary: Mapping[str, Any]) -> str:
    operations = "unknown" if summary["operations"] is None else f"{summary['operations']:.3g}"
    placement = summary["placement"]
    return (
        f"cost: {summary['train_seconds']:.1f} s ({summary['compile_seconds']:.1f} s of them compiling), "
        f"{summary['positions_per_second']:,.0f} positions/s, {operations} operations; "
        f"devices: {placement['devices']} by {placement['kind']}"
    )


def _quality(summary: Mapping[str, Any]) -> Block:
    rows = [
        [name, f"{value:.4f}", f"{summary['reference'][name]:.4f}", f"{summary['validation'][name]:.4f}"]
        for name, value in summary["test"].items()
    ]
    return [
        "metric",
        "test",
        f"{reference_title(summary['reference'].get('model', 'mostpop'))}, test",
        "validation",
    ], rows


def reference_title(model: str) -> str:
    """Give the title of what learns nothing.

    >>> reference_title("mostpop"), reference_title("base rate")
    ('MostPop', 'base rate')
    """
    return {"mostpop": "MostPop"}.get(model, model)


def _files(path: Path) -> list[str]:
    names = []
    for entry in sorted(path.iterdir()):
        if entry.name.startswith("."):
            continue
        inside = [file for file in entry.rglob("*") if file.is_file()] if entry.is_dir() else [entry]
        size = sum(file.stat().st_size for file in inside)
        names.append(f"{entry.name}{'/' if entry.is_dir() else ''} ({_size(size)})")
    return names


def _size(n_bytes: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.0f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.1f} GiB"


def _next(run: Overview) -> str:
    if run.state == "running":
        return "it is being trained now"
    if run.state == "broken":
        return "it cannot be used as it is"
    if run.state == "interrupted":
        return f"go on with: curriculum-rec resume run={run.path}"
    return f"use it with: curriculum-rec evaluate run={run.path}, or: curriculum-rec recommend run={run.path}"
