"""Cleaning rules (host): each takes a frame of interactions and returns it with fewer rows, order kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import polars as pl

from curriculum_rec.data.interactions import ITEM, NEEDED, TIMESTAMP, USER
from curriculum_rec.data.numbering import count, places
from curriculum_rec.ranges import at_least, check_ranges


@dataclass(frozen=True)
class DropMissing:
    """Remove rows in which user, item or timestamp is missing (empty or null)."""

    ANY_IDS: ClassVar[bool] = True

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Apply the rule."""
        needed = [column for column in NEEDED if column in frame.columns and frame[column].has_nulls()]
        return frame.drop_nulls(needed) if needed else frame


@dataclass(frozen=True)
class DropDuplicates:
    """Remove repeated rows.

    Args:
        same: What makes two rows duplicates: ``event`` the same user, item and timestamp (without timestamps: two
            neighbouring rows), ``user_item`` the same user and item at any time.
        keep: Which of them stays, by time where the data has timestamps, else by file order.
    """

    ANY_IDS: ClassVar[bool] = True

    same: Literal["event", "user_item"] = "event"
    keep: Literal["first", "last"] = "first"

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Apply the rule."""
        if self.same == "event" and TIMESTAMP not in frame.columns:
            # A file with only an order: a repeat later in the history is an event of its own.
            neighbour = 1 if self.keep == "first" else -1
            repeated = pl.all_horizontal(pl.col(USER, ITEM) == pl.col(USER, ITEM).shift(neighbour))
            return frame.filter(~repeated.fill_null(value=False))
        columns = [USER, ITEM] if self.same == "user_item" else [USER, ITEM, TIMESTAMP]
        alike = perhaps_repeated(frame, columns)
        if not alike.any():
            return frame
        row = "__number__"
        among = frame.filter(pl.Series(alike)).with_columns(pl.Series(row, np.flatnonzero(alike)))
        if self.same == "user_item" and TIMESTAMP in frame.columns:
            among = among.sort(TIMESTAMP, maintain_order=True)
        stays = ~alike
        stays[among.unique(columns, keep=self.keep, maintain_order=True)[row].to_numpy()] = True
        return frame.filter(pl.Series(stays))


@dataclass(frozen=True)
class KCore:
    """Remove rare users and items, again and again until none is left that is too rare.

    Args:
        min_user_interactions: Fewest rows that a user keeps.
        min_item_interactions: Fewest rows that an item keeps.

    Source: the k-core of the bipartite user-item graph (Seidman, 1983).
    """

    ANY_IDS: ClassVar[bool] = True

    min_user_interactions: int = 5
    min_item_interactions: int = 5

    def __post_init__(self) -> None:
        check_ranges(self, "", {"min_user_interactions": at_least(1), "min_item_interactions": at_least(1)})

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Apply the rule."""
        if frame.is_empty():
            return frame
        fewest = {USER: self.min_user_interactions, ITEM: self.min_item_interactions}
        value = {name: places(frame[name]) for name in fewest}
        n_values = {name: int(place.max()) + 1 for name, place in value.items()}
        stays, n_before = np.ones(len(frame), bool), -1
        while n_before != len(value[USER]):
            n_before = len(value[USER])
            for name, least in fewest.items():
                n_rows = count(value[name], n_values[name])
                if ((n_rows > 0) & (n_rows < least)).any():
                    often = (n_rows >= least)[value[name]]
                    stays[stays] = often
                    value = {each: place[often] for each, place in value.items()}
        return frame if n_before == len(frame) else frame.filter(pl.Series(stays))


def perhaps_repeated(frame: pl.DataFrame, columns: list[str]) -> np.ndarray:
    """Mark every row that is equal to another one in some columns, bool ``[n]``, and now and then one that is not.

    Rows that are equal have equal hashes, which sort faster than the rows themselves.
    """
    by_number = (pl.col(pl.Float32, pl.Float64) + 0.0, pl.col(pl.Enum).to_physical())  # -0.0 is 0.0
    hashes = frame.select(columns).with_columns(*by_number).hash_rows()
    ordered = hashes.sort().to_numpy()
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(twice):
        return np.zeros(len(frame), bool)
    return hashes.is_in(pl.Series(twice).unique().implode()).to_numpy()
