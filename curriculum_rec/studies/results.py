"""What finished runs say (host): arms by seeds, on the same data, ready to be compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from curriculum_rec.errors import RunError
from curriculum_rec.evaluation.curves import Curve
from curriculum_rec.evaluation.metrics import user_means
from curriculum_rec.reports.run_page import reference_title
from curriculum_rec.studies.grid import Place
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
        fold: Which fold it tests; None where there are none.
    """

    arm: str
    seed: int
    directory: RunDirectory
    fold: int | None = None

    @property
    def runs(self) -> tuple[Result, ...]:
        """The runs that it comes from: itself."""
        return (self,)

    @cached_property
    def summary(self) -> Mapping[str, Any]:
        """The run's result."""
        return self.directory.read_summary()

    @cached_property
    def users(self) -> pl.DataFrame:
        """One row a question of the test part: ``user``, ``item``, ``rank`` and metrics."""
        return pl.read_parquet(self.directory.evaluation / "test.parquet")

    @property
    def of_rows(self) -> bool:
        """Whether labels of rows were predicted: each counts the same, whoever's it is."""
        return "row" in self.users.columns

    @property
    def reference(self) -> str:
        """The name of what learns nothing, such as MostPop."""
        return reference_title(self.summary["reference"].get("model", "mostpop"))

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
        published: What others reported, by data set, arm and metric.
    """

    question: str
    baseline: str = BASELINE
    metric: str = "ndcg@10"
    metrics: tuple[str, ...] = ("hr@10", "ndcg@10")
    share: float = 0.95
    controls: Mapping[str, str] = field(default_factory=dict)
    published: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)

    @classmethod
    def of(cls, study: Study) -> Options:
        """Take a study's."""
        controls = {name: arm.control for name, arm in study.all_arms().items() if arm.control is not None}
        published = {name: data.published for name, data in study.data.items()}
        return cls(study.question, study.baseline, study.metric, study.metrics, study.share, controls, published)


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
        """List all runs, those of every fold."""
        return (
            one for cell in self.cells.values() for runs in cell.values() for run in runs.values() for one in run.runs
        )


def check_same_data(cell: Cell) -> None:
    """Refuse to compare runs that had different data.

    Raises:
        RunError: Two runs of one seed and one fold had different data.
    """
    first: dict[tuple[int, int | None], Result] = {}
    for seeds in cell.values():
        for run in (one for result in seeds.values() for one in result.runs):
            other = first.setdefault((run.seed, run.fold), run)
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


def row_values(runs: Iterable[Result], metric: str) -> np.ndarray:
    """Take the test metric of every question, ``[n_runs, n_rows]``; a user may have been asked several.

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
    differences = []
    for seed in shared_seeds(ours, other):
        mine, theirs = row_values((ours[seed], other[seed]), metric)
        differences.append(user_means(mine - theirs, row_user(ours[seed].users)))
    return np.stack(differences)


def row_user(users: pl.DataFrame) -> np.ndarray:
    """Number the users of rows, int64 ``[n_rows]``, in the order in which they come."""
    distinct = users.select("user").unique(maintain_order=True).with_row_index("number")
    return users.join(distinct, on="user", how="left", maintain_order="left")["number"].to_numpy().astype(np.int64)
