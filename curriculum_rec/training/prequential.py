"""Prequential evaluation (host): test on each window of time, then train on it; a run directory a window.

The runs are ordinary ones: a window's experiment is the given one with another source, another split and, from the
second window on, the last stage alone, which begins with the weights of the window before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curriculum_rec.components import TARGET
from curriculum_rec.data.splits import Part
from curriculum_rec.data.windows import Tested, Time
from curriculum_rec.errors import OptionError, RunError
from curriculum_rec.evaluation.evaluator import FullRanking
from curriculum_rec.evaluation.intervals import ratio_interval
from curriculum_rec.evaluation.metric_names import parse_metric
from curriculum_rec.evaluation.metrics import METRICS, user_metrics
from curriculum_rec.evaluation.mostpop import most_popular_ranks
from curriculum_rec.training.experiment import Dataset, Experiment
from curriculum_rec.training.run_directory import RunDirectory
from curriculum_rec.training.stages import Stage

MOSTPOP = "mostpop "
"""How the names of MostPop's metrics begin in tables."""


@dataclass(frozen=True)
class Window:
    """One window.

    Attributes:
        number: From 1.
        begin: Its first moment, in the unit of the data's timestamps.
        end: The first moment after it; None is the end of the data.
    """

    number: int
    begin: Time
    end: Time | None

    @property
    def name(self) -> str:
        """Of its run directory."""
        return f"window-{self.number:02d}"


def windows_between(begins: Sequence[Time]) -> list[Window]:
    """Number the windows that begin at some moments.

    >>> [window.end for window in windows_between([3, 5])]
    [5, None]
    """
    return [Window(i + 1, *ends) for i, ends in enumerate(zip(begins, [*begins[1:], None], strict=True))]


def window_nodes(
    data: Mapping[str, Any],
    window: Window,
    stages: Mapping[str, Stage],
    *,
    previous: Path | None,
    tested: Tested,
    validation: float,
    update_epochs: float | None,
) -> dict[str, Any]:
    """Give what a window changes in an experiment's configuration.

    Args:
        data: The experiment's configuration as plain data.
        window: The window.
        stages: The experiment's stages, built.
        previous: Run directory of the window before; None for the first window.
        tested: Which interactions of the window are tested.
        validation: Share of the earlier interactions that decides which checkpoint is best.
        update_epochs: Length of the training from the second window on; None takes that of the last stage.
    """
    source = {
        TARGET: "curriculum_rec.data.windows.TimeWindow",
        "source": data["data"],
        "begin": window.begin,
        "end": window.end,
        "rules": data["cleaning"] or None,
        "tested": tested,
    }
    split = {TARGET: "curriculum_rec.data.windows.WindowSplit", "begin": window.begin, "validation": validation}
    changed = {"data": source, "cleaning": {}, "split": split}
    if previous is None:
        return changed
    return changed | {"stages": update_stages(data["stages"], stages, previous, update_epochs)}


def update_stages(
    node: Mapping[str, Any], stages: Mapping[str, Stage], previous: Path, update_epochs: float | None
) -> dict[str, Any]:
    """Give the one stage that goes on from another run: the last, with what the stages before it changed in the model.

    Args:
        node: The stages' configuration: named stages or a plan.
        stages: The same, built.
        previous: The run whose best weights it begins with, item vectors by the items' ids.
        update_epochs: Its length; None keeps that of the last stage.
    """
    name, last = list(stages.items())[-1]
    if TARGET in node:
        chosen = {field.name: getattr(last, field.name) for field in fields(Stage)}
        stage = {TARGET: f"{Stage.__module__}.{Stage.__name__}", **chosen}
    else:
        stage = dict(node[name])
        stage["model"] = _changes([each.get("model") for each in node.values()])
    if update_epochs is not None:
        stage |= {"epochs": update_epochs, "steps": None}
    warm = {TARGET: "curriculum_rec.training.stages.WarmStart", "run": str(previous), "items": "by_id"}
    return {name: stage | {"begin": "previous", "warm_start": warm}}


