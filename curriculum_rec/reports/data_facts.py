"""A data set's profile in words and numbers (host), for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from curriculum_rec.data.interactions import LedgerEntry
from curriculum_rec.data.profile import UNITS, Column, Profile, column, further_columns, profile, unit_of


@dataclass(frozen=True)
class DataDescription:
    """What is said of a data set.

    Args:
        name: What it is called.
        read: The profile of the rows as they were read.
        cleaned: The profile of what cleaning leaves, or None where it leaves nothing.
        ledger: What each cleaning rule removed.
        columns: Columns beside user, item and time.
        tables: Columns of the tables of users and items, with the tables' rows.
        notes: Sentences for the person.
    """

    name: str
    read: Profile
    cleaned: Profile | None
    ledger: Sequence[LedgerEntry]
    columns: Sequence[Column]
    tables: Mapping[str, tuple[int, Sequence[Column]]]
    notes: Sequence[str] = ()

    @property
    def unit(self) -> str | None:
        """The unit of time, as far as it can be guessed."""
        return None if self.read.times is None else unit_of(self.read.times)


def describe_data(
    name: str,
    frame: pl.DataFrame,
    cleaned: pl.DataFrame | None,
    *,
    ledger: Sequence[LedgerEntry] = (),
    tables: Mapping[str, pl.DataFrame] | None = None,
    notes: Sequence[str] = (),
) -> DataDescription:
    """Look at a data set.

    Args:
        name: What it is called.
        frame: Rows as they were read.
        cleaned: Rows that cleaning leaves, or None.
        ledger: What each cleaning rule removed.
        tables: Tables of users and items.
        notes: Sentences for the person.
    """
    looked = {
        of: (len(table), [column(table[each]) for each in table.columns if each != "id"])
        for of, table in (tables or {}).items()
    }
    after = None if cleaned is None else profile(cleaned)
    return DataDescription(name, profile(frame), after, ledger, further_columns(frame), looked, notes)


def fact_rows(description: DataDescription) -> list[list[str]]:
    """Give rows of a table: what, as read, after cleaning."""
    sides = [_facts(side, description.unit) for side in (description.read, description.cleaned) if side is not None]
    return [[name, *(side[name] for side in sides), *([] if len(sides) == 2 else ["-"])] for name in sides[0]]


FACT_HEADER = ["", "as read", "after cleaning"]
COLUMN_HEADER = ["column", "values", "distinct", "missing", "smallest", "largest", "commonest"]


def column_rows(columns: Sequence[Column]) -> list[list[str]]:
    """Give a row a column."""
    return [
        [
            each.name,
            each.kind,
            "-" if each.n_distinct is None else f"{each.n_distinct:,}",
            f"{each.n_missing:,}",
            _value(each.low),
            _value(each.high),
            "-" if each.share is None else f"{_value(each.commonest)} ({share(each.share)})",
        ]
        for each in columns
    ]


def ledger_rows(ledger: Sequence[LedgerEntry]) -> list[list[str]]:
    """Give a row a cleaning rule."""
    return [[each.rule, f"{each.rows_in:,}", f"{each.removed:,}", f"{each.rows_out:,}"] for each in ledger]


LEDGER_HEADER = ["cleaning rule", "rows in", "removed", "rows out"]


def share(value: float) -> str:
    """Write a share in percent, with as many digits as tell it from none and from all.

    >>> share(0.31090277), share(0.0), share(0.00002), share(1.0)
    ('31.1 %', '0 %', '<0.1 %', '100 %')
    """
    if 0 < value < 0.001:
        return "<0.1 %"
    return f"{100 * value:.0f} %" if value in (0.0, 1.0) else f"{100 * value:.1f} %"


def date_of(time: float, unit: str) -> datetime:
    """Turn a number since 1970 into a date (UTC)."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=time / UNITS[unit])


def _facts(side: Profile, unit: str | None) -> dict[str, str]:
    """Say what a profile holds, in the order in which a person asks."""
    lengths, popularity = side.lengths, side.popularity
    facts = {
        "interactions": f"{side.n_rows:,}",
        "users": f"{side.n_users:,}",
        "items": f"{side.n_items:,}",
        "density": share(side.density),
        "interactions a user: median, mean, most": _spread(lengths),
        "users with fewer than 3 (nothing to train on)": _part(lengths < 3),
        "interactions an item: median, mean, most": _spread(popularity),
        "items with fewer than 5": _part(popularity < 5),
        "interactions on the most popular 1 % of items": share(side.head(0.01)),
        "repeats (the user had the item before)": share(side.repeats),
    }
    if side.times is not None:
        facts |= _time_facts(side, unit)
    facts["rows equal in every column"] = f"{side.identical:,}"
    missing = {name: n for name, n in side.missing.items() if n}
    facts["missing values"] = ", ".join(f"{name} {n:,}" for name, n in missing.items()) or "none"
    return facts


def _time_facts(side: Profile, unit: str | None) -> dict[str, str]:
    assert side.times is not None  # noqa: S101 - asked only then
    times = side.times
    facts = {"first": "-", "last": "-", "span": "-"}
    if len(times) and unit is not None:
        first, last = (date_of(float(time), unit) for time in (times[0], times[-1]))
        facts = {
            "first": f"{first:%Y-%m-%d %H:%M}",
            "last": f"{last:%Y-%m-%d %H:%M}",
            "span": f"{(last - first).days} days",
        }
    elif len(times):
        facts = {"first": f"{times[0]:,}", "last": f"{times[-1]:,}", "span": f"{times[-1] - times[0]:,}"}
    if side.tied is not None:
        facts["ties (users whose last two times are equal)"] = share(side.tied)
    facts["rows with another's user, item and time"] = f"{side.same_events:,}"
    return facts


def _spread(counts: np.ndarray) -> str:
    return f"{np.median(counts):,.0f}, {counts.mean():,.1f}, {counts.max():,}" if len(counts) else "-"


def _part(flags: np.ndarray) -> str:
    return f"{flags.sum():,} ({share(float(flags.mean()))})" if len(flags) else "-"


def _value(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.6g}"
    text = (
        f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10_000 else str(value)
    )
    return text if len(text) <= 32 else text[:29] + "..."
