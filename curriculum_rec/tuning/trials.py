"""Trials as plain data (host): what was tried, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from curriculum_rec.tuning.space import Value

State = Literal["waiting", "running", "done", "pruned", "failed"]


@dataclass(frozen=True)
class TrialRow:
    """A trial.

    Attributes:
        number: From 0; the name of its folder.
        state: How it stands.
        value: Its validation metric once it is done; higher is better.
        point: What was chosen.
        curve: What was reported of it: the metric at every evaluation, or the mean after every fold.
        seconds: Of training, over all processes that worked on it; None before its end.
        reason: Why it failed.
    """

    number: int
    state: State
    value: float | None
    point: Mapping[str, Value]
    curve: tuple[float, ...] = ()
    seconds: float | None = None
    reason: str | None = None


def best_trial(rows: Sequence[TrialRow]) -> TrialRow | None:
    """Give the finished trial with the highest value, the first of equal ones; None where none is finished."""
    done = [row for row in rows if row.state == "done"]
    return max(done, key=lambda row: (row.value, -row.number)) if done else None


def best_so_far(rows: Sequence[TrialRow]) -> list[tuple[int, float]]:
    """Give the trials that were better than all before them, and their values.

    >>> best_so_far([TrialRow(0, "done", 0.1, {}), TrialRow(1, "pruned", None, {}), TrialRow(2, "done", 0.3, {})])
    [(0, 0.1), (2, 0.3)]
    """
    records: list[tuple[int, float]] = []
    for row in sorted(rows, key=lambda row: row.number):
        if row.state == "done" and row.value is not None and (not records or row.value > records[-1][1]):
            records.append((row.number, row.value))
    return records


def count_states(rows: Sequence[TrialRow]) -> str:
    """Say how many trials stand how.

    >>> count_states([TrialRow(0, "done", 0.1, {}), TrialRow(1, "done", 0.2, {}), TrialRow(2, "failed", None, {})])
    '2 done, 1 failed'
    """
    states = [row.state for row in rows]
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


def show(value: Value | None) -> str:
    """Write a value for people.

    >>> show(0.00123456), show("length"), show(None)
    ('0.001235', 'length', '-')
    """
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def trial_frame(rows: Sequence[TrialRow], options: Sequence[str], metric: str) -> pl.DataFrame:
    """Put trials into a table, one row each: number, state, the metric, evaluations, seconds, reason, the options."""
    columns: dict[str, list[Any]] = {
        "trial": [row.number for row in rows],
        "state": [row.state for row in rows],
        metric: [row.value for row in rows],
        "reported": [len(row.curve) for row in rows],
        "seconds": [row.seconds for row in rows],
        **{option: [row.point.get(option) for row in rows] for option in options},
        "reason": [row.reason for row in rows],
    }
    return pl.DataFrame(columns, infer_schema_length=None)
