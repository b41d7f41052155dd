"""What a split is (host): every interaction has a part; a hash tells splits apart, promises say what leaks nowhere."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np

from curriculum_rec.data.features.owners import Features, FeatureSet, FittedFeatures
from curriculum_rec.data.inputs import Catalogue
from curriculum_rec.data.interactions import ITEM, USER, Interactions


class Part(IntEnum):
    """Which part an interaction belongs to.

    What is aside is neither trained on nor asked for: the given history of a user who is held out.
    """

    TRAIN = 0
    VALIDATION = 1
    TEST = 2
    ASIDE = 3


class Promise(StrEnum):
    """What a split keeps apart; :mod:`curriculum_rec.data.splits.promises` checks it."""

    ORDER = "order"
    """No user has a training interaction after one for validation or test, nor validation after test."""
    TIME = "time"
    """All training comes before all validation, and that before all of the test, for all users together."""
    USERS = "users"
    """No user of one part has an interaction in another one, what is aside not counted."""
    ITEMS = "items"
    """No item of the validation part is trained on, and none of the test part is trained on or validated with."""


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
        promises: What is kept apart.
        features: What is known of users and items; None for nothing.
    """

    interactions: Interactions
    part: np.ndarray
    noise: np.ndarray | None = None
    promises: tuple[Promise, ...] = ()
    features: FeatureSet | None = None

    @cached_property
    def hash(self) -> str:
        """Identify the split: equal for equal ids, order and parts, whatever file they came from."""
        data = self.interactions
        digest = hashlib.blake2b(digest_size=16)
        for piece in (data.users.digest().encode(), data.items.digest().encode(), data.user, data.item, self.part):
            digest.update(piece if isinstance(piece, bytes) else np.ascontiguousarray(piece).tobytes())
        return digest.hexdigest()

    @property
    def inputs(self) -> Catalogue:
        """What a model must know of the data."""
        return Catalogue(self.interactions.n_items, self.features)

    @property
    def codes_digest(self) -> str:
        """Identify what the items' codes mean."""
        return self.interactions.items.digest()

    def with_features(self, features: Features, fitted: FittedFeatures | None = None) -> Split:
        """Lay out what is known of users and items, by the statistics of those that training has.

        Args:
            features: What is known.
            fitted: As a run saved it; None fits to the training part.
        """
        data, chosen = self.interactions, self.part == Part.TRAIN
        if fitted is None:
            codes = {USER: (data.users, data.user), ITEM: (data.items, data.item)}
            fitted = features.fit_entities(
                {owner: ids.decode(np.unique(c[chosen])) for owner, (ids, c) in codes.items()}
            )
        return replace(self, features=FeatureSet.of(features, fitted, users=data.users, items=data.items))

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
        """List one evaluation row for every interaction of a part that has a history.

        The history is what the user did before, as far as it is known when the part is predicted: earlier parts, the
        part itself, and what is aside. So nothing of the test is in a history of the validation part.
        """
        data = self.interactions
        known = (self.part <= part) | (self.part == Part.ASIDE)
        place = np.concatenate([[0], np.cumsum(known)])  # of every row among the known ones
        where = np.flatnonzero(self.part == part)
        start, stop = place[data.user_offsets()[data.user[where]]], place[where]
        has_history = stop > start
        where, start, stop = where[has_history], start[has_history], stop[has_history]
        timestamp = None if data.timestamp is None else data.timestamp[known]
        return EvaluationRows(data.user[where], data.item[where], start, stop, data.item[known], timestamp)


@runtime_checkable
class Splitter(Protocol):
    """A rule that gives every interaction its part."""

    def __call__(self, interactions: Interactions) -> Split: ...
