"""Planted false positives (host): interactions that never happened, in the training part, with a mask that tells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Protocol, get_args, runtime_checkable

import numpy as np
import polars as pl

from curriculum_rec.data.splits import Part, Promise, Split
from curriculum_rec.data.task import Task
from curriculum_rec.ranges import BELOW_ONE, POSITIVE, check_ranges, one_of
from curriculum_rec.streams import host_stream

Items = Literal["uniform", "popularity"]
How = Literal["insert", "replace"]
BLOCK = 2**22
"""Users times items that are drawn at once."""


@runtime_checkable
class Noise(Protocol):
    """A rule that spoils the training part of a split and marks what it planted."""

    def __call__(self, split: Split, *, seed: int) -> Split: ...


@dataclass(frozen=True)
class PlantedNoise:
    """Plants items that a user never interacted with, in any part, into the user's training history.

    Validation and test targets are untouched and never planted, nor are items of which a split promises that nothing
    is trained on. The planted items are part of the log: a model meets
    them in the histories at evaluation and inference too, where they are filtered as seen, and MostPop counts them.
    So every model at one rate answers the same questions; a difference between rates is what the noise costs while
    training and while predicting together.

    Args:
        rate: Planted interactions as a share of the real training interactions, at least 0 and below 1.
        items: ``uniform`` draws every item that the user has not met alike, ``popularity`` in proportion to one more
            than its training count. No user gets an item twice.
        how: ``insert`` puts them at random places among the real interactions and keeps all of these; ``replace`` puts
            each in the place of a real one, at least one of which every user keeps.
        concentration: None gives all users the same rate; a number above 0 draws each user's own from
            ``Beta(rate c, (1 - rate) c)``, whose mean is ``rate``: the smaller, the more users differ.

    Source: adding a share of false interactions to the training part is the common test of robustness (Wu et al.,
        Self-supervised Graph Learning for Recommendation, 2021). False positives as such: Wang et al., Denoising
        Implicit Feedback for Recommendation (2021).
    """

    TASK: ClassVar[Task] = "next_item"

    rate: float = 0.2
    items: Items = "uniform"
    how: How = "insert"
    concentration: float | None = None

    def __post_init__(self) -> None:
        ranges = {
            "rate": BELOW_ONE,
            "items": one_of(*get_args(Items)),
            "how": one_of(*get_args(How)),
            "concentration": POSITIVE.or_null(),
        }
        check_ranges(self, "noise", ranges)

    def __call__(self, split: Split, *, seed: int) -> Split:
        """Plant.

        Args:
            split: The real interactions.
            seed: Decides what is planted where; runs of one seed share their noise.

        Returns:
            The split with the planted interactions, each of the training part, and their mask.
        """
        stream = host_stream(seed, "noise")
        wanted = self._count(split, stream)
        user = np.repeat(np.arange(len(wanted), dtype=np.int32), wanted)
        item = self._draw_items(split, wanted, stream)
        if self.how == "replace":
            return _replaced(split, wanted, item, stream)
        return _inserted(split, user, item, stream)

    def _count(self, split: Split, stream: np.random.Generator) -> np.ndarray:
        """Give how many interactions each user gets, int64 ``[n_users + 1]``."""
        data = split.interactions
        n_real = _training_counts(split)
        rate: float | np.ndarray = self.rate
        if self.concentration is not None and self.rate > 0:
            rate = stream.beta(self.rate * self.concentration, (1 - self.rate) * self.concentration, len(n_real))
        # One random offset for all users: each gets its expected number rounded up or down, and so do all together.
        edges = np.floor(np.concatenate([[0.0], np.cumsum(rate * n_real)]) + stream.random()).astype(np.int64)
        user, item = np.divmod(np.unique(data.user.astype(np.int64) * (data.n_items + 1) + data.item), data.n_items + 1)
        may_be_planted = _may_be_planted(split)
        met = np.bincount(user[may_be_planted[item - 1]], minlength=len(n_real))
        unmet = np.count_nonzero(may_be_planted) - met
        most = np.maximum(n_real - 1, 0) if self.how == "replace" else unmet
        return np.minimum(np.diff(edges), np.minimum(most, unmet))

    def _draw_items(self, split: Split, wanted: np.ndarray, stream: np.random.Generator) -> np.ndarray:
        """Draw each user's items without repetition, int32 ``[planted]``, users in order.

        Source: the smallest of exponential times with the weights as rates (Efraimidis and Spirakis, 2006).
        """
        data = split.interactions
        weight = split.item_counts(Part.TRAIN)[1:] + 1.0 if self.items == "popularity" else np.ones(data.n_items)
        weight = np.where(_may_be_planted(split), weight, 0.0)
        users, drawn = np.flatnonzero(wanted), [np.zeros(0, np.int32)]
        for block in np.array_split(users, -(-len(users) * data.n_items // BLOCK) or 1):
            if not len(block):
                continue
            with np.errstate(divide="ignore"):
                time = stream.standard_exponential((len(block), data.n_items)) / weight
            row = np.full(data.n_users + 1, -1)
            row[block] = np.arange(len(block))
            met = row[data.user] >= 0
            time[row[data.user[met]], data.item[met] - 1] = np.inf
            most = int(wanted[block].max())
            first = np.argpartition(time, most - 1, axis=1)[:, :most]
            order = np.argsort(np.take_along_axis(time, first, axis=1), axis=1)
            first = np.take_along_axis(first, order, axis=1)
            drawn.append((first[np.arange(most) < wanted[block][:, None]] + 1).astype(np.int32))
        return np.concatenate(drawn)


def planted_interactions(split: Split) -> pl.DataFrame:
    """List what was planted, in original ids.

    Returns:
        Columns ``user``, ``position`` (place in the user's training history, from 1) and ``item``.
    """
    data = split.interactions
    where = np.zeros(0, np.int64) if split.noise is None else np.flatnonzero(split.noise)
    return pl.DataFrame(
        {
            "user": data.users.decode(data.user[where]),
            "position": where - data.user_offsets()[data.user[where]] + 1,
            "item": data.items.decode(data.item[where]),
        }
    )


def _may_be_planted(split: Split) -> np.ndarray:
    """Tell of every item whether it may come into the training part, bool ``[n_items]``."""
    if Promise.ITEMS in split.promises:
        return split.item_counts(Part.TRAIN)[1:] > 0
    return np.ones(split.interactions.n_items, bool)


def _training_counts(split: Split) -> np.ndarray:
    data = split.interactions
    return np.bincount(data.user[split.part == Part.TRAIN], minlength=data.n_users + 1)


def _inserted(split: Split, user: np.ndarray, item: np.ndarray, stream: np.random.Generator) -> Split:
    """Put each interaction before one of the user's training rows, or after the last of them."""
    data, n_real = split.interactions, _training_counts(split)
    rows = np.flatnonzero(split.part == Part.TRAIN)
    begin = np.cumsum(n_real) - n_real
    slot = stream.integers(n_real[user] + 1)
    at_end = slot == n_real[user]
    beside = rows[begin[user] + slot - at_end]
    where, fraction = beside + at_end, stream.random(len(user))
    order = np.lexsort((fraction, where, user))
    user, item, beside, where, fraction = (array[order] for array in (user, item, beside, where, fraction))

    def with_planted(real: np.ndarray, planted: np.ndarray | int | bool) -> np.ndarray:
        return np.insert(real, np.asarray(where, np.int64), planted)

    timestamp, source = data.timestamp, data.source
    if timestamp is not None:
        # Where all training is promised to come first, what is planted last must not reach into what comes later.
        can_follow = (split.part == Part.TRAIN) | (Promise.TIME not in split.promises)
        times = _times_between(timestamp, data.user, user, where, fraction, can_follow=can_follow)
        timestamp = with_planted(timestamp, times)
    noisy = replace(
        data,
        user=with_planted(data.user, user),
        item=with_planted(data.item, item),
        timestamp=timestamp,
        source=None if source is None else with_planted(source, source[beside]),
        columns=_columns(data.columns, with_planted(np.arange(len(data)), -1)),
    )
    noise = with_planted(np.zeros(len(data), bool), planted=True)
    return replace(split, interactions=noisy, part=with_planted(split.part, int(Part.TRAIN)), noise=noise)


def _times_between(
    timestamp: np.ndarray,
    user_of_row: np.ndarray,
    user: np.ndarray,
    where: np.ndarray,
    fraction: np.ndarray,
    *,
    can_follow: np.ndarray,
) -> np.ndarray:
    """Give times between those of the user's rows before and after; outside them, that of the nearest."""
    before, after = np.maximum(where - 1, 0), np.minimum(where, len(timestamp) - 1)
    before, after = (
        np.where(user_of_row[before] == user, before, after),
        np.where((user_of_row[after] == user) & can_follow[after], after, before),
    )
    return timestamp[before] + (fraction * (timestamp[after] - timestamp[before])).astype(timestamp.dtype)


def _replaced(split: Split, wanted: np.ndarray, item: np.ndarray, stream: np.random.Generator) -> Split:
    """Put each interaction in the place of a training row of its user."""
    data, n_real = split.interactions, _training_counts(split)
    rows = np.flatnonzero(split.part == Part.TRAIN)
    user = data.user[rows]
    order = np.lexsort((stream.random(len(rows)), user))
    place = np.arange(len(rows)) - (np.cumsum(n_real) - n_real)[user]
    chosen = rows[order[place < wanted[user]]]
    noisy, noise = data.item.copy(), np.zeros(len(data), bool)
    noisy[chosen], noise[chosen] = item, True
    columns = _columns(data.columns, np.where(noise, -1, np.arange(len(data))))
    return replace(split, interactions=replace(data, item=noisy, columns=columns), noise=noise)


def _columns(columns: pl.DataFrame | None, row: np.ndarray) -> pl.DataFrame | None:
    """Take rows of the further columns; of what is planted (row -1) nothing is said."""
    index = pl.Series(row.astype(np.int64))
    return None if columns is None else columns.select(pl.all().gather(index.set(index < 0, None)))
