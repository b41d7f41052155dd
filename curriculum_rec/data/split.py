"""Splits (host): every interaction gets a part; a split carries a hash, so that only like is compared with like."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np

from curriculum_rec.data.interactions import Interactions
from curriculum_rec.errors import DataError


class Part(IntEnum):
    """Which part an interaction belongs to."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2


@dataclass(frozen=True)
class EvaluationRows:
    """Questions of the form "after this history, where does the target rank?".

    Attributes:
        user: int32 ``[m]``.
        target: int32 ``[m]``, the item that did follow.
        start: int64 ``[m]``, first row of the history in ``items``.
        stop: int64 ``[m]``, one past its last row.
        items: int32 ``[n]``, the items of all interactions in order.
        timestamp: ``[n]``, their times; None where nobody knows.
    """

    user: np.ndarray
    target: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    items: np.ndarray
    timestamp: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.user)

    @property
    def lengths(self) -> np.ndarray:
        """Length of every history, int64 ``[m]``."""
        return self.stop - self.start


@dataclass(frozen=True)
class Split:
    """Interactions and the part of each.

    Attributes:
        interactions: Sorted by user and time.
        part: int8 ``[n]``, values of :class:`Part`.
        noise: bool ``[n]``, which interactions were planted; None where nothing was.
    """

    interactions: Interactions
    part: np.ndarray
    noise: np.ndarray | None = None

    @cached_property
    def hash(self) -> str:
        """Identify the split: equal for equal ids, order and parts, whatever file they came from."""
        data = self.interactions
        digest = hashlib.blake2b(digest_size=16)
        for piece in (data.users.digest().encode(), data.items.digest().encode(), data.user, data.item, self.part):
            digest.update(piece if isinstance(piece, bytes) else np.ascontiguousarray(piece).tobytes())
        return digest.hexdigest()

    def training(self) -> tuple[np.ndarray, np.ndarray]:
        """Give the training items in order and int64 offsets ``[n_users + 2]`` of every user into them."""
        chosen = self.part == Part.TRAIN
        counts = np.bincount(self.interactions.user[chosen], minlength=self.interactions.n_users + 1)
        return self.interactions.item[chosen], np.concatenate([[0], np.cumsum(counts)])

    def item_counts(self, part: Part) -> np.ndarray:
        """Count every item in the rows that are known when ``part`` is predicted, int64 ``[n_items + 1]``.

        For the training part that is the training part itself; for a later part, all parts before it.
        """
        known = self.part <= part if part == Part.TRAIN else self.part < part
        return np.bincount(self.interactions.item[known], minlength=self.interactions.n_items + 1)

    def rows(self, part: Part) -> EvaluationRows:
        """List one evaluation row for every interaction of a part that has a history."""
        data = self.interactions
        where = np.flatnonzero(self.part == part)
        start = data.user_offsets()[data.user[where]]
        has_history = where > start
        where, start = where[has_history], start[has_history]
        return EvaluationRows(data.user[where], data.item[where], start, where, data.item, data.timestamp)


@runtime_checkable
class Splitter(Protocol):
    """A rule that gives every interaction its part."""

    def __call__(self, interactions: Interactions) -> Split: ...


@dataclass(frozen=True)
class LeaveOneOut:
    """Every user's last interaction is test, the one before it validation, the rest training.

    A user with fewer than three interactions trains only.

    Source: the common protocol of sequential recommendation (Kang and McAuley, 2018).
    """

    def __call__(self, interactions: Interactions) -> Split:
        """Split.

        Raises:
            DataError: No user has three interactions.
        """
        offsets = interactions.user_offsets()
        counts = np.diff(offsets)
        from_end = np.repeat(offsets[1:], counts) - np.arange(len(interactions))
        enough = np.repeat(counts, counts) >= 3
        part = np.zeros(len(interactions), np.int8)
        part[enough & (from_end == 1)] = Part.TEST
        part[enough & (from_end == 2)] = Part.VALIDATION
        if not (part == Part.TEST).any():
            raise DataError("no user has three interactions, so that leave-one-out has nothing to test on")
        return Split(interactions, part)
