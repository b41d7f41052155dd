"""What a person checks first of data (host): counts, distributions, time, repeats, ties, duplicates, missing values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from curriculum_rec.data.interactions import ITEM, NEEDED, TIMESTAMP, USER, Interactions

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""Units of time that numbers since 1970 may have, and how many of each make a second."""
EARLIEST, LATEST = 10**8, 10**11
"""Seconds since 1970, of 1973 and of the year 5138, between which a time is believed."""


@dataclass(frozen=True)
class Profile:
    """A table of interactions in numbers. Rows without a user or an item count as rows and as missing, nowhere else.

    Attributes:
        n_rows: Rows.
        lengths: int64 ``[n_users]``, interactions of each user, ascending.
        popularity: int64 ``[n_items]``, interactions of each item, descending.
        repeats: Share of the interactions whose user had the item before or has it a second time.
        tied: Share of the users with two interactions or more whose last two have the same time; None without times.
        same_events: Rows that repeat another one's user, item and time; without times None.
        identical: Rows that repeat another one in every column.
        missing: For each column its missing values.
        times: ``[n]``, of the rows that have one, ascending; None without times.
        gaps: Time from each interaction to the same user's next, ascending; None without times.
    """

    n_rows: int
    lengths: np.ndarray
    popularity: np.ndarray
    repeats: float
    tied: float | None
    same_events: int | None
    identical: int
    missing: Mapping[str, int]
    times: np.ndarray | None
    gaps: np.ndarray | None

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.lengths)

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.popularity)

    @property
    def density(self) -> float:
        """Interactions over all pairs of a user and an item."""
        return float(self.lengths.sum()) / max(self.n_users * self.n_items, 1)

    def head(self, share: float) -> float:
        """Give the share of the interactions that a share of the items, the most popular, has.

        Args:
            share: Of the items, at least one of them.
        """
        items = max(round(share * self.n_items), 1)
        return float(self.popularity[:items].sum()) / max(float(self.popularity.sum()), 1.0)


def profile(frame: pl.DataFrame) -> Profile:
    """Count what there is.

    Args:
        frame: ``user``, ``item``, perhaps ``timestamp`` and others.

    >>> found = profile(pl.DataFrame({"user": [1, 1, 2, 1], "item": ["a", "b", "a", "a"], "timestamp": [5, 9, 7, 9]}))
    >>> found.lengths.tolist(), found.popularity.tolist(), found.repeats, found.tied
    ([1, 3], [3, 1], 0.25, 1.0)
    """
    known = frame.drop_nulls([USER, ITEM])
    plain = [name for name, kind in frame.schema.items() if not kind.is_nested()]
    times = tied = same = gaps = None
    if TIMESTAMP in frame.columns:
        timed = known.drop_nulls(TIMESTAMP).select(USER, ITEM, TIMESTAMP)
        times = np.sort(timed[TIMESTAMP].to_numpy())
        gaps, tied = _gaps(timed), _tied(timed)
        same = len(timed) - timed.n_unique()
    return Profile(
        n_rows=len(frame),
        lengths=np.sort(_counts(known, USER)),
        popularity=np.sort(_counts(known, ITEM))[::-1],
        repeats=1 - known.select(USER, ITEM).n_unique() / len(known) if len(known) else 0.0,
        tied=tied,
        same_events=same,
        identical=len(frame) - frame.select(plain).n_unique() if len(frame) else 0,
        missing={name: frame[name].null_count() for name in frame.columns},
        times=times,
        gaps=gaps,
    )


def frame_of(data: Interactions) -> pl.DataFrame:
    """Give cleaned interactions as a table again, with codes for ids."""
    columns = {USER: data.user, ITEM: data.item} | ({} if data.timestamp is None else {TIMESTAMP: data.timestamp})
    frame = pl.DataFrame(columns)
    return frame if data.columns is None else frame.hstack(data.columns)