def _changes(models: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """Lay the changes of stages over each other; a whole model replaces all before it."""
    changed: dict[str, Any] = {}
    for model in models:
        if model is not None:
            changed = dict(model) if TARGET in model else changed | dict(model)
    return changed or None


def check_starts_fresh(stages: Mapping[str, Stage]) -> None:
    """Refuse weights from elsewhere, which may have seen what comes later.

    Raises:
        OptionError: A stage has a warm start.
    """
    for name, stage in stages.items():
        if stage.warm_start is not None:
            raise OptionError(
                f"stages.{name}.warm_start: a prequential evaluation begins with random weights, since another run may "
                "have seen what comes later; leave it out"
            )


def check_evaluation(options: FullRanking) -> None:
    """Refuse what is not measured of single interactions.

    Raises:
        OptionError: It is asked for.
    """
    if options.targets == "together":
        raise OptionError("evaluation.targets=together: prequential asks for every interaction alone; leave it out")
    for name in options.metric_names:
        if parse_metric(name).kind not in METRICS:
            raise OptionError(
                f"{name}: prequential measures {', '.join(METRICS)} alone; evaluate a window's run for it"
            )


def window_results(directory: RunDirectory, experiment: Experiment, dataset: Dataset, window: Window) -> pl.DataFrame:
    """Give one row a tested interaction of a finished window.

    Returns:
        Columns ``window``, ``user``, ``item``, ``new_item`` (no interaction before the window has the item), ``rank``,
        the metrics, and MostPop's, which knows what was there before the window.

    Raises:
        RunError: The run's results cannot be read or belong to other data.
    """
    path = directory.evaluation / "test.parquet"
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RunError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    split, options = dataset.interactions_for("prequential"), experiment.for_items("prequential").evaluation
    rows = split.rows(Part.TEST)
    if len(frame) != len(rows) or split.hash != directory.read_summary()["split_hash"]:
        raise RunError(f"the data of {directory.path} changed since it was trained: put them back")
    counts = split.item_counts(Part.TEST)
    popular = user_metrics(most_popular_ranks(counts, rows, filter_seen=options.filter_seen), options.metric_names)
    return frame.select(
        pl.lit(window.number).alias("window"),
        pl.col("user").cast(pl.String),
        pl.col("item").cast(pl.String),
        pl.Series("new_item", counts[rows.target] == 0),
        "rank",
        *options.metric_names,
        *(pl.Series(f"{MOSTPOP}{name}", values) for name, values in popular.items()),
    )


def window_table(results: pl.DataFrame, windows: Sequence[Window], metrics: Sequence[str]) -> pl.DataFrame:
    """Average each window's results.

    Args:
        results: Of all windows, as :func:`window_results` gives them.
        windows: The windows.
        metrics: Names of the metrics.
    """
    names = [*metrics, *(f"{MOSTPOP}{name}" for name in metrics)]
    means = results.group_by("window").agg(
        pl.len().alias("tested"),
        pl.col("user").n_unique().alias("users"),
        pl.col("new_item").mean().alias("new_items"),
        *(pl.col(name).mean() for name in names),
    )
    begins = pl.DataFrame(
        {
            "window": [window.number for window in windows],
            "begin": [window.begin for window in windows],
            "end": [window.end for window in windows],
        },
        strict=False,
    )
    return begins.join(means.with_columns(pl.col("window").cast(pl.Int64)), on="window", how="left").sort("window")


def overall(results: pl.DataFrame, metrics: Sequence[str], *, resamples: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Average all tested interactions, each counting the same, with 95 % bootstrap intervals over users.

    A user is resampled with all of the interactions in all windows.

    Args:
        results: Of all windows.
        metrics: Names of the metrics.
        resamples: Bootstrap samples.
        seed: Decides them.

    Returns:
        Of each metric ``model``, ``mostpop`` and ``difference``, each with ``value`` and ``interval``.
    """
    _, user = np.unique(results["user"].to_numpy(), return_inverse=True)
    counts = np.bincount(user).astype(np.float64)

    def mean(values: np.ndarray) -> dict[str, Any]:
        sums = np.bincount(user, values)
        interval = ratio_interval(sums, counts, resamples=resamples, seed=seed) if len(counts) > 1 else None
        return {"value": float(values.mean()), "interval": interval}

    found = {}
    for name in metrics:
        ours, popular = results[name].to_numpy(), results[f"{MOSTPOP}{name}"].to_numpy()
        found[name] = {"model": mean(ours), "mostpop": mean(popular), "difference": mean(ours - popular)}
    return found
