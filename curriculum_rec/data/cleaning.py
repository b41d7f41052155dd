"""Cleaning rules (host): each takes a frame of interactions and returns it with fewer rows, order kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from curriculum_rec.data.interactions import ITEM, NEEDED, TIMESTAMP, USER
from curriculum_rec.ranges import at_least, check_ranges


@dataclass(frozen=True)
class DropMissing:
    """Remove rows in which user, item or timestamp is missing (empty or null)."""

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Apply the rule."""
        return frame.drop_nulls([column for column in NEEDED if column in frame.columns])


@dataclass(frozen=True)
class DropDuplicates:
    """Remove repeated rows.

    Args:
        same: What makes two rows duplicates: ``event`` the same user, item and timestamp (without timestamps: two
            neighbouring rows), ``user_item`` the same user and item at any time.
        keep: Which of them stays, by time where the data has timestamps, else by file order.
    """

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
        if self.same == "event" or TIMESTAMP not in frame.columns:
            return frame.unique(columns, keep=self.keep, maintain_order=True)
        row = "__row__"
        by_time = frame.with_row_index(row).sort(TIMESTAMP, maintain_order=True)
        return by_time.unique(columns, keep=self.keep, maintain_order=True).sort(row).drop(row)


@dataclass(frozen=True)
class KCore:
    """Remove rare users and items, again and again until none is left that is too rare.

    Args:
        min_user_interactions: Fewest rows that a user keeps.
        min_item_interactions: Fewest rows that an item keeps.

    Source: the k-core of the bipartite user-item graph (Seidman, 1983).
    """

    min_user_interactions: int = 5
    min_item_interactions: int = 5

    def __post_init__(self) -> None:
        check_ranges(self, "", {"min_user_interactions": at_least(1), "min_item_interactions": at_least(1)})

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Apply the rule."""
        while True:
            kept = frame.filter(pl.len().over(USER) >= self.min_user_interactions)
            kept = kept.filter(pl.len().over(ITEM) >= self.min_item_interactions)
            if len(kept) == len(frame):
                return frame
            frame = kept
