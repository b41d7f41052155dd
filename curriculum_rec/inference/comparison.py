"""Two models of one run side by side (host and device): lists, ranks and speed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from flax import nnx

from curriculum_rec.evaluation.intervals import bootstrap_interval
from curriculum_rec.evaluation.judge import Judge
from curriculum_rec.inference.recommend import recommend
from curriculum_rec.models.structure import Tree
from curriculum_rec.training.experiment import Dataset, Experiment

REPEATS = 5
TIMED_USERS = 2000

Model = tuple[nnx.GraphDef, Tree]
"""A model's structure and its parameters."""


@dataclass(frozen=True)
class Comparison:
    """What a model is worth beside the one that it was made from; pairs are before and after.

    Attributes:
        k: Cut-off of lists and metric.
        seconds: For 1,000 users' lists, the median of several calls in turn.
        overlap: Share of a user's list that the other list has, too, the mean over users.
        ndcg: Means over the users of the test split.
        intervals: Their 95 % bootstrap intervals over users.
        difference: Mean over users, after minus before.
        interval: Its 95 % bootstrap interval over users, each with both values.
    """

    k: int
    seconds: tuple[float, float]
    overlap: float
    ndcg: tuple[float, float]
    intervals: tuple[tuple[float, float], tuple[float, float]]
    difference: float
    interval: tuple[float, float]

    @classmethod
    def of(
        cls,
        models: Sequence[Model],
        answers: Sequence[np.ndarray],
        judge: Judge,
        experiment: Experiment,
        dataset: Dataset,
        *,
        k: int = 10,
    ) -> Comparison:
        """Compare.

        Args:
            models: Structure and parameters, before and after.
            answers: To the questions of the test split, before and after.
            judge: Measures them.
            experiment: The run's components, which say how histories are cut and whether seen items are candidates.
            dataset: Its data.
            k: Cut-off, at most the catalogue.
        """
        k = min(k, dataset.n_items)
        placed = [(structure, jax.tree.map(jnp.asarray, params)) for structure, params in models]
        before, after = (_lists(model, experiment, dataset, k=k) for model in placed)
        judge = replace(judge, names=(f"ndcg@{k}",))
        values = [judge.of_users(each, f"ndcg@{k}") for each in answers]
        change = values[1] - values[0]
        return cls(
            k=k,
            seconds=_seconds(placed, experiment, dataset, k=k),
            overlap=list_overlap(before, after),
            ndcg=(float(values[0].mean()), float(values[1].mean())),
            intervals=(bootstrap_interval(values[0]), bootstrap_interval(values[1])),
            difference=float(change.mean()),
            interval=bootstrap_interval(change),
        )

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON data."""
        return {
            "k": self.k,
            "seconds_per_1000_users": {"before": self.seconds[0], "after": self.seconds[1]},
            "overlap": self.overlap,
            "ndcg": {
                "before": self.ndcg[0],
                "before_interval": self.intervals[0],
                "after": self.ndcg[1],
                "after_interval": self.intervals[1],
                "difference": self.difference,
                "difference_interval": self.interval,
            },
        }


def list_overlap(before: pl.DataFrame, after: pl.DataFrame) -> float:
    """Give the mean share of a user's list that the other list has, too, wherever it stands there.

    Args:
        before: Columns ``user`` and ``item``.
        after: The same users.

    >>> lists = [pl.DataFrame({"user": [1, 1, 2, 2], "item": items}) for items in ([1, 2, 3, 4], [2, 5, 4, 3])]
    >>> list_overlap(*lists)
    0.75
    """
    listed = before.group_by("user").len("listed")
    shared = before.join(after, on=["user", "item"], how="semi").group_by("user").len("shared")
    both = listed.join(shared, on="user", how="left")
    return float((both["shared"].fill_null(0) / both["listed"]).mean())  # type: ignore[arg-type]


def _lists(
    model: Model,
    experiment: Experiment,
    dataset: Dataset,
    *,
    k: int,
    users: list[str] | None = None,
) -> pl.DataFrame:
    of_items = experiment.for_items("a comparison of lists")
    return recommend(
        *model,
        dataset.interactions_for("a comparison of lists").interactions,
        k=k,
        max_length=of_items.examples.max_length,
        lengths=of_items.examples.bucket_lengths,
        users=users,
        filter_seen=of_items.evaluation.filter_seen,
    )


def _seconds(models: Sequence[Model], experiment: Experiment, dataset: Dataset, *, k: int) -> tuple[float, float]:
    """Time both in turn, since other users of the machine slow both down."""
    interactions = dataset.interactions_for("a comparison of lists").interactions
    users = [str(user) for user in interactions.users.ids[:TIMED_USERS]]
    spent: tuple[list[float], list[float]] = [], []
    for number in range(REPEATS + 1):
        for model, seconds in zip(models, spent, strict=True):
            started = time.perf_counter()
            _lists(model, experiment, dataset, k=k, users=users)
            if number:  # the first call compiles
                seconds.append(time.perf_counter() - started)
    before, after = (float(np.median(seconds)) * 1000 / len(users) for seconds in spent)
    return before, after
