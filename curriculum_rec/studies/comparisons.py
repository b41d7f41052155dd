"""What the arms of a place differ by, and what that allows to be claimed (host)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Literal

import numpy as np

from curriculum_rec.evaluation.cross_validation import FoldComparison, compare_by_fold
from curriculum_rec.evaluation.statistics import Comparison, compare, compare_by_user
from curriculum_rec.studies.folds import fold_differences
from curriculum_rec.studies.results import Cell, Options, Seeds, shared_seeds, user_differences, values

LEVEL = 0.05
Verdict = Literal["helps", "harms", "not shown"]


@dataclass(frozen=True)
class Family:
    """Comparisons that are corrected together.

    Attributes:
        against: What every arm is compared with, by name.
        over_seeds: What other runs on the same users would say.
        of_users: Gives every user's differences, ``[n_seeds, n_users]`` an arm.
        over_folds: What other users of the same kind would say; empty without cross-validation.
    """

    against: Mapping[str, str]
    over_seeds: Mapping[str, Comparison]
    of_users: Callable[[], Mapping[str, np.ndarray]] = dict
    over_folds: Mapping[str, FoldComparison] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.over_seeds)

    @cached_property
    def over_users(self) -> Mapping[str, Comparison]:
        """What other users would say under the same seeds; it is dear, and few ask."""
        return compare_by_user(self.of_users())

    @property
    def n_arms(self) -> int:
        """How many comparisons there are."""
        return len(self.over_seeds)

    @property
    def fewest_seeds(self) -> int:
        """The fewest pairs that a comparison has."""
        return min(found.n for found in self.over_seeds.values())

    @property
    def smallest_p(self) -> tuple[float, float]:
        """The smallest p that so few seeds can reach, before and after the correction."""
        raw = 2 / 2**self.fewest_seeds
        return min(1.0, raw), min(1.0, raw * self.n_arms)


def against_baseline(cell: Cell, options: Options) -> Family:
    """Compare every arm with the baseline."""
    if options.baseline not in cell:
        return Family({}, {})
    return _family(cell, _with_baseline(cell, options), options.metric)


def against_controls(cell: Cell, options: Options) -> Family:
    """Compare every arm that has a control with it; none where :func:`against_baseline` compares the same."""
    pairs = {name: options.controls[name] for name in cell if options.controls.get(name) in cell}
    return Family({}, {}) if pairs == _with_baseline(cell, options) else _family(cell, pairs, options.metric)


def _with_baseline(cell: Cell, options: Options) -> dict[str, str]:
    return {name: options.baseline for name in cell if name != options.baseline}


def _family(cell: Cell, pairs: Mapping[str, str], metric: str) -> Family:
    pairs = {name: other for name, other in pairs.items() if shared_seeds(cell[name], cell[other])}
    of_seeds = {name: (values(cell[name], metric), values(cell[other], metric)) for name, other in pairs.items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*too few for a claim")  # the tables and the answer say it
        over_seeds = compare(of_seeds)
    of_folds = {name: fold_differences(cell[name], cell[other], metric) for name, other in pairs.items()}
    over_folds = compare_by_fold({name: found for name, found in of_folds.items() if len(found)})
    return Family(pairs, over_seeds, partial(_of_users, cell, pairs, metric), over_folds)


def _of_users(cell: Cell, pairs: Mapping[str, str], metric: str) -> dict[str, np.ndarray]:
    """Take every user's differences; rows with labels are no users."""
    if any(run.of_rows for seeds in cell.values() for run in seeds.values()):
        return {}
    return {name: user_differences(cell[name], cell[other], metric) for name, other in pairs.items()}


def verdict(found: Comparison | FoldComparison) -> Verdict:
    """Say what the seeds, or the folds, allow to be claimed."""
    if found.adjusted_p > LEVEL:
        return "not shown"
    return "helps" if found.difference > 0 else "harms"


def counted(n: int, noun: str) -> str:
    """Give a number of things.

    >>> counted(1, "seed"), counted(3, "seed")
    ('1 seed', '3 seeds')
    """
    return f"{n} {noun}" + "s" * (n != 1)


def mean_of(runs: Seeds, metric: str) -> float:
    """Give the mean test metric of an arm."""
    return sum(values(runs, metric).values()) / len(runs)
