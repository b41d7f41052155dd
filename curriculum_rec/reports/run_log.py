"""What a run's log says (host): the rows of metrics.jsonl by event, as columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from curriculum_rec.errors import RunError
from curriculum_rec.evaluation.curves import Curve, Unit
from curriculum_rec.reports.description import describe
from curriculum_rec.training.run_directory import RunDirectory

Row = Mapping[str, Any]


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
    def last_step(self) -> float:
        """Steps trained so far, or what :meth:`against` puts in their place."""
        return float(self.events["train"][-1]["step"])

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

    def against(self, unit: Unit) -> RunLog:
        """Give the log with what had been spent until a row in place of its step.

        Args:
            unit: ``seconds`` of training without compilation, ``operations`` of the model, or ``step`` as it is.

        Raises:
            RunError: Operations are asked for, and the run's model or objective does not know its own.
        """
        if unit == "step":
            return self
        if unit == "operations":
            steps, spent = self.column("train", "step"), self.column("train", "operations")
            if np.isnan(spent).any():
                raise RunError(f"{self.name} does not know how many operations it took: look at it against step")
        else:
            steps = self.column("speed", "step")
            spent = np.cumsum(self.column("speed", "seconds") - self.column("speed", "compile_seconds"))
        steps, spent = np.concatenate([[0.0], steps]), np.concatenate([[0.0], spent])

        def moved(row: Row) -> Row:
            return {**row, "step": float(np.interp(row["step"], steps, spent))} if "step" in row else row

        return replace(self, events={name: tuple(map(moved, rows)) for name, rows in self.events.items()})

    def curve(self) -> Curve:
        """Say how the deciding metric went.

        Raises:
            RunError: There is no evaluation yet.
        """
        return Curve.from_rows([row for rows in self.events.values() for row in rows], self.metric)

    def describe(self) -> str:
        """Say in a line what the run's curriculum is."""
        return describe(self.config)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