def unit_of(times: np.ndarray) -> str | None:
    """Guess the unit of times that count from 1970; None if they are likelier to count from elsewhere.

    >>> unit_of(np.array([881_250_949, 893_286_638])), unit_of(np.array([1_238_536_800_000])), unit_of(np.array([1, 2]))
    ('s', 'ms', None)
    """
    if not len(times):
        return None
    middle = float(np.median(times))
    return next((unit for unit, n in UNITS.items() if EARLIEST * n <= middle < LATEST * n), None)


@dataclass(frozen=True)
class Column:
    """What a column holds.

    Attributes:
        name: Its name.
        kind: Its type in a word: ``number``, ``text``, ``true or false``, ``date``, ``list of ...``.
        n_distinct: Different values, missing ones aside; None for lists.
        n_missing: Missing values.
        low: The smallest number or date, or None.
        high: The largest.
        commonest: The commonest value, of a list the commonest entry.
        share: Its share of the values that are not missing, of a list of the lists that have it.
    """

    name: str
    kind: str
    n_distinct: int | None
    n_missing: int
    low: object = None
    high: object = None
    commonest: object = None
    share: float | None = None


def further_columns(frame: pl.DataFrame) -> list[Column]:
    """Look at what stands beside user, item and time."""
    return [column(frame[name]) for name in frame.columns if name not in NEEDED]


def column(values: pl.Series) -> Column:
    """Look at one column.

    >>> column(pl.Series("colour", ["red", None, "red", "blue"]))  # doctest: +ELLIPSIS
    Column(name='colour', kind='text', n_distinct=2, n_missing=1, ..., commonest='red', share=0.6666666666666666)
    """
    known = values.drop_nulls()
    if isinstance(values.dtype, pl.List):
        entries = pl.DataFrame({"row": np.arange(len(known)), "value": known}).explode("value").drop_nulls().unique()
        commonest, count = _commonest(entries["value"])
        share = count / len(known) if len(known) else None
        kind = f"list of {_kind(entries['value'])}s"
        return Column(values.name, kind, None, values.null_count(), None, None, commonest, share)
    commonest, count = _commonest(known)
    ordered = values.dtype.is_numeric() or values.dtype.is_temporal()
    low, high = (known.min(), known.max()) if ordered else (None, None)
    share = count / len(known) if len(known) else None
    return Column(values.name, _kind(values), known.n_unique(), values.null_count(), low, high, commonest, share)


def _kind(values: pl.Series) -> str:
    dtype = values.dtype
    if dtype.is_numeric():
        return "number"
    if dtype == pl.Boolean:
        return "true or false"
    return "date" if dtype.is_temporal() else "text" if dtype == pl.String else str(dtype)


def _commonest(values: pl.Series) -> tuple[object, int]:
    """Give the commonest value, of equally common ones the smallest, and how often it stands."""
    if not len(values) or values.dtype.is_nested():
        return None, 0
    counts = values.rename("value").value_counts(name="n").sort("n", "value", descending=[True, False])
    return counts["value"][0], int(counts["n"][0])


def _counts(frame: pl.DataFrame, name: str) -> np.ndarray:
    return frame.group_by(name).len()["len"].to_numpy().astype(np.int64)


def _gaps(timed: pl.DataFrame) -> np.ndarray:
    gaps = timed.sort(USER, TIMESTAMP).select(pl.col(TIMESTAMP).diff().over(USER, mapping_strategy="group_to_rows"))
    return np.sort(gaps[TIMESTAMP].drop_nulls().to_numpy())


def _tied(timed: pl.DataFrame) -> float:
    """Give the share of users, of those with two rows or more, whose last two times are equal."""
    last = timed.group_by(USER).agg(pl.col(TIMESTAMP).sort().tail(2))[TIMESTAMP]
    pairs = last.filter(last.list.len() == 2)
    return float((pairs.list.first() == pairs.list.last()).to_numpy().mean()) if len(pairs) else 0.0
