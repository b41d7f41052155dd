"""Training examples (host): fixed shapes in a short list of length buckets, a constant number of positions a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from curriculum_rec.data.interactions import IdMap
from curriculum_rec.data.split import Part, Split
from curriculum_rec.errors import DataError, OptionError

BATCH_MULTIPLE = 8
"""Batch sizes are multiples of this, so that 1, 2, 4 and 8 devices all see the same batches."""


@dataclass(frozen=True)
class Bucket:
    """Examples of one shape.

    Attributes:
        arrays: Named arrays with leading axis ``n_rows``; sequences have ``history`` and ``target``, int32
            ``[n_rows, length]``, filled from the left, 0 where nothing follows.
        example: int32 ``[n_rows]``, the number of each row among all examples.
        batch_size: Examples in one batch of this bucket.
    """

    arrays: Mapping[str, np.ndarray]
    example: np.ndarray
    batch_size: int


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
        origin: Where they come from; None where nobody said.
    """

    buckets: tuple[Bucket, ...]
    item_counts: np.ndarray | None = None
    gaps: np.ndarray | None = None
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
        return sum(len(bucket.example) for bucket in self.buckets)

    @property
    def batches_per_epoch(self) -> int:
        """Batches that one pass over all examples takes."""
        return sum(-(-len(bucket.example) // bucket.batch_size) for bucket in self.buckets)

    @property
    def has_targets(self) -> bool:
        """Whether the examples are sequences whose single targets can be told apart."""
        return all("target" in bucket.arrays and bucket.arrays["target"].ndim == 2 for bucket in self.buckets)

    @cached_property
    def target_offsets(self) -> np.ndarray:
        """Where the targets of each example begin in :attr:`targets`, int64 ``[n + 1]``."""
        counts = np.zeros(len(self), np.int64)
        for bucket in self.buckets:
            counts[bucket.example] = (self._targets(bucket) > 0).sum(axis=1)
        return np.concatenate([[0], np.cumsum(counts)])

    @cached_property
    def targets(self) -> np.ndarray:
        """All target items, example after example, oldest first, int32 ``[n_targets]``."""
        return self.collect_targets([self._targets(bucket) for bucket in self.buckets])

    @cached_property
    def inputs(self) -> np.ndarray:
        """The item before each target, int32 ``[n_targets]``."""
        return self.collect_targets([bucket.arrays["history"] for bucket in self.buckets])

    def collect_targets(self, grids: Sequence[np.ndarray]) -> np.ndarray:
        """Undo :meth:`spread_targets`.

        Args:
            grids: One array ``[n_rows, length]`` a bucket.

        Returns:
            ``[n_targets]`` in the order of :attr:`targets`.
        """
        flat = np.empty(self.target_offsets[-1], grids[0].dtype)
        for bucket, grid in zip(self.buckets, grids, strict=True):
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

    def target_index(self, bucket: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the targets of some rows of a bucket.

        Returns:
            The mask of targets bool ``[rows, length]``, and for each true entry its index into :attr:`targets`.
        """
        present = self._targets(self.buckets[bucket])[rows] > 0
        begin = self.target_offsets[self.buckets[bucket].example[rows]]
        return present, (begin[:, None] + np.arange(present.shape[1]))[present]

    def _flat_index(self, bucket: Bucket) -> np.ndarray:
        present = self._targets(bucket) > 0
        return (self.target_offsets[bucket.example][:, None] + np.arange(present.shape[1]))[present]

    @staticmethod
    def _targets(bucket: Bucket) -> np.ndarray:
        if "target" not in bucket.arrays or bucket.arrays["target"].ndim != 2:
            raise OptionError("these examples have no 'target' sequence: curriculum.unit=target needs one")
        return bucket.arrays["target"]


@dataclass(frozen=True)
class SequenceExamples:
    """One example a user: the most recent part of the training history, every position predicting the next item.

    Args:
        max_length: Longest history; also the model's number of positions.
        bucket_lengths: Lengths to which histories are padded; ``max_length`` is added, longer ones are dropped.
        positions_per_batch: Positions (padding included) in a batch; a bucket's batch size is this divided by its
            length, rounded down to a multiple of 8, so that a step costs much the same in every bucket.
    """

    max_length: int = 50
    bucket_lengths: tuple[int, ...] = (4, 8, 16, 32)
    positions_per_batch: int = 2048

    def __post_init__(self) -> None:
        if self.max_length < 1:
            raise OptionError(f"examples.max_length={self.max_length}: it must be at least 1")
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
        n_inputs = np.minimum(np.diff(offsets) - 1, self.max_length)
        users = np.flatnonzero(n_inputs >= 1)
        if not len(users):
            raise DataError("no user has two training interactions, so there is no next item to learn from")
        buckets = []
        bucket_of = np.searchsorted(self.lengths, n_inputs[users])
        for number, length in enumerate(self.lengths):
            chosen = np.flatnonzero(bucket_of == number)
            if not len(chosen):
                continue
            user = users[chosen]
            padded = pad_left_aligned(items, offsets[user + 1] - n_inputs[user] - 1, offsets[user + 1], length + 1)
            target = padded[:, 1:].copy()
            history = np.where(target > 0, padded[:, :-1], 0)  # the last item has no successor to predict
            size = self.positions_per_batch // length // BATCH_MULTIPLE * BATCH_MULTIPLE
            # A bucket with few examples gets a small batch, or padding rows would cost more than they hold.
            size = min(size, -(-len(chosen) // BATCH_MULTIPLE) * BATCH_MULTIPLE)
            buckets.append(Bucket({"history": history, "target": target}, chosen.astype(np.int32), size))
        first = np.diff(offsets)[users] - n_inputs[users] + 1
        return Examples(
            tuple(buckets),
            split.item_counts(Part.TRAIN),
            _gaps(split, offsets[users + 1], n_inputs[users]),
            Origin(users.astype(np.int32), first, split.interactions.users, split.interactions.items),
        )


def _gaps(split: Split, stop: np.ndarray, n_targets: np.ndarray) -> np.ndarray | None:
    """Take the time since the item before for the last ``n_targets`` rows before ``stop`` of the training part."""
    timestamp = split.interactions.timestamp
    if timestamp is None:
        return None
    timestamp = timestamp[split.part == Part.TRAIN].astype(np.float64)
    begin = np.cumsum(n_targets) - n_targets
    row = np.repeat(stop - n_targets - begin, n_targets) + np.arange(n_targets.sum())
    return timestamp[row] - timestamp[row - 1]


def bucket_lengths(lengths: tuple[int, ...], max_length: int) -> tuple[int, ...]:
    """Sort the lengths, drop those beyond ``max_length`` and add ``max_length`` itself.

    >>> bucket_lengths((8, 4, 64), 50)
    (4, 8, 50)
    """
    return tuple(sorted({length for length in lengths if length < max_length} | {max_length}))


def pad_left_aligned(items: np.ndarray, start: np.ndarray, stop: np.ndarray, length: int) -> np.ndarray:
    """Copy slices of a flat array into rows, from the left, 0 where a slice ends early.

    Args:
        items: int32 ``[n]``.
        start: ``[m]``; a slice longer than ``length`` keeps its last ``length`` items.
        stop: ``[m]``.
        length: Width of the result.

    Returns:
        int32 ``[m, length]``.

    >>> pad_left_aligned(np.array([1, 2, 3, 4], np.int32), np.array([0, 3]), np.array([3, 4]), 2).tolist()
    [[2, 3], [4, 0]]
    """
    start = np.maximum(start, stop - length)
    index = start[:, None] + np.arange(length)
    inside = index < stop[:, None]
    return np.where(inside, items[np.where(inside, index, 0)], 0).astype(np.int32)
