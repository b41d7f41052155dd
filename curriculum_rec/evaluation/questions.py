"""What is asked (host): one question a held-out item, or one a user with all of its held-out items together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from curriculum_rec.data.padded import pad_left_aligned
from curriculum_rec.data.splits import EvaluationRows
from curriculum_rec.evaluation.mostpop import seen_pairs

Targets = Literal["each", "together"]
"""Whether each held-out item is a question after all before it, or all of a user's are one after what came before."""


@dataclass(frozen=True)
class LeftOut:
    """Which items are no candidates in which rows, as different pairs sorted by row.

    Attributes:
        row: int64 ``[n]``.
        item: int ``[n]``.
        n_rows: How many rows there are.
    """

    row: np.ndarray
    item: np.ndarray
    n_rows: int

    @classmethod
    def of(cls, row: np.ndarray, item: np.ndarray, n_rows: int) -> LeftOut:
        """Sort pairs and leave out those that repeat another."""
        size = int(item.max(initial=0)) + 1
        return cls(*np.divmod(np.unique(row.astype(np.int64) * size + item), size), n_rows)

    @cached_property
    def offsets(self) -> np.ndarray:
        """Where each row's items begin, int64 ``[n_rows + 1]``."""
        return np.concatenate([[0], np.cumsum(np.bincount(self.row, minlength=self.n_rows))])

    def padded(self, chosen: np.ndarray) -> np.ndarray:
        """Give the items of some rows, int32 ``[n, longest]``, 0 where there are fewer."""
        start, stop = self.offsets[chosen], self.offsets[chosen + 1]
        return pad_left_aligned(self.item, start, stop, max(int((stop - start).max()), 1))


@dataclass(frozen=True)
class Questions:
    """The questions of a part: one row a relevant item, those of a question beside each other.

    Attributes:
        rows: History and relevant item of every row; all rows of a question have the same history.
        question: Which question each row belongs to, int64 ``[m]`` from 0, not falling.
        filter_seen: Whether items of the history are no candidates; relevant ones always are.
    """

    rows: EvaluationRows
    question: np.ndarray
    filter_seen: bool

    @classmethod
    def of(cls, rows: EvaluationRows, targets: Targets, *, filter_seen: bool) -> Questions:
        """Make questions of evaluation rows, one a held-out item as a split lists them.

        Together, a user's relevant items are the different ones of its rows, and the history is that of the first row:
        what the user did before the first held-out item that has a history. So nothing that is asked for, and nothing
        later, is known.
        """
        if targets == "each":
            return cls(rows, np.arange(len(rows)), filter_seen)
        size = int(rows.target.max(initial=0)) + 1
        _, kept = np.unique(rows.user.astype(np.int64) * size + rows.target, return_index=True)
        kept = kept[np.lexsort((kept, rows.user[kept]))]
        users, first, question = np.unique(rows.user, return_index=True, return_inverse=True)
        question = question[kept]
        begin = first[question]
        together = EvaluationRows(
            users[question], rows.target[kept], rows.start[begin], rows.stop[begin], rows.items, rows.timestamp
        )
        return cls(together, question, filter_seen)

    def __len__(self) -> int:
        return int(self.question[-1]) + 1 if len(self.question) else 0

    @cached_property
    def first(self) -> np.ndarray:
        """The first row of each question, int64 ``[q]``."""
        return np.flatnonzero(np.diff(self.question, prepend=-1))

    @property
    def one_each(self) -> bool:
        """Whether every question has one relevant item."""
        return len(self) == len(self.question)

    @property
    def user(self) -> np.ndarray:
        """Who is asked, int32 ``[q]``."""
        return self.rows.user[self.first]

    @property
    def left_out(self) -> LeftOut:
        """What is no candidate in which row: what was seen, relevant items aside.

        Made anew each time, since it is larger than all else.
        """
        return self._seen(self.rows, self.question)

    @property
    def not_listed(self) -> LeftOut:
        """The same question by question."""
        return self._seen(self.asked, np.arange(len(self)))

    def _seen(self, rows: EvaluationRows, question: np.ndarray) -> LeftOut:
        if not self.filter_seen:
            return LeftOut(np.zeros(0, np.int64), np.zeros(0, np.int64), len(rows))
        row, item = seen_pairs(rows)
        if not self.one_each:
            size = int(max(item.max(initial=0), self.rows.target.max(initial=0))) + 1
            relevant = np.isin(question[row] * size + item, self.question * size + self.rows.target)
            row, item = row[~relevant], item[~relevant]
        return LeftOut(row, item, len(rows))

    @cached_property
    def asked(self) -> EvaluationRows:
        """One row a question, whose target is the first relevant item."""
        rows, first = self.rows, self.first
        if self.one_each:
            return rows
        return EvaluationRows(
            rows.user[first], rows.target[first], rows.start[first], rows.stop[first], rows.items, rows.timestamp
        )

    @cached_property
    def n_left_out(self) -> np.ndarray:
        """How many items are no candidates, int64 ``[q]``."""
        return np.diff(self.not_listed.offsets)

    @cached_property
    def n_relevant(self) -> np.ndarray:
        """How many items are relevant, int64 ``[q]``."""
        return np.diff(self.first, append=len(self.question))
