"""Runs beside each other (host): in which options they differ, and whether users are better off with one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curriculum_rec.errors import RunError
from curriculum_rec.flat_options import flat
from curriculum_rec.training.run_directory import RunDirectory

NO_MEAN_OF_ERRORS = "is no mean over rows; squared_error and absolute_error are"
HINTS = {
    "auc": " (an AUC is no mean over rows; log_loss and accuracy are)",
    "rmse": f" (an RMSE {NO_MEAN_OF_ERRORS})",
    "r2": f" (R squared {NO_MEAN_OF_ERRORS})",
    "mae": " (of one row it is called absolute_error)",
}
"""What to ask for instead of a metric that single rows do not have."""

DRAWS = 10_000
"""Sign flips and bootstrap samples: a look, quicker than a study's tests."""


@dataclass(frozen=True)
class PairedDifference:
    """How much better off users are with a run than with another one.

    Attributes:
        n_users: Users of both.
        difference: The mean of their differences, above 0 where this run is better.
        low: Lower end of its 95 % bootstrap interval.
        high: Upper end.
        p: Of the two-sided sign-flip test, as it is.
        adjusted_p: After Holm's correction over all runs that are compared.
    """

    n_users: int
    difference: float
    low: float
    high: float
    p: float
    adjusted_p: float


def differing_options(configs: Sequence[Mapping[str, Any]], *, without: Sequence[str]) -> dict[str, list[str]]:
    """Give the options in which configurations differ.

    Args:
        configs: As plain data.
        without: Top-level options that do not count.

    Returns:
        By dotted names, one text a configuration; ``-`` where one has no such option.

    >>> differing_options([{"seed": 0, "model": {"width": 8}}, {"seed": 1, "model": {"width": 8}}], without=())
    {'seed': ['0', '1']}
    """
    options = [
        flat({name: value for name, value in config.items() if value is not None}, without=without)
        for config in configs
    ]
    names = dict.fromkeys(name for each in options for name in each)
    rows = {name: [each.get(name, "-") for each in options] for name in names}
    return {name: values for name, values in rows.items() if len(set(values)) > 1}


def paired_differences(
    baseline: Path, others: Sequence[Path], metric: str
) -> tuple[dict[Path, PairedDifference], dict[Path, str]]:
    """Compare runs with one of them over the users of the test split.

    Args:
        baseline: The run that the others are compared with.
        others: The others.
        metric: A metric with a cut-off, as evaluation/test.parquet has it.

    Returns:
        The differences, and of the runs that cannot be compared why not.
    """
    from curriculum_rec.evaluation.intervals import bootstrap_interval  # noqa: PLC0415 - loads SciPy
    from curriculum_rec.evaluation.statistics import holm, sign_flip_test  # noqa: PLC0415

    found: dict[Path, np.ndarray] = {}
    reasons: dict[Path, str] = {}
    for path in others:
        try:
            found[path] = _difference(RunDirectory(baseline), RunDirectory(path), metric)
        except RunError as error:
            reasons[path] = str(error)
    p = [float(sign_flip_test(difference, draws=DRAWS)[0]) for difference in found.values()]
    result = {}
    for (path, difference), raw, adjusted in zip(found.items(), p, holm(p) if p else [], strict=True):
        low, high = bootstrap_interval(difference, resamples=DRAWS)
        result[path] = PairedDifference(len(difference), float(difference.mean()), low, high, raw, float(adjusted))
    return result, reasons


def _difference(baseline: RunDirectory, other: RunDirectory, metric: str) -> np.ndarray:
    """Take every user's metric in a run minus that in another one."""
    hashes = [directory.read_summary()["split_hash"] for directory in (baseline, other)]
    if hashes[0] != hashes[1]:
        raise RunError(f"{other.path} has another split than {baseline.path}: their users or targets are not the same")
    users = [_users(directory, metric) for directory in (baseline, other)]
    key = users[0].columns[0]
    if users[1].columns[0] != key:
        raise RunError(f"{other.path} was evaluated otherwise than {baseline.path}")
    both = users[0].join(users[1], on=key, suffix="_other")
    if not len(both) == len(users[0]) == len(users[1]):
        raise RunError(f"{other.path} was not evaluated on the same users as {baseline.path}")
    if len(both) < 2:
        raise RunError(f"{other.path} has too few users to be compared")
    return (both[f"{metric}_other"] - both[metric]).to_numpy()


def _users(directory: RunDirectory, metric: str) -> pl.DataFrame:
    file = directory.evaluation / "test.parquet"
    try:
        # Of rows with labels a user may have many, so that rows are compared by their numbers.
        key = "row" if "row" in pl.read_parquet_schema(file) else "user"
        frame = pl.read_parquet(file, columns=[key, metric])
    except (OSError, pl.exceptions.PolarsError) as error:
        hint = HINTS.get(metric, "")
        raise RunError(f"{file} has no {metric} of each user{hint}: {str(error).splitlines()[0]}") from error
    return frame.group_by(key, maintain_order=True).mean()  # a user may be asked for several items
