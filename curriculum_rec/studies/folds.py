"""Cross-validation in results (host): the runs of a seed's folds as one result, and tables of both."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from curriculum_rec.errors import RunError
from curriculum_rec.evaluation.curves import Curve
from curriculum_rec.evaluation.metrics import user_means
from curriculum_rec.studies.results import Cell, Options, Result, Seeds, row_user
from curriculum_rec.studies.table import Form, Table, rows_to_table

COSTS = ("train_seconds", "compile_seconds", "positions_per_second", "steps", "operations")


@dataclass(frozen=True)
class Pooled(Result):
    """The finished runs of all folds of a seed, as one result: its test part is that of all folds together.

    Attributes:
        parts: The runs, by fold.
    """

    parts: tuple[Result, ...] = ()

    @property
    def runs(self) -> tuple[Result, ...]:
        """The runs."""
        return self.parts

    @cached_property
    def users(self) -> pl.DataFrame:
        """The rows of all folds, one fold after the other."""
        return pl.concat([part.users for part in self.parts])

    @cached_property
    def summary(self) -> Mapping[str, Any]:
        """What the folds' summaries say: the test metrics over all users, all else as means of the folds.

        Of rows with labels the test metrics are means of the folds, too, by their rows: an AUC over all of them would
        compare scores of different models.
        """
        summaries, key = [part.summary for part in self.parts], "row" if self.of_rows else "user"
        weight = np.array([part.users[key].n_unique() for part in self.parts], float)
        found = {**summaries[0], "validation": _mean_of(summaries, "validation")}
        found["test"] = _mean_of(summaries, "test", weight) if self.of_rows else self._over_users(summaries[0]["test"])
        found["reference"] = {**summaries[0]["reference"], **_mean_of(summaries, "reference", weight)}
        for name in COSTS:
            values = [summary[name] for summary in summaries]
            found[name] = None if None in values else float(np.mean(values))
        hashes = "".join(summary["split_hash"] for summary in summaries)
        return found | {"split_hash": hashlib.blake2b(hashes.encode(), digest_size=16).hexdigest()}

    def _over_users(self, metrics: Iterable[str]) -> dict[str, float]:
        user = row_user(self.users)
        return {name: float(user_means(self.users[name].to_numpy(), user).mean()) for name in metrics}

    def curve(self, metric: str) -> Curve:
        """Refuse: the folds' curves have other steps.

        Raises:
            RunError: Always; ``by_run`` gives every fold its own.
        """
        raise RunError(f"the folds of {self.arm} have a curve of {metric} each, and none together")


def _mean_of(summaries: Sequence[Mapping[str, Any]], part: str, weight: np.ndarray | None = None) -> dict[str, float]:
    return {
        name: float(np.average([summary[part][name] for summary in summaries], weights=weight))
        for name, value in summaries[0][part].items()
        if isinstance(value, int | float)
    }


def pool(runs: Iterable[Result], n_folds: int) -> dict[int, Result]:
    """Put the runs of an arm together, seed by seed; a seed that lacks a fold is left out.

    Args:
        runs: Each with its seed and its fold.
        n_folds: How many folds there are.
    """
    by_seed: dict[int, dict[int, Result]] = {}
    for run in runs:
        if run.fold is not None:
            by_seed.setdefault(run.seed, {})[run.fold] = run
    return {
        seed: Pooled(found[0].arm, seed, found[0].directory, parts=tuple(found[fold] for fold in range(n_folds)))
        for seed, found in sorted(by_seed.items())
        if set(found) == set(range(n_folds))
    }


def by_run(cell: Cell) -> Cell:
    """Take a seed's folds apart, so that runs are paired within a seed and a fold."""
    n_folds = max((len(run.runs) for seeds in cell.values() for run in seeds.values()), default=1)
    return {arm: dict(_numbered(seeds, n_folds)) for arm, seeds in cell.items()}


def _numbered(seeds: Seeds, n_folds: int) -> Iterator[tuple[int, Result]]:
    for seed, run in seeds.items():
        for number, part in enumerate(run.runs):
            yield seed * n_folds + number, part


def fold_differences(ours: Seeds, other: Seeds, metric: str) -> np.ndarray:
    """Take the difference in every fold, the mean over the seeds of both, float64 ``[n_folds]``; empty without folds.

    Seeds of one fold share its users and are no folds of their own: they are averaged.
    """
    pairs = [(ours[seed].runs, other[seed].runs) for seed in sorted(set(ours) & set(other))]
    if any(len(runs) < 2 for pair in pairs for runs in pair):
        return np.zeros(0)
    return np.mean([[a.test(metric) - b.test(metric) for a, b in zip(*pair, strict=True)] for pair in pairs], axis=0)


def fold_table(name: str, cell: Cell, options: Options) -> Table:
    """Give the deciding test metric in every fold and over all of them, a row an arm; no row without folds."""
    rows: list[dict[str, Any]] = []
    folds: list[str] = []
    together = ""
    for arm, seeds in cell.items():
        if any(len(run.runs) < 2 for run in seeds.values()):
            continue
        per_fold = np.array([[part.test(options.metric) for part in run.runs] for run in seeds.values()])
        folds = [f"fold {number}" for number in range(per_fold.shape[1])]
        if not rows:
            some = next(iter(seeds.values()))
            together = "all rows" if some.of_rows else "all users"
            rows.append(_reference(some, folds, together, options.metric))
        row = {"arm": arm, "seeds": len(seeds), **dict(zip(folds, per_fold.mean(axis=0).tolist(), strict=True))}
        pooled = float(np.mean([run.test(options.metric) for run in seeds.values()]))
        rows.append({**row, together: pooled, "sd over folds": float(per_fold.mean(axis=0).std(ddof=1))})
    forms: dict[str, str | Form] = {"arm": "", "seeds": "", **dict.fromkeys(folds, ".4f")}
    note = f"Test {options.metric}, means over seeds. {NOTES.get(together, '')}"
    return rows_to_table(name, "Folds", note, {**forms, together: ".4f", "sd over folds": ".4f"}, rows)


NOTES = {
    "all users": "All users: of the folds together, every user counting the same. MostPop over all users is the mean "
    "of the folds by their users.",
    "all rows": "All rows: the mean of the folds by their rows.",
}
"""What the column of all folds says."""


def _reference(run: Result, folds: Sequence[str], together: str, metric: str) -> dict[str, Any]:
    values = [part.summary["reference"].get(metric) for part in run.runs]
    of_all = run.summary["reference"].get(metric)
    return {"arm": run.reference, **dict(zip(folds, values, strict=True)), together: of_all}
