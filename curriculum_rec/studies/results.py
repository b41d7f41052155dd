"""What finished runs say (host): arms by seeds, on the same data, ready to be compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curriculum_rec.errors import RunError
from curriculum_rec.evaluation.curves import Curve
from curriculum_rec.studies.grid import Place
from curriculum_rec.studies.ledger import Ledger
from curriculum_rec.studies.study import BASELINE, Study
from curriculum_rec.tracking.rows import read_rows
from curriculum_rec.training.run_directory import RunDirectory


@dataclass(frozen=True)
class Result:
    """A finished run.

    Attributes:
        arm: Name of its arm.
        seed: Its seed.
        directory: Where it lies.
    """

    arm: str
    seed: int
    directory: RunDirectory

    @cached_property
    def summary(self) -> Mapping[str, Any]:
        """The run's result."""
        return self.directory.read_summary()

    @cached_property
    def users(self) -> pl.DataFrame:
        """One row a user of the test part: ``user``, ``item``, ``rank`` and metrics."""
        return pl.read_parquet(self.directory.evaluation / "test.parquet")

    @cached_property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """The rows of its log."""
        return list(read_rows(self.directory.metrics))

    def curve(self, metric: str) -> Curve:
        """Say how a validation metric went."""
        return Curve.from_rows(self.rows, metric)

    def test(self, metric: str) -> float:
        """Give a test metric.

        Raises:
            RunError: The run has not computed it.
        """
        values = self.summary["test"]
        if metric not in values:
            raise RunError(f"{self.directory.path} has no {metric}; it has: {', '.join(values)}")
        return float(values[metric])


Seeds = Mapping[int, Result]
Cell = Mapping[str, Seeds]
"""The finished runs of one place: arms, and the seeds of each."""


@dataclass(frozen=True)
class Options:
    """What the arms are compared by.

    Attributes:
        question: What was asked.
        baseline: The arm that all others are compared with.
        metric: What decides.
        metrics: What is shown besides.
        share: Of the baseline's best validation metric: the time to reach it is reported.
        controls: What each arm is compared with besides.
    """

    question: str
    baseline: str = BASELINE
    metric: str = "ndcg@10"
    metrics: tuple[str, ...] = ("hr@10", "ndcg@10")
    share: float = 0.95
    controls: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, study: Study) -> Options:
        """Take a study's."""
        controls = {name: arm.control for name, arm in study.all_arms().items() if arm.control is not None}
        return cls(study.question, study.baseline, study.metric, study.metrics, study.share, controls)


@dataclass(frozen=True)
class Results:
    """The finished runs of a study.

    Attributes:
        options: What they are compared by.
        cells: By place, the first condition of a data set first.
        n_planned: How many runs there will be.
    """

    options: Options
    cells: Mapping[Place, Cell]
    n_planned: int

    def __post_init__(self) -> None:
        if not any(self.cells.values()):
            raise RunError("no run is finished yet: there is nothing to report")
        for cell in self.cells.values():
            check_same_data(cell)

    @property
    def n_finished(self) -> int:
        """How many runs are finished."""
        return sum(1 for _ in self.all())

    def all(self) -> Iterator[Result]:
        """List all runs."""
        return (run for cell in self.cells.values() for runs in cell.values() for run in runs.values())


def results_of_study(root: Path, study: Study) -> Results:
    """Read the finished runs of a study.

    Args:
        root: Its folder.
        study: Its file.

    Raises:
        RunError: None is finished, or runs of one seed had different data.
    """
    cells: dict[Place, Cell] = {}
    ledger = Ledger.read(root / "ledger.json")
    for data in study.data:
        for condition in study.conditions:
            cell = {arm: _seeds(root / data / condition / arm, arm) for arm in study.all_arms()}
            if found := {arm: seeds for arm, seeds in cell.items() if seeds}:
                cells[Place(data, condition)] = found
    return Results(Options.of(study), cells, len(ledger.entries))


def _seeds(folder: Path, arm: str) -> dict[int, Result]:
    found = {}
    for summary in folder.glob("seed-*/summary.json"):
        run = Result(arm, int(summary.parent.name.partition("-")[2]), RunDirectory(summary.parent))
        found[run.seed] = run
    return dict(sorted(found.items()))


def check_same_data(cell: Cell) -> None:
    """Refuse to compare runs that had different data.

    Raises:
        RunError: Two runs of one seed had different data.
    """
    first: dict[int, Result] = {}
    for seeds in cell.values():
        for seed, run in seeds.items():
            other = first.setdefault(seed, run)
            if other.summary["split_hash"] != run.summary["split_hash"]:
                raise RunError(
                    f"{other.directory.path} and {run.directory.path} had different data (their split hashes differ): "
                    "they cannot be compared"
                )


def shared_seeds(ours: Seeds, other: Seeds) -> list[int]:
    """List the seeds that two arms have in common."""
    return sorted(set(ours) & set(other))


def values(runs: Seeds, metric: str) -> dict[int, float]:
    """Take the test metric of every seed."""
    return {seed: run.test(metric) for seed, run in runs.items()}


def user_values(runs: Iterable[Result], metric: str) -> np.ndarray:
    """Take every user's test metric, ``[n_runs, n_users]``.

    Raises:
        RunError: The runs did not answer the same questions, or have not computed the metric.
    """
    rows, first = [], None
    for run in runs:
        if metric not in run.users.columns:
            raise RunError(f"{run.directory.path} has no {metric} of its users")
        first = run if first is None else first
        if not first.users.select("user", "item").equals(run.users.select("user", "item")):
            raise RunError(f"{first.directory.path} and {run.directory.path} have other test targets")
        rows.append(run.users[metric].to_numpy())
    return np.stack(rows)


def user_differences(ours: Seeds, other: Seeds, metric: str) -> np.ndarray:
    """Take every user's difference under every seed of both, ``[n_seeds, n_users]``.

    Raises:
        RunError: The runs of a seed did not answer the same questions.
    """
    pairs = (user_values((ours[seed], other[seed]), metric) for seed in shared_seeds(ours, other))
    return np.stack([mine - theirs for mine, theirs in pairs])
