"""An evaluation line by line (host): a number for every run, slice and metric, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.contract import Evaluator
from curriculum_rec.evaluation.evaluator import Ranking
from curriculum_rec.evaluation.slices import By, slices_of

ALL = "all"
"""The slice that everything lies in."""


@runtime_checkable
class HasIntervals(Protocol):
    """An evaluator that knows how sure its metrics are."""

    def intervals(self, answers: np.ndarray) -> dict[str, tuple[float, float] | None]:
        """Give the 95 % interval of each metric that has one."""
        ...


@dataclass(frozen=True)
class Line:
    """One number of an evaluation.

    Attributes:
        run: Who answered.
        slice: Which questions count.
        metric: What was measured.
        value: The number.
        low: Lower end of its 95 % interval; None where there is none.
        high: Upper end.
        n: Relevant items, or rows with labels, that count.
    """

    run: str
    slice: str
    metric: str
    value: float
    low: float | None
    high: float | None
    n: int


def lines_of(
    run: str, evaluator: Evaluator, answers: np.ndarray, *, slices: Sequence[By] = (), intervals: bool = False
) -> list[Line]:
    """Measure answers, whole and slice by slice.

    Args:
        run: Who answered.
        evaluator: What was asked.
        answers: The answers.
        slices: What questions are cut by.
        intervals: Whether each number gets its interval.

    Raises:
        OptionError: There are slices and no users and items to cut by.
    """
    known = evaluator.intervals(answers) if intervals and isinstance(evaluator, HasIntervals) else {}
    lines = _lines(run, ALL, evaluator.quality(answers), known, len(evaluator))
    if not slices:
        return lines
    if not isinstance(evaluator, Ranking):
        raise OptionError("slices has no effect: this run is not evaluated by ranking items; leave it out")
    judge = evaluator.judge
    for name, rows in slices_of(evaluator.split, judge.questions, slices).items():
        known = judge.intervals(answers, rows=rows) if intervals else {}
        lines += _lines(run, name, judge.quality(answers, rows=rows), known, int(rows.sum()))
    return lines


def _lines(
    run: str,
    name: str,
    quality: dict[str, float],
    intervals: dict[str, tuple[float, float] | None],
    n: int,
) -> list[Line]:
    lines = []
    for metric, value in quality.items():
        low, high = intervals.get(metric) or (None, None)
        lines.append(Line(run, name, metric, value, low, high, n))
    return lines
