"""What a store holds, as interactions, a split and examples (host), of which a run has only what it asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl

from curriculum_rec.data.examples import POSITIVES, Bucket, Examples, Histories, Origin, SequenceExamples, filling
from curriculum_rec.data.interactions import ITEM, TIMESTAMP, IdMap, Interactions
from curriculum_rec.data.padded import Flat, Padded
from curriculum_rec.data.splits import EvaluationRows, Part, Split
from curriculum_rec.data.store.arrow import map_columns
from curriculum_rec.data.store.columns import Column, PartOfRow, UserOfRow
from curriculum_rec.data.store.manifest import ITEMS, USERS, Manifest
from curriculum_rec.errors import OptionError
from curriculum_rec.streams import host_stream

BLOCK_TARGETS = 2**20
"""Targets that are in memory at once while a difficulty goes over all of them."""


def nothing() -> np.ndarray:
    """Stand for an array that a store always has."""
    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class StoredInteractions(Interactions):
    """Interactions whose rows lie in a store.

    Attributes:
        offsets: As :meth:`user_offsets` gives them.
    """

    user: Flat  # type: ignore[assignment]
    item: Flat  # type: ignore[assignment]
    timestamp: Flat | None  # type: ignore[assignment]
    offsets: np.ndarray = field(default_factory=nothing)

    def user_offsets(self) -> np.ndarray:
        """Give int64 ``[n_users + 2]``: the rows of user ``u`` are ``offsets[u]:offsets[u + 1]``."""
        return self.offsets


@dataclass(frozen=True)
class StoredSplit(Split):
    """A split whose rows lie in a store.

    Attributes:
        sizes: Rows of each part of each user, int64 ``[n_users + 1, n_parts]``; a user's parts follow each other.
        of_item: The same of each item, ``[n_items + 1, n_parts]``.
        known_hash: The split's hash.
        evaluated_users: How many users of each part are asked for; None takes all.
    """

    interactions: StoredInteractions
    part: Flat  # type: ignore[assignment]
    sizes: np.ndarray = field(default_factory=nothing)
    of_item: np.ndarray = field(default_factory=nothing)
    known_hash: str = ""
    evaluated_users: int | None = None

    @property
    def hash(self) -> str:
        """Identify the split, as that of the same data in memory."""
        return self.known_hash

    def item_counts(self, part: Part) -> np.ndarray:
        """Count every item in the rows that are known when ``part`` is predicted, int64 ``[n_items + 1]``."""
        return self.of_item[:, : part + 1 if part == Part.TRAIN else part].sum(axis=1)

    def rows(self, part: Part) -> EvaluationRows:
        """List the evaluation rows, with the histories that they need and no others."""
        data, per_user = self.interactions, self.sizes[:, part]
        users = np.flatnonzero(per_user)
        if self.evaluated_users is not None and len(users) > self.evaluated_users:
            chosen = host_stream(0, f"evaluated users {part.name}").permutation(len(users))[: self.evaluated_users]
            users = users[np.sort(chosen)]
        begin = data.offsets[users] + self.sizes[users, :part].sum(axis=1)
        n = per_user[users]
        owner = np.repeat(np.arange(len(users)), n)
        where = np.repeat(begin - (np.cumsum(n) - n), n) + np.arange(n.sum())
        has_history = where > data.offsets[users][owner]
        owner, where = owner[has_history], where[has_history]
        begins, ends = data.offsets[users], data.offsets[users + 1]
        lengths = ends - begins
        moved = np.cumsum(lengths) - lengths - begins  # from the place in the store to that among what is read
        items = read_slices(data.item, begins, ends)
        return EvaluationRows(
            users[owner].astype(np.int32),
            items[where + moved[owner]],
            (begins + moved)[owner],
            where + moved[owner],
            items,
        )


@dataclass(frozen=True)
class Known(Padded):
    """Each user's own items in ascending order, filled up with what is larger than any item."""

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        items = super().__getitem__(rows)
        return np.sort(np.where(items > 0, items, filling(POSITIVES)), axis=-1).astype(np.int32)

    def take(self, rows: np.ndarray) -> Known:
        """Take some rows, without reading them."""
        return Known(self.items, self.start[rows], self.stop[rows], self.length)


