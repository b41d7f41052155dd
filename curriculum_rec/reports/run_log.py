"""What a run's log says (host): the rows of metrics.jsonl by event, as columns."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from curriculum_rec.errors import RunError
from curriculum_rec.training.run_directory import RunDirectory

Row = Mapping[str, Any]


@dataclass(frozen=True)
class QualityCurve:
    """What quality a run had at what cost, one entry an evaluation.

    Attributes:
        steps: Steps trained.
        operations: What the model computed until then, training alone; not a number where it does not know.
        seconds: Wall seconds of training until then, without compilation and evaluations.
        quality: The validation metric that decides.
    """

    steps: Float64[np.ndarray, " evaluations"]
    operations: Float64[np.ndarray, " evaluations"]
    seconds: Float64[np.ndarray, " evaluations"]
    quality: Float64[np.ndarray, " evaluations"]

    def best_within(self, *, operations: float = math.inf, seconds: float = math.inf) -> float:
        """Give the best quality that a budget allowed; not a number if no evaluation lies within it.

        Args:
            operations: Most operations.
            seconds: Most seconds.

        Raises:
            RunError: Operations are limited, and the run does not know its own.

        >>> curve = QualityCurve(*(np.array(row, float) for row in ([5, 9], [10, 20], [1, 3], [0.2, 0.3])))
        >>> curve.best_within(operations=10), curve.best_within(seconds=3)
        (0.2, 0.3)
        """
        inside = self.seconds <= seconds
        if operations != math.inf:
            if np.isnan(self.operations).any():
                raise RunError("this run does not know its operations: compare by seconds, or by steps")
            inside &= self.operations <= operations
        return float(self.quality[inside].max()) if inside.any() else math.nan


@dataclass(frozen=True)
class RunLog:
    """A run, finished or not.

    Attributes:
        name: What to call it.
        events: The rows of every event, in order.
        config: Its configuration, as plain data.
        summary: Its result; None before its end.
    """

    name: str
    events: Mapping[str, tuple[Row, ...]]
    config: Mapping[str, Any]
    summary: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, directory: RunDirectory, config: Mapping[str, Any]) -> RunLog:
        """Read the log of a run.

        Args:
            directory: The run.
            config: Its configuration.

        Raises:
            RunError: There is no log yet, or it is damaged.
        """
        if not directory.metrics.is_file():
            raise RunError(f"{directory.path} has no metrics.jsonl: it was not trained")
        events: dict[str, list[Row]] = {}
        lines = directory.metrics.read_bytes().splitlines(keepends=True)
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                break  # a run that goes on while we read is writing it
            try:
                row = json.loads(line)
                events.setdefault(row["event"], []).append(row)
            except (ValueError, TypeError, KeyError) as error:
                raise RunError(f"{directory.metrics} is damaged: its line {number} is no row of a log") from error
        if "train" not in events:
            raise RunError(f"{directory.path} has trained nothing yet")
        summary = directory.read_summary() if directory.summary.is_file() else None
        return cls(str(directory.path), {name: tuple(rows) for name, rows in events.items()}, config, summary)

    @property
    def metric(self) -> str:
        """The validation metric that decides."""
        return str(self.config["evaluation"]["metric"])

    @property
    def last_step(self) -> int:
        """Steps trained so far."""
        return int(self.events["train"][-1]["step"])

    def column(self, event: str, name: str) -> np.ndarray:
        """Give one number of all rows of an event, float64 ``[n_rows]``; not a number where a row has none."""
        return np.array([_number(row.get(name)) for row in self.events.get(event, ())], np.float64)

    def table(self, event: str, name: str) -> np.ndarray | None:
        """Give the lists of numbers that the rows of an event hold, ``[n_rows, n]``; None where there are none."""
        rows = self.events.get(event, ())
        if not rows or any(name not in row for row in rows):
            return None
        return np.array([[_number(value) for value in row[name]] for row in rows], np.float64)

    def columns(self, event: str, prefix: str) -> list[str]:
        """List the names with a prefix that any row of an event has, in order."""
        names = dict.fromkeys(name for row in self.events.get(event, ()) for name in row)
        return [name for name in names if name.startswith(prefix)]

    def quality_curve(self) -> QualityCurve:
        """Bring together what the evaluations said and what had been spent until then."""
        steps = self.column("evaluation", "step")
        trained = self.column("speed", "seconds") - self.column("speed", "compile_seconds")
        spent = np.concatenate([[0.0], np.cumsum(trained)])
        return QualityCurve(
            steps,
            self.column("evaluation", "operations"),
            spent[np.searchsorted(self.column("speed", "step"), steps, side="right")],
            self.column("evaluation", self.metric),
        )

    def describe(self) -> str:
        """Say in a line what the run's curriculum is."""
        curriculum = self.config["curriculum"]
        parts = [_kind(self.config["model"])]
        if curriculum["order"] == "standard":
            parts.append("no curriculum")
        else:
            parts += [_kind(curriculum["difficulty"]), f"{_kind(curriculum['pacing'])} pacing"]
            parts += [f"{_kind(curriculum['sampler'])} sampler", f"order {curriculum['order']}"]
            parts.append(f"unit {curriculum['unit']}")
        if self.config.get("weighting"):
            parts.append(f"{_kind(self.config['weighting'])} weighting")
        return ", ".join(parts)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _kind(node: Mapping[str, Any]) -> str:
    return str(node["_target_"]).rpartition(".")[2]
