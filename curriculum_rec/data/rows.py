"""Rows with labels (host): what is left of a source after cleaning, and the part of each row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import polars as pl

from curriculum_rec.data.ledger import CleaningRule, LedgerEntry, apply_rules
from curriculum_rec.data.splits import Part
from curriculum_rec.data.splits.folds import SeededFolds
from curriculum_rec.data.task import Task
from curriculum_rec.data.values import numbers_of
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.ranges import INSIDE_ONE, at_least, check_ranges
from curriculum_rec.streams import host_stream


@dataclass(frozen=True)
class Rows:
    """Cleaned rows in file order.

    Attributes:
        frame: All columns that the source has.
        ledger: What each cleaning rule removed.
        name: What the source is called in error messages.
    """

    frame: pl.DataFrame
    ledger: tuple[LedgerEntry, ...] = ()
    name: str = "the data"

    def __len__(self) -> int:
        return len(self.frame)


def clean_rows(frame: pl.DataFrame, rules: Mapping[str, CleaningRule], *, source: str) -> Rows:
    """Apply the cleaning rules in order.

    Raises:
        DataError: Nothing is left.
    """
    return Rows(*apply_rules(frame, rules, source=source), source)


@dataclass(frozen=True)
class RowSplit:
    """Rows and the part of each.

    Attributes:
        rows: The rows.
        part: int8 ``[n]``, values of :class:`~curriculum_rec.data.splits.Part`.
    """

    rows: Rows
    part: np.ndarray


@runtime_checkable
class RowSplitter(Protocol):
    """A rule that gives every row its part."""

    def __call__(self, rows: Rows) -> RowSplit: ...


SHARES = {"validation": INSIDE_ONE, "test": INSIDE_ONE}


@dataclass(frozen=True)
class RandomRows:
    """Takes validation and test rows at random.

    Args:
        validation: Their share of all rows, in (0, 1).
        test: The same of test rows.
        seed: Decides which; runs of other seeds are compared on the same rows.
    """

    TASK: ClassVar[Task] = "pointwise"

    validation: float = 0.1
    test: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        check_ranges(self, "split", SHARES | {"seed": at_least(0)})
        _check_shares(self.validation, self.test)

    def __call__(self, rows: Rows) -> RowSplit:
        """Split."""
        return _by_order(rows, host_stream(self.seed, "rows").permutation(len(rows)), self.validation, self.test)


@dataclass(frozen=True)
class LatestRows:
    """The latest rows are test, those before them validation; of equal times the later in the file is the later.

    Args:
        validation: Their share of all rows, in (0, 1).
        test: The same of test rows.
        column: The column of times, numbers of any unit.
    """

    TASK: ClassVar[Task] = "pointwise"

    validation: float = 0.1
    test: float = 0.1
    column: str = "timestamp"

    def __post_init__(self) -> None:
        check_ranges(self, "split", SHARES)
        _check_shares(self.validation, self.test)

    def __call__(self, rows: Rows) -> RowSplit:
        """Split.

        Raises:
            DataError: A row has no time.
        """
        time = numbers_of(rows.frame, self.column, wanted_by="split.column")
        if time.has_nulls():
            raise DataError(f"split.column={self.column}: row {time.is_null().arg_true()[0] + 1} has no time")
        return _by_order(rows, np.argsort(time.to_numpy(), kind="stable"), self.validation, self.test)


@dataclass(frozen=True)
class RowFolds(SeededFolds):
    """Cross-validation: every row is tested in one fold. Options are those of :class:`SeededFolds`."""

    TASK: ClassVar[Task] = "pointwise"

    def __call__(self, rows: Rows) -> RowSplit:
        """Split.

        Raises:
            DataError: There are too few rows.
        """
        return RowSplit(rows, self.parts(host_stream(self.seed, "row folds").permutation(len(rows))))


def _check_shares(validation: float, test: float) -> None:
    if validation + test >= 1:
        raise OptionError(f"split: validation={validation} and test={test} leave nothing to train on")


def _by_order(rows: Rows, order: np.ndarray, validation: float, test: float) -> RowSplit:
    """Make the last rows of an order test, those before them validation."""
    n = len(rows)
    n_test, n_validation = (max(1, round(share * n)) for share in (test, validation))
    if n_test + n_validation >= n:
        raise DataError(f"{rows.name} has {n} rows, too few for three parts")
    part = np.full(n, Part.TRAIN, np.int8)
    part[order[n - n_test :]] = Part.TEST
    part[order[n - n_test - n_validation : n - n_test]] = Part.VALIDATION
    return RowSplit(rows, part)
