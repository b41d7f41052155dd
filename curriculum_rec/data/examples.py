"""Training examples (host): fixed shapes in a short list of length buckets, a constant number of positions a batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from curriculum_rec.data.interactions import IdMap
from curriculum_rec.data.padded import Flat, Padded, Rows, pad_left_aligned, take_rows
from curriculum_rec.data.splits import Part, Split
from curriculum_rec.data.task import Task
from curriculum_rec.data.times import TIME, require_times
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.ranges import at_least, check_ranges
from curriculum_rec.streams import host_stream

POSITIVES = "positives"
"""Name of the array with each user's own training items; what fills it up is larger than any item."""

USER = "user"
"""Name of the array with the code of each example's user."""

AGE = "age"
"""Name of the array with the age of each target, which only models that ask for it get."""

BATCH_MULTIPLE = 8
"""Batch sizes are multiples of this, so that 1, 2, 4 and 8 devices all see the same batches."""


@dataclass(frozen=True)
class Bucket:
    """Examples of one shape.

    Attributes:
        arrays: Named arrays with leading axis ``n_rows``; sequences have ``history`` and ``target``, int32
            ``[n_rows, length]``, filled from the left, 0 where nothing follows. Those of a store are no arrays in
            memory; what is taken of them is.
        example: int32 ``[n_rows]``, the number of each row among all examples.
        batch_size: Examples in one batch of this bucket.
        cut_to: Length to which the rows, parts of longer examples, are cut; None where they are whole examples.
        first: int64 ``[n_rows]``, which target of its example a row begins with; None where it is the first.
    """

    arrays: Mapping[str, Rows]
    example: np.ndarray
    batch_size: int
    cut_to: int | None = None
    first: np.ndarray | None = None

    @property
    def length(self) -> int:
        """Positions of a row; 0 where the rows are no sequences."""
        target = self.arrays.get("target")
        return target.shape[1] if target is not None and target.ndim == 2 else 0

    def is_drawn(self, length: int | None) -> bool:
        """Whether its rows are drawn while histories are cut to a length, or, with None, are whole."""
        if self.cut_to is not None:
            return self.cut_to == length
        return length is None or self.length <= length


@dataclass(frozen=True)
class Histories:
    """The whole training history of each example's user, of which the example may show only the end.

    Attributes:
        items: int32, the histories one after the other, in any order, perhaps not in memory.
        start: Where each example's begins, int64 ``[n]``.
        stop: Where it ends, int64 ``[n]``.
    """

    items: Flat
    start: np.ndarray
    stop: np.ndarray


@dataclass(frozen=True)
class Origin:
    """Where examples come from, for tables in a person's own words.

    Attributes:
        user: int32 ``[n]``, the code of each example's user.
        first: int64 ``[n]``, the place of each example's first target in the user's training history, from 1.
        users: The map of user ids.
        items: The map of item ids.
    """

    user: np.ndarray
    first: np.ndarray
    users: IdMap
    items: IdMap


