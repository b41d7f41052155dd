"""Repeated rows (host)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from curriculum_rec.data.interactions import ITEM, TIMESTAMP, USER
from curriculum_rec.data.ledger import ROW

Same = Literal["event", "user_item", "row"]


@dataclass(frozen=True)
class DropDuplicates:
    """Remove repeated rows.

    Args:
        same: What makes two rows duplicates: ``event`` the same user, item and timestamp (without timestamps: two
            neighbouring rows), ``user_item`` the same user and item at any time, ``row`` the same values in all
            columns.
        keep: Which of them stays, by time where the data has timestamps, else by file order.
    """

    same: Same = "event"
    keep: Literal["first", "last"] = "first"

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Apply the rule."""
        if self.same == "event" and TIMESTAMP not in frame.columns:
            # A file with only an order: a repeat later in the history is an event of its own.
            neighbour = 1 if self.keep == "first" else -1
            repeated = pl.all_horizontal(pl.col(USER, ITEM) == pl.col(USER, ITEM).shift(neighbour))
            return frame.filter(~repeated.fill_null(value=False))
        columns = self._columns(frame)
        if self.same != "user_item" or TIMESTAMP not in frame.columns:
            return frame.unique(columns, keep=self.keep, maintain_order=True)
        place = "__place__"
        by_time = frame.with_row_index(place).sort(TIMESTAMP, maintain_order=True)
        return by_time.unique(columns, keep=self.keep, maintain_order=True).sort(place).drop(place)

    def _columns(self, frame: pl.DataFrame) -> list[str]:
        if self.same == "row":
            return [column for column in frame.columns if column != ROW]
        return [USER, ITEM] if self.same == "user_item" else [USER, ITEM, TIMESTAMP]
