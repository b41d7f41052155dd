"""Logs of what was shown and what it brought (host), for off-policy evaluation: checked, and in the run's codes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curriculum_rec.data.interactions import ITEM, TIMESTAMP, USER, IdMap
from curriculum_rec.data.scores import READERS
from curriculum_rec.errors import DataError, OptionError

REWARD, PROPENSITY, POSITION, CANDIDATES = "reward", "propensity", "position", "candidates"


@dataclass(frozen=True)
class FeedbackLog:
    """What was shown to whom, what it brought, and how probable it was, one row a shown item.

    Attributes:
        user_id: The users' ids as text.
        user: int32 ``[n]``, codes; 0 is a user that the run does not know.
        item: int32 ``[n]``, codes; 0 is an item that the run does not know.
        reward: float64 ``[n]``.
        propensity: float64 ``[n]``, in (0, 1].
        position: int64 ``[n]``, the slot of a list, from 1; None where the log has no lists.
        timestamp: float64 ``[n]``, in the unit of the run's data; None where the log has none.
        candidate_items: int32, what might have been shown, row after row, codes; None where the log does not say.
        candidate_offsets: int64 ``[n + 1]``, where each row's candidates begin; None where the log does not say.
    """

    user_id: pl.Series
    user: np.ndarray
    item: np.ndarray
    reward: np.ndarray
    propensity: np.ndarray
    position: np.ndarray | None = None
    timestamp: np.ndarray | None = None
    candidate_items: np.ndarray | None = None
    candidate_offsets: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.user)

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, *, users: IdMap, items: IdMap, name: str) -> FeedbackLog:
        """Check a table and put codes for ids.

        Args:
            frame: Columns ``user``, ``item``, ``reward``, ``propensity`` and perhaps ``position``, ``timestamp`` and
                ``candidates``, a list of item ids; others are ignored.
            users: The run's users.
            items: The run's catalogue.
            name: What error messages call the table.

        Raises:
            DataError: A column is missing or a value cannot be.
        """
        missing = [column for column in (USER, ITEM, REWARD, PROPENSITY) if column not in frame.columns]
        if missing:
            raise DataError(f"{name} has no column '{missing[0]}'; it has {', '.join(frame.columns)}")
        if frame.is_empty():
            raise DataError(f"{name} has no rows")
        for column in (USER, ITEM):
            if frame[column].has_nulls():
                raise DataError(f"row {frame[column].is_null().arg_true()[0] + 1} of {name} has no {column}")
        propensity = _numbers(frame, PROPENSITY, name)
        if (wrong := (propensity <= 0) | (propensity > 1)).any():
            row = int(np.flatnonzero(wrong)[0])
            raise DataError(
                f"row {row + 1} of {name} has propensity {propensity[row]:g}: it is the probability with which the "
                "item was shown, in (0, 1]"
            )
        position = _positions(frame, name)
        listed, offsets = _candidates(frame, items, name)
        return cls(
            user_id=frame[USER].cast(pl.String),
            user=users.encode(frame[USER]),
            item=items.encode(frame[ITEM]),
            reward=_numbers(frame, REWARD, name),
            propensity=propensity,
            position=position,
            timestamp=_numbers(frame, TIMESTAMP, name) if TIMESTAMP in frame.columns else None,
            candidate_items=listed,
            candidate_offsets=offsets,
        )

    @classmethod
    def read(cls, path: Path, *, users: IdMap, items: IdMap) -> FeedbackLog:
        """Read a ``.parquet``, ``.csv`` or ``.jsonl`` file; lists of candidates need the first or the last.

        Raises:
            OptionError: The ending is another one.
            DataError: The file cannot be read or is no such table.
        """
        if path.suffix not in READERS:
            raise OptionError(f"log={path}: its ending must be one of {', '.join(READERS)}")
        if not path.is_file():
            raise DataError(f"log={path} does not exist")
        try:
            frame = READERS[path.suffix](path)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
        return cls.from_frame(frame, users=users, items=items, name=str(path))

    def take(self, chosen: np.ndarray) -> FeedbackLog:
        """Take some of the rows.

        Args:
            chosen: bool ``[n]``.
        """
        rows = np.flatnonzero(chosen)
        listed, offsets = self.candidate_items, self.candidate_offsets
        if listed is not None and offsets is not None:
            counts = np.diff(offsets)
            listed, offsets = listed[np.repeat(chosen, counts)], np.concatenate([[0], np.cumsum(counts[rows])])
        taken: dict[str, Any] = {"candidate_items": listed, "candidate_offsets": offsets}
        for name in PER_ROW:
            array = getattr(self, name)
            taken[name] = None if array is None else array[rows]
        return replace(self, user_id=self.user_id.filter(pl.Series(chosen)), **taken)


PER_ROW = ("user", "item", "reward", "propensity", "position", "timestamp")
"""The arrays of a log that have one entry a row."""


def _numbers(frame: pl.DataFrame, column: str, name: str) -> np.ndarray:
    try:
        values = frame[column].cast(pl.Float64).fill_null(np.nan).to_numpy()
    except pl.exceptions.PolarsError as error:
        raise DataError(f"column '{column}' of {name} must hold numbers; it holds {frame[column].dtype}") from error
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise DataError(f"row {row + 1} of {name} has no {column} that is a finite number")
    return values


def _positions(frame: pl.DataFrame, name: str) -> np.ndarray | None:
    if POSITION not in frame.columns:
        return None
    position = _numbers(frame, POSITION, name)
    if (wrong := (position < 1) | (position % 1 != 0)).any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(f"row {row + 1} of {name} has position {position[row]:g}: slots are whole numbers from 1")
    return position.astype(np.int64)


def _candidates(frame: pl.DataFrame, items: IdMap, name: str) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Give the candidates' codes row after row, and where each row's begin; the item itself must be among them."""
    if CANDIDATES not in frame.columns:
        return None, None
    column = frame[CANDIDATES]
    if not isinstance(column.dtype, pl.List | pl.Array):
        raise DataError(f"column '{CANDIDATES}' of {name} must hold lists of item ids; it holds {column.dtype}")
    rows = pl.DataFrame({"row": np.arange(len(frame)), "own": frame[ITEM].cast(pl.String), "listed": column})
    long = rows.explode("listed").with_columns(pl.col("listed").cast(pl.String))
    having = long.filter(pl.col("own") == pl.col("listed"))["row"].unique()
    if len(having) < len(frame):
        row = int(np.setdiff1d(np.arange(len(frame)), having.to_numpy())[0])
        raise DataError(f"row {row + 1} of {name} shows '{rows['own'][row]}', which is none of its candidates")
    counts = np.bincount(long["row"].to_numpy(), minlength=len(frame))
    return items.encode(long["listed"]), np.concatenate([[0], np.cumsum(counts)])