@dataclass(frozen=True)
class Examples:
    """All training examples.

    Attributes:
        buckets: The shapes, shortest first.
        item_counts: Training count of every item, int64 ``[n_items + 1]``; None where there are no items.
        gaps: Time between each target and the item before it, float64 ``[n_targets]`` in the order of :attr:`targets`
            and the unit of the data's timestamps; None where there are none.
        times: The targets' own timestamps, float64 ``[n_targets]``; None where there are none.
        source: int64 ``[n]``, number of the source that most of an example's interactions come from; None where all
            come from one.
        source_names: The sources' names.
        histories: What each example's user is known to like; None where only the examples themselves are known.
        noise: Which targets were planted, bool ``[n_targets]`` in the order of :attr:`targets`; None where nothing was.
        origin: Where they come from; None where nobody said.
    """

    IN_MEMORY: ClassVar[bool] = True
    """Whether all rows are arrays in memory, so that there is room for numbers about every single target."""

    buckets: tuple[Bucket, ...]
    item_counts: np.ndarray | None = None
    gaps: np.ndarray | None = None
    times: np.ndarray | None = None
    source: np.ndarray | None = None
    source_names: tuple[str, ...] = ()
    histories: Histories | None = None
    noise: np.ndarray | None = None
    origin: Origin | None = None

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], *, batch_size: int) -> Examples:
        """Take a person's own arrays, all with the same leading axis, as one bucket.

        Args:
            arrays: Named arrays ``[n, ...]``.
            batch_size: Examples in a batch.

        Raises:
            DataError: There is no array, or their leading axes differ.

        >>> examples = Examples.from_arrays({"x": np.zeros((5, 3)), "y": np.zeros(5)}, batch_size=2)
        >>> len(examples), examples.batches_per_epoch
        (5, 3)
        """
        sizes = {name: len(array) for name, array in arrays.items()}
        if len(set(sizes.values())) != 1 or not all(sizes.values()):
            raise DataError(f"arrays must share one leading axis of at least 1; got {sizes}")
        n = next(iter(sizes.values()))
        return cls((Bucket(dict(arrays), np.arange(n, dtype=np.int32), batch_size),))

    def __len__(self) -> int:
        return sum(len(bucket.example) for bucket in self.whole)

    @property
    def whole(self) -> tuple[Bucket, ...]:
        """The buckets of whole examples."""
        return tuple(bucket for bucket in self.buckets if bucket.cut_to is None)

    @property
    def batches_per_epoch(self) -> int:
        """Batches that one pass over all examples takes."""
        return sum(-(-len(bucket.example) // bucket.batch_size) for bucket in self.whole)

    @property
    def has_targets(self) -> bool:
        """Whether the examples are sequences whose single targets can be told apart."""
        return all("target" in bucket.arrays and bucket.arrays["target"].ndim == 2 for bucket in self.buckets)

    def with_positives(self) -> Examples:
        """Add the array ``positives`` to every bucket, unless it is there or nobody knows the whole histories.

        It holds each user's training items, int32 ``[n_rows, longest history of the bucket]``, in ascending order and
        filled up with the largest int32, so that membership is a binary search.
        """
        if self.histories is None or all(POSITIVES in bucket.arrays for bucket in self.buckets):
            return self
        buckets = []
        for bucket in self.buckets:
            start, stop = self.histories.start[bucket.example], self.histories.stop[bucket.example]
            items = pad_left_aligned(self.histories.items, start, stop, int((stop - start).max()))
            positives = np.sort(np.where(items > 0, items, filling(POSITIVES)), axis=1).astype(np.int32)
            buckets.append(replace(bucket, arrays={**bucket.arrays, POSITIVES: positives}))
        return replace(self, buckets=tuple(buckets))

    def with_times(self) -> Examples:
        """Add the array ``time`` to every bucket, as :func:`history_times` lays it out, unless it is there.

        Raises:
            DataError: There are no timestamps.
        """
        if all(TIME in bucket.arrays for bucket in self.buckets):
            return self
        times, gaps = require_times(self.times), require_times(self.gaps)
        before = times - gaps  # of the item before each target, which is the history's at its position
        counts = np.diff(self.target_offsets)
        last = before[np.maximum(self.target_offsets[1:] - 1, 0)]
        return self.with_target_arrays({TIME: (before - np.repeat(last, counts)).astype(np.float32)})

    def with_ages(self) -> Examples:
        """Add the array ``age`` to every bucket: how long before the last target each came, from 0 to 1 (the first).

        Raises:
            DataError: There are no timestamps.
        """
        if self.times is None:
            raise DataError(
                "the model wants to know how old examples are, and these data have no timestamps: name their column by "
                "data.timestamp, or set model.example_age=none"
            )
        age = self.times.max() - self.times
        return self.with_target_arrays({AGE: (age / max(float(age.max()), 1e-9)).astype(np.float32)})

    def with_users(self) -> Examples:
        """Add the array ``user``, int32 ``[n_rows]``, to every bucket: the code of each example's user.

        Raises:
            OptionError: Nobody said where the examples come from.
        """
        if self.origin is None:
            raise OptionError("a model with a vector for every user needs to know whose the examples are")
        users = self.origin.user
        buckets = (replace(each, arrays={**each.arrays, USER: users[each.example]}) for each in self.buckets)
        return replace(self, buckets=tuple(buckets))

    @cached_property
    def target_offsets(self) -> np.ndarray:
        """Where the targets of each example begin in :attr:`targets`, int64 ``[n + 1]``."""
        counts = np.zeros(len(self), np.int64)
        for bucket in self.whole:
            counts[bucket.example] = (self._targets(bucket) > 0).sum(axis=1)
        return np.concatenate([[0], np.cumsum(counts)])

    @cached_property
    def targets(self) -> np.ndarray:
        """All target items, example after example, oldest first, int32 ``[n_targets]``."""
        return self.collect_targets([self._targets(bucket) for bucket in self.whole])

    @cached_property
    def inputs(self) -> np.ndarray:
        """The item before each target, int32 ``[n_targets]``."""
        return self.collect_targets([np.asarray(bucket.arrays["history"]) for bucket in self.whole])

    def collect_targets(self, grids: Sequence[np.ndarray]) -> np.ndarray:
        """Undo :meth:`spread_targets`.

        Args:
            grids: One array ``[n_rows, length]`` a bucket of whole examples.

        Returns:
            ``[n_targets]`` in the order of :attr:`targets`.
        """
        flat = np.empty(self.target_offsets[-1], grids[0].dtype)
        for bucket, grid in zip(self.whole, grids, strict=True):
            flat[self._flat_index(bucket)] = grid[self._targets(bucket) > 0]
        return flat

    def spread_targets(self, values: np.ndarray, *, padding: int) -> list[np.ndarray]:
        """Lay one value a target out in the shape of each bucket.

        Args:
            values: ``[n_targets]`` in the order of :attr:`targets`.
            padding: What stands where there is no target.

        Returns:
            One array ``[n_rows, length]`` a bucket, of the values' type.
        """
        grids = []
        for bucket in self.buckets:
            present = self._targets(bucket) > 0
            grid = np.full(present.shape, padding, values.dtype)
            grid[present] = values[self._flat_index(bucket)]
            grids.append(grid)
        return grids

    def take(self, chosen: np.ndarray) -> Examples:
        """Take some of the examples, numbered anew in the same order; the items' counts stay those of all.

        Args:
            chosen: bool ``[n]``.
        """
        number, buckets = np.cumsum(chosen) - 1, []
        for bucket in self.buckets:
            rows = np.flatnonzero(chosen[bucket.example])
            if len(rows):
                arrays = {name: take_rows(array, rows) for name, array in bucket.arrays.items()}
                size = min(bucket.batch_size, -(-len(rows) // BATCH_MULTIPLE) * BATCH_MULTIPLE)
                buckets.append(Bucket(arrays, number[bucket.example[rows]].astype(np.int32), size))
        gaps, times, noise = self.gaps, self.times, self.noise
        if self.has_targets:
            of_targets = np.repeat(chosen, np.diff(self.target_offsets))
            gaps, times, noise = (None if each is None else each[of_targets] for each in (gaps, times, noise))
        histories = self.histories
        if histories is not None:
            histories = replace(histories, start=histories.start[chosen], stop=histories.stop[chosen])
        source = None if self.source is None else self.source[chosen]
        origin = self.origin
        if origin is not None:
            origin = replace(origin, user=origin.user[chosen], first=origin.first[chosen])
        return replace(
            self,
            buckets=tuple(buckets),
            gaps=gaps,
            times=times,
            source=source,
            histories=histories,
            noise=noise,
            origin=origin,
        )

    def blocks(self) -> Iterator[Examples]:
        """Give all examples, in order, in as many parts as the memory needs, each of them in memory."""
        yield self

    def in_one_shape(self) -> dict[str, np.ndarray]:
        """Bring all examples, in order, to the widest shape: named arrays ``[n, ...]``."""
        joined = {}
        for name in self.whole[0].arrays:
            parts = [bucket.arrays[name] for bucket in self.whole]
            shape = tuple(max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True))
            joined[name] = np.full((len(self), *shape), filling(name), parts[0].dtype)
            for bucket, part in zip(self.whole, parts, strict=True):
                where: tuple[Any, ...] = (bucket.example, *(slice(size) for size in part.shape[1:]))
                joined[name][where] = part
        return joined

    def with_target_arrays(self, named: Mapping[str, np.ndarray]) -> Examples:
        """Let each bucket carry further arrays, of one value a target and 0 for padding.

        Args:
            named: ``[n_targets]`` each, in the order of :attr:`targets`.
        """
        if not named:
            return self
        grids = {name: self.spread_targets(values, padding=0) for name, values in named.items()}
        return replace(
            self,
            buckets=tuple(
                replace(bucket, arrays={**bucket.arrays, **{name: grid[number] for name, grid in grids.items()}})
                for number, bucket in enumerate(self.buckets)
            ),
        )

    def with_arrays(self, named: Sequence[Mapping[str, np.ndarray]]) -> Examples:
        """Let each bucket carry further arrays.

        Args:
            named: For each bucket, arrays with leading axis ``n_rows``.
        """
        return replace(
            self,
            buckets=tuple(
                replace(bucket, arrays={**bucket.arrays, **further})
                for bucket, further in zip(self.buckets, named, strict=True)
            ),
        )

    def target_index(self, bucket: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the targets of some rows of a bucket.

        Returns:
            The mask of targets bool ``[rows, length]``, and for each true entry its index into :attr:`targets`.
        """
        present = self._targets(self.buckets[bucket])[rows] > 0
        return present, self._target_grid(self.buckets[bucket], rows)[present]

    def _flat_index(self, bucket: Bucket) -> np.ndarray:
        return self._target_grid(bucket, slice(None))[self._targets(bucket) > 0]

    def _target_grid(self, bucket: Bucket, rows: np.ndarray | slice) -> np.ndarray:
        begin = self.target_offsets[bucket.example[rows]]
        if bucket.first is not None:
            begin = begin + bucket.first[rows]
        return begin[:, None] + np.arange(bucket.length)

    @staticmethod
    def _targets(bucket: Bucket) -> np.ndarray:
        if "target" not in bucket.arrays or bucket.arrays["target"].ndim != 2:
            raise OptionError("these examples have no 'target' sequence: curriculum.unit=target needs one")
        return np.asarray(bucket.arrays["target"])


def hold_out(examples: Examples, share: float, *, seed: int) -> tuple[Examples, Examples]:
    """Divide examples at random.

    Args:
        examples: All of them.
        share: How much is held out, in (0, 1).
        seed: Decides which.

    Returns:
        What remains, and what is held out; at least one example each.

    Raises:
        DataError: There are not two examples.
    """
    n = len(examples)
    if n < 2:
        raise DataError(f"of {n} examples none can be held out")
    held = np.zeros(n, bool)
    held[host_stream(seed, "hold out").permutation(n)[: min(max(1, round(share * n)), n - 1)]] = True
    return examples.take(~held), examples.take(held)


@dataclass(frozen=True)
class SequenceExamples:
    """One example a user: the most recent part of the training history, every position predicting the next item.

    Args:
        max_length: Longest history; also the model's number of positions.
        bucket_lengths: Lengths to which histories are padded; ``max_length`` is added, longer ones are dropped.
        positions_per_batch: Positions (padding included) in a batch; a bucket's batch size is this divided by its
            length, rounded down to a multiple of 8, so that a step costs much the same in every bucket.
    """

    TASK: ClassVar[Task] = "next_item"

    max_length: int = 50
    bucket_lengths: tuple[int, ...] = (4, 8, 16, 32)
    positions_per_batch: int = 2048

    def __post_init__(self) -> None:
        check_ranges(self, "examples", {"max_length": at_least(1)})
        if any(length < 1 for length in self.bucket_lengths):
            raise OptionError(f"examples.bucket_lengths={list(self.bucket_lengths)}: lengths must be at least 1")
        if self.positions_per_batch < BATCH_MULTIPLE * self.max_length:
            raise OptionError(
                f"examples.positions_per_batch={self.positions_per_batch}: a batch holds at least {BATCH_MULTIPLE} "
                f"examples of examples.max_length={self.max_length}, so it must be at least "
                f"{BATCH_MULTIPLE * self.max_length}"
            )

    @property
    def lengths(self) -> tuple[int, ...]:
        """The bucket lengths in ascending order, the longest being ``max_length``."""
        return bucket_lengths(self.bucket_lengths, self.max_length)

    def __call__(self, split: Split) -> Examples:
        """Cut the training part into examples.

        Raises:
            DataError: No user has two training interactions.
        """
        items, offsets = split.training()
        users, n_inputs = self.inputs_of(np.diff(offsets))
        buckets = self.cut(items, offsets[users + 1], n_inputs)
        buckets = tuple(
            replace(bucket, arrays={name: np.asarray(rows) for name, rows in bucket.arrays.items()})
            for bucket in buckets
        )
        is_training = split.part == Part.TRAIN
        rows = _target_rows(offsets[users + 1], n_inputs)
        first = np.diff(offsets)[users] - n_inputs + 1
        timestamp = split.interactions.timestamp
        times = None if timestamp is None else timestamp[is_training].astype(np.float64)
        return Examples(
            buckets,
            item_counts=split.item_counts(Part.TRAIN),
            gaps=None if times is None else times[rows] - times[rows - 1],
            times=None if times is None else times[rows],
            source=_main_sources(split, users),
            source_names=split.interactions.source_names,
            histories=Histories(items, offsets[users], offsets[users + 1]),
            noise=None if split.noise is None else split.noise[is_training][rows],
            origin=Origin(users.astype(np.int32), first, split.interactions.users, split.interactions.items),
        )

    def inputs_of(self, n_training: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Say who makes an example, and how long it is.

        Args:
            n_training: Each user's training interactions, ``[n_users + 1]``, entry 0 being no user.

        Returns:
            The users that have something to learn from, and how many items each predicts, both int64 ``[n]``.

        Raises:
            DataError: There are none.
        """
        n_inputs = np.minimum(n_training - 1, self.max_length)
        users = np.flatnonzero(n_inputs >= 1)
        if not len(users):
            raise DataError("no user has two training interactions, so there is no next item to learn from")
        return users, n_inputs[users]

    def cut(self, items: Flat, stop: np.ndarray, n_inputs: np.ndarray) -> tuple[Bucket, ...]:
        """Lay the ends of histories out in buckets, whose rows are put together when they are asked for.

        Args:
            items: int32, the histories one after the other.
            stop: Where each example's history ends in ``items``, ``[n]``.
            n_inputs: How many items before its last one each example takes, ``[n]``.
        """
        buckets = []
        bucket_of = np.searchsorted(self.lengths, n_inputs)
        for number, length in enumerate(self.lengths):
            chosen = np.flatnonzero(bucket_of == number)
            if not len(chosen):
                continue
            end, n = stop[chosen], n_inputs[chosen]
            # The last item has no successor to predict, the first is not predicted.
            arrays = {
                "history": Padded(items, end - n - 1, end - 1, length),
                "target": Padded(items, end - n, end, length),
            }
            size = self.positions_per_batch // length // BATCH_MULTIPLE * BATCH_MULTIPLE
            # A bucket with few examples gets a small batch, or padding rows would cost more than they hold.
            size = min(size, -(-len(chosen) // BATCH_MULTIPLE) * BATCH_MULTIPLE)
            buckets.append(Bucket(arrays, chosen.astype(np.int32), size))
        return tuple(buckets)


def _target_rows(stop: np.ndarray, n_targets: np.ndarray) -> np.ndarray:
    """Number the last ``n_targets`` rows before each ``stop`` of the training part."""
    begin = np.cumsum(n_targets) - n_targets
    return np.repeat(stop - n_targets - begin, n_targets) + np.arange(n_targets.sum())


def filling(name: str) -> int:
    """Give what fills rows of an array up to a common width."""
    return np.iinfo(np.int32).max if name == POSITIVES else 0


def _main_sources(split: Split, users: np.ndarray) -> np.ndarray | None:
    """Give the source of most of each user's training interactions, of equally many the first."""
    data = split.interactions
    if data.source is None:
        return None
    rows = split.part == Part.TRAIN
    pairs = data.user[rows].astype(np.int64) * len(data.source_names) + data.source[rows]
    counts = np.bincount(pairs, minlength=(data.n_users + 1) * len(data.source_names))
    return counts.reshape(data.n_users + 1, -1).argmax(axis=1)[users]


def bucket_lengths(lengths: tuple[int, ...], max_length: int) -> tuple[int, ...]:
    """Sort the lengths, drop those beyond ``max_length`` and add ``max_length`` itself.

    >>> bucket_lengths((8, 4, 64), 50)
    (4, 8, 50)
    """
    return tuple(sorted({length for length in lengths if length < max_length} | {max_length}))
