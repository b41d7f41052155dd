"""Repeated rows (host)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
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

    ANY_IDS: ClassVar[bool] = True

    same: Same = "event"
    keep: Literal["first", "last"] = "first"

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Apply the rule."""
        if self.same == "event" and TIMESTAMP not in frame.columns:
            # A file with only an order: a repeat later in the history is an event of its own.
            neighbour = 1 if self.keep == "first" else -1
            repeated = pl.all_horizontal(pl.col(USER, ITEM) == pl.col(USER, ITEM).shift(neighbour))
            return frame.filter(~repeated.fill_null(value=False))
        if self.same == "row":
            columns = [column for column in frame.columns if column != ROW]
            return frame.unique(columns, keep=self.keep, maintain_order=True)
        columns = [USER, ITEM] if self.same == "user_item" else [USER, ITEM, TIMESTAMP]
        alike = perhaps_repeated(frame, columns)
        if not alike.any():
            return frame
        place = "__place__"
        among = frame.filter(pl.Series(alike)).with_columns(pl.Series(place, np.flatnonzero(alike)))
        if self.same == "user_item" and TIMESTAMP in frame.columns:
            among = among.sort(TIMESTAMP, maintain_order=True)
        stays = ~alike
        stays[among.unique(columns, keep=self.keep, maintain_order=True)[place].to_numpy()] = True
        return frame.filter(pl.Series(stays))


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
