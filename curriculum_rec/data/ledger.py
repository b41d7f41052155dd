"""Cleaning rules one after the other, and a ledger of what each removed, with examples (host)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import polars as pl

from curriculum_rec.errors import DataError

ROW = "__row__"
"""A column that every frame has while it is cleaned: the number of each row in its source, from 0."""

N_EXAMPLES = 3
"""Of what a rule removed, so many rows are kept."""

N_COLUMNS = 6
"""So many of the columns of an example stand in a line."""


@dataclass(frozen=True)
class LedgerEntry:
    """Rows before and after one cleaning rule.

    Attributes:
        rule: Its name.
        rows_in: Rows that reached it.
        rows_out: Rows that it left.
        examples: The first rows that it removed, by columns, and ``row``, their numbers in the source, from 1.
    """

    rule: str
    rows_in: int
    rows_out: int
    examples: tuple[Mapping[str, Any], ...] = ()

    @property
    def removed(self) -> int:
        """Rows that the rule removed."""
        return self.rows_in - self.rows_out


@runtime_checkable
class CleaningRule(Protocol):
    """One step of cleaning: a frame in, fewer rows or other values out, order kept.

    The frame has user and item, perhaps timestamp, or the columns of labelled rows; and ``__row__``, which must stay.
    """

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame: ...


def apply_rules(
    frame: pl.DataFrame, rules: Mapping[str, CleaningRule], *, source: str
) -> tuple[pl.DataFrame, tuple[LedgerEntry, ...]]:
    """Apply cleaning rules in order.

    Args:
        frame: In file order.
        rules: Named rules; the names stand in the ledger.
        source: What the data is called in error messages.

    Raises:
        DataError: There was nothing, or nothing is left.
    """
    if frame.is_empty():
        raise DataError(f"{source} has no rows: there is nothing to train on")
    ledger: list[LedgerEntry] = []
    frame = frame.with_row_index(ROW)
    for name, rule in rules.items():
        before, frame = frame, rule(frame)
        ledger.append(LedgerEntry(name, len(before), len(frame), _removed(before, frame)))
        if frame.is_empty():
            raise DataError(
                f"cleaning rule '{name}' removed all {len(before):,} rows of {source} that had reached it "
                f"({describe_ledger(ledger)}): loosen cleaning.{name}"
            )
    return frame.drop(ROW, strict=False), tuple(ledger)


def _removed(before: pl.DataFrame, after: pl.DataFrame) -> tuple[dict[str, Any], ...]:
    if len(after) == len(before) or ROW not in before.columns or ROW not in after.columns:
        return ()
    number = before[ROW].to_numpy()
    kept = np.zeros(int(number.max()) + 1, bool)
    kept[after[ROW].to_numpy()] = True
    first = before[np.flatnonzero(~kept[number])[:N_EXAMPLES]]
    return tuple(
        {"row": row[ROW] + 1} | {name: _plain(value) for name, value in row.items() if name != ROW}
        for row in first.iter_rows(named=True)
    )


def _plain(value: Any) -> Any:
    """Give what JSON can say; it knows no infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, int | float | str) else str(value)


def describe_ledger(ledger: Sequence[LedgerEntry]) -> str:
    """Say in words what every rule removed.

    >>> describe_ledger([LedgerEntry("duplicates", 10, 8)])
    'duplicates removed 2 of 10'
    """
    return ", ".join(f"{entry.rule} removed {entry.removed:,} of {entry.rows_in:,}" for entry in ledger)


def ledger_lines(ledger: Sequence[LedgerEntry]) -> list[str]:
    """Say what every rule removed in a line each, with an example.

    >>> ledger_lines([LedgerEntry("missing", 10, 9, ({"row": 4, "user": "u1", "item": None},))])
    ['cleaning.missing removed 1 of 10 rows, for example row 4: user=u1, item=missing']
    """
    lines = []
    for entry in ledger:
        line = f"cleaning.{entry.rule} removed {entry.removed:,} of {entry.rows_in:,} rows"
        for example in entry.examples[:1]:
            values = {name: "missing" if value is None else str(value) for name, value in example.items()}
            shown = [f"{name}={_shorten(value)}" for name, value in values.items() if name != "row"]
            more = ", ..." if len(shown) > N_COLUMNS else ""
            line += f", for example row {example['row']:,}: {', '.join(shown[:N_COLUMNS])}{more}"
        lines.append(line)
    return lines


def _shorten(text: str, limit: int = 40) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
