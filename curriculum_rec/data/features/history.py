"""What a user liked before (host): the item of a row, and the items of the user's earlier training rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from curriculum_rec.data.features.categorical import Vocabulary, as_text
from curriculum_rec.data.features.contract import Fitted
from curriculum_rec.data.features.schema import Field, Schema
from curriculum_rec.data.interactions import ITEM, TIMESTAMP, USER, IdMap
from curriculum_rec.data.values import numbers_of
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.ranges import at_least, check_ranges


@dataclass(frozen=True)
class History:
    """The code of a row's item, and the codes of the newest items that its user had, or liked, before.

    What counts are training rows at a time before the row's own. So a history holds neither the row's own label, nor
    one of a validation or test row, nor one of the same moment; that of a new row ends where training ended.

    Args:
        user: The column of users.
        item: The column of items.
        timestamp: The column of times, numbers of any unit.
        label: The column that says which earlier rows count; None counts all.
        positive_from: What that column must at least be for a row to count.
        length: Most items of a history, at least 1; the newest stay.
        min_count: Items with fewer training rows share a code, as :class:`~curriculum_rec.data.features.Categorical`
            has it.
    """

    user: str = USER
    item: str = ITEM
    timestamp: str = TIMESTAMP
    label: str | None = None
    positive_from: float | None = None
    length: int = 20
    min_count: int = 1

    def __post_init__(self) -> None:
        check_ranges(self, "features", {"length": at_least(1), "min_count": at_least(1)})
        if (self.label is None) != (self.positive_from is None):
            raise OptionError(
                "features: the label of a history and positive_from go together: rows count whose label is at least "
                "that; leave out both to count all rows"
            )

    def fit(self, frame: pl.DataFrame, *, name: str) -> Fitted:
        """Keep who had what when.

        Raises:
            DataError: No row comes after one that counts.
        """
        items = as_text(frame, self.item)
        vocabulary = Vocabulary.of(items, self.min_count)
        rows = pl.DataFrame(
            {
                "user": as_text(frame, self.user),
                "time": numbers_of(frame, self.timestamp, wanted_by="features"),
                "code": vocabulary.encode(items),
            }
        )
        counts = pl.Series(np.ones(len(rows), bool))
        if self.label is not None:
            counts = (numbers_of(frame, self.label, wanted_by="features") >= self.positive_from).fill_null(value=False)
        rows = rows.filter(counts & (rows["code"] > 0)).drop_nulls()
        users, owner = IdMap.number(rows["user"])
        order = np.lexsort((rows["time"].to_numpy(), owner))
        begin = np.searchsorted(owner[order], np.arange(1, len(users) + 2))
        fitted = FittedHistory(
            name,
            self.user,
            self.item,
            self.timestamp,
            self.length,
            vocabulary,
            tuple(users.ids.cast(pl.String).to_list()),
            begin.astype(np.int64),
            rows["time"].to_numpy()[order],
            rows["code"].to_numpy()[order],
        )
        if not fitted.transform(frame)[:, 1:].any():
            raise DataError(
                f"features: {name} is a history, and by the columns '{self.user}' and '{self.timestamp}' no training "
                "row has one: nothing that counts comes before another row of its user"
            )
        return fitted


@dataclass(frozen=True)
class FittedHistory:
    """See :class:`History`.

    Attributes:
        name: Of the feature.
        user: The column of users.
        item: The column of items.
        timestamp: The column of times.
        length: Most items of a history.
        vocabulary: The items' codes.
        users: Those that have a row that counts.
        begin: Where the rows of each begin, and where the last one's end, int64 ``[n_users + 1]``.
        time: float64 ``[n]``, ascending for each user.
        code: int32 ``[n]``, of the items.
    """

    name: str
    user: str
    item: str
    timestamp: str
    length: int
    vocabulary: Vocabulary
    users: tuple[str, ...]
    begin: np.ndarray
    time: np.ndarray
    code: np.ndarray

    @property
    def fields(self) -> Schema:
        """The item of the row, and the history that shares its codes."""
        size = self.vocabulary.size
        return (
            Field(f"{self.name}.{self.item}", "categorical", size, 1),
            Field(self.name, "history", size, self.length),
        )

    def transform(self, frame: pl.DataFrame) -> np.ndarray:
        """Give int32 codes ``[n, 1 + length]``: that of the item, and those before, newest first."""
        own = self.vocabulary.encode(as_text(frame, self.item))
        time = numbers_of(frame, self.timestamp, wanted_by="features").fill_null(-np.inf).to_numpy()
        user = IdMap(pl.Series("id", self.users, dtype=pl.String)).encode(as_text(frame, self.user)) - 1
        stop = self._stops(user, time)
        begin = np.where(user >= 0, self.begin[user], stop)
        place = stop[:, None] - 1 - np.arange(self.length)
        before = np.append(self.code, 0)[np.where(place >= begin[:, None], place, len(self.code))]
        return np.concatenate([own[:, None], before], axis=1).astype(np.int32)

    def _stops(self, user: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Say where the rows of a user end that are before a time, int64 ``[n]``."""
        moments = np.unique(self.time)
        owner = np.repeat(np.arange(len(self.users)), np.diff(self.begin))
        # Whole numbers that sort by user and then by time, so that one search serves all users.
        known = owner * (len(moments) + 1) + np.searchsorted(moments, self.time)
        return np.searchsorted(known, user.astype(np.int64) * (len(moments) + 1) + np.searchsorted(moments, time))