@dataclass(frozen=True)
class Reading:
    """How rows are read while a run trains.

    Attributes:
        threads: How many read ahead; 0 reads when a batch is needed.
        ahead: Steps that are read ahead.
    """

    threads: int
    ahead: int


@dataclass(frozen=True)
class StoredExamples(Examples):
    """Examples whose rows lie in a store, and are read when batches need them.

    Attributes:
        stop: Where the last target of each example ends among the store's rows, int64 ``[n]``.
        n_targets: Targets of each example, int64 ``[n]``.
        columns: The store's columns.
        reading: How rows are read.
    """

    IN_MEMORY: ClassVar[bool] = False

    stop: np.ndarray = field(default_factory=nothing)
    n_targets: np.ndarray = field(default_factory=nothing)
    columns: Mapping[str, Flat] = field(default_factory=dict)
    reading: Reading | None = None

    @cached_property
    def target_offsets(self) -> np.ndarray:
        """Where the targets of each example would begin if they were in memory, int64 ``[n + 1]``."""
        return np.concatenate([[0], np.cumsum(self.n_targets)])

    @property
    def targets(self) -> np.ndarray:
        """Not to be had.

        Raises:
            OptionError: Always.
        """
        raise _too_many("all single targets at once")

    inputs = targets

    def collect_targets(self, grids: Sequence[np.ndarray]) -> np.ndarray:
        """Not to be had."""
        raise _too_many("a value for every single target")

    def spread_targets(self, values: np.ndarray, *, padding: int) -> list[np.ndarray]:
        """Not to be had."""
        raise _too_many("a value for every single target")

    def with_target_arrays(self, named: Mapping[str, np.ndarray]) -> Examples:
        """Carry nothing: there is no room for a value a target."""
        return super().with_target_arrays(named) if named else self

    def with_times(self) -> Examples:
        """Not to be had."""
        raise OptionError(
            "data=store tells models no times of items: leave the time out by model.time_features=none, and of hstu by "
            "model.bias=position too, or read the data into memory (data=table)"
        )

    def with_positives(self) -> Examples:
        """Add the array ``positives`` to every bucket, whose rows are put together when batches need them."""
        if self.histories is None or all(POSITIVES in bucket.arrays for bucket in self.buckets):
            return self
        buckets = []
        for bucket in self.buckets:
            start, stop = self.histories.start[bucket.example], self.histories.stop[bucket.example]
            known = Known(self.histories.items, start, stop, int((stop - start).max()))
            buckets.append(replace(bucket, arrays={**bucket.arrays, POSITIVES: known}))
        return replace(self, buckets=tuple(buckets))

    def take(self, chosen: np.ndarray) -> StoredExamples:
        """Take some of the examples, numbered anew in the same order; the items' counts stay those of all."""
        fewer = replace(self, stop=self.stop[chosen], n_targets=self.n_targets[chosen])
        taken = super().take(chosen)
        changed = {name: getattr(taken, name) for name in ("buckets", "histories", "origin")}
        return replace(fewer, **changed)

    def blocks(self) -> Iterator[Examples]:
        """Give all examples, in order and some at a time, as examples in memory."""
        ends = np.searchsorted(self.target_offsets, np.arange(BLOCK_TARGETS, self.target_offsets[-1], BLOCK_TARGETS))
        bounds = np.unique([0, *ends, len(self)])
        for begin, stop in pairwise(bounds.tolist()):
            yield self._block(begin, stop)

    def _block(self, begin: int, stop: int) -> Examples:
        """Read neighbouring examples."""
        end, n = self.stop[begin:stop], self.n_targets[begin:stop]
        slices = end - n - 1, end
        items = read_slices(self.columns[ITEM], *slices)
        ends = np.cumsum(n + 1)
        buckets = []
        for length in sorted({int(size) for size in 2 ** np.ceil(np.log2(np.unique(n)))}):
            chosen = np.flatnonzero((n <= length) & (2 * n > length))
            last, size = ends[chosen], n[chosen]
            arrays = {
                "history": np.asarray(Padded(items, last - size - 1, last - 1, length)),
                "target": np.asarray(Padded(items, last - size, last, length)),
            }
            buckets.append(Bucket(arrays, chosen.astype(np.int32), 8))
        times = gaps = None
        if TIMESTAMP in self.columns:
            time = read_slices(self.columns[TIMESTAMP], *slices).astype(np.float64)
            rows = np.delete(np.arange(len(time)), ends - n - 1)
            times, gaps = time[rows], time[rows] - time[rows - 1]
        return Examples(tuple(buckets), self.item_counts, gaps, times)


def _too_many(what: str) -> OptionError:
    return OptionError(
        f"data=store has no room for {what}: take another difficulty, sampler, weighting, objective or teacher, or "
        "read the data into memory (data=table)"
    )


def read_slices(column: Flat, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Read slices of a column, one after the other.

    >>> read_slices(np.array([5, 6, 7, 8]), np.array([2, 0]), np.array([4, 1])).tolist()
    [7, 8, 5]
    """
    n = stop - start
    return column[np.repeat(start - (np.cumsum(n) - n), n) + np.arange(n.sum())]


def open_split(folder: Path, manifest: Manifest, *, evaluated_users: int | None) -> StoredSplit:
    """Map a store's columns into memory, and read what it knows of users and items."""
    shards = [map_columns(folder / shard.name) for shard in manifest.shards]
    columns = {name: Column([shard[name] for shard in shards]) for name in manifest.schema}
    users, items = (pl.read_ipc(folder / name) for name in (USERS, ITEMS))

    def counts(table: pl.DataFrame) -> np.ndarray:
        per_part = table.select(part.name.lower() for part in Part).to_numpy().astype(np.int64)
        return np.concatenate([np.zeros((1, len(Part)), np.int64), per_part])

    sizes = counts(users)
    offsets = np.concatenate([[0], np.cumsum(sizes.sum(axis=1))])
    interactions = StoredInteractions(
        user=UserOfRow(offsets),
        item=columns[ITEM],
        timestamp=columns.get(TIMESTAMP),
        users=IdMap(users["id"].alias("user")),
        items=IdMap(items["id"].alias("item")),
        ledger=manifest.ledger,
        offsets=offsets,
    )
    return StoredSplit(
        interactions,
        PartOfRow(offsets, sizes),
        sizes=sizes,
        of_item=counts(items),
        known_hash=manifest.split_hash,
        evaluated_users=evaluated_users,
    )


def stored_examples(options: SequenceExamples, split: StoredSplit, reading: Reading) -> StoredExamples:
    """Cut the training part of a store into examples, without reading it.

    Raises:
        DataError: No user has two training interactions.
    """
    data, n_training = split.interactions, split.sizes[:, Part.TRAIN]
    users, n_inputs = options.inputs_of(n_training)
    start = data.offsets[users]
    stop = start + n_training[users]
    columns = {ITEM: data.item} | ({} if data.timestamp is None else {TIMESTAMP: data.timestamp})
    return StoredExamples(
        options.cut(data.item, stop, n_inputs),
        item_counts=split.item_counts(Part.TRAIN),
        histories=Histories(data.item, start, stop),
        origin=Origin(users.astype(np.int32), n_training[users] - n_inputs + 1, data.users, data.items),
        stop=stop,
        n_targets=n_inputs,
        columns=columns,
        reading=reading,
    )
