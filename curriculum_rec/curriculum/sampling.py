"""Sampling (host): from what is available to the batches of one dynamic epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from curriculum_rec.curriculum.difficulty import RunningLoss
from curriculum_rec.curriculum.permutation import Permutation
from curriculum_rec.data.examples import Bucket, Examples
from curriculum_rec.ranges import at_least, check_ranges

PADDING = -1
"""Row number that stands for "no example" in a batch that is not full."""


@dataclass(frozen=True)
class Pool:
    """What a dynamic epoch may draw from.

    Attributes:
        examples: All examples.
        available: bool ``[n]``, the examples between the ends that the pacing has set.
        share: The share that the pacing has made available.
        quantile: float64 ``[n]``, each example's place in the order, in (0, 1); empty where single targets are ordered,
            or nothing is.
        progress: Fraction of the run before the epoch.
        losses: Each example's running loss; None where nobody asked for them.
        passes: How many passes over all examples the whole run could make.
        arm: The slice of the order that a teacher has chosen; None without one.
    """

    examples: Examples
    available: np.ndarray
    share: float
    quantile: np.ndarray
    progress: float = 0.0
    losses: RunningLoss | None = None
    passes: float = 1.0
    arm: int | None = None


@dataclass(frozen=True)
class Choice:
    """What a dynamic epoch draws.

    Attributes:
        counts: int ``[n]``, how often it draws each example.
        weight: float32 ``[n]``, each example's weight in the loss; None where all weigh 1.
    """

    counts: np.ndarray
    weight: np.ndarray | None = None


@dataclass(frozen=True)
class EpochPlan:
    """The batches of one dynamic epoch; each is made when it is asked for.

    Attributes:
        buckets: The buckets of the examples.
        members: For each bucket the rows that are drawn, int32, a row twice if it is drawn twice; None for all once.
        order: For each bucket the order of its members.
        batches: The order of all batches.
        weight: As in :class:`Choice`.
    """

    buckets: tuple[Bucket, ...]
    members: tuple[np.ndarray | None, ...]
    order: tuple[Permutation, ...]
    batches: Permutation
    weight: np.ndarray | None = None

    def __len__(self) -> int:
        return self.batches.n

    def take(self, begin: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Make some batches.

        Args:
            begin: Number of the first.
            stop: One past the last.

        Returns:
            The bucket of each, int32 ``[stop - begin]``, and its rows of that bucket, int32 ``[stop - begin, widest]``,
            ``PADDING`` where a batch is short.
        """
        place = self.batches(np.arange(begin, stop))
        ends = np.cumsum(count_batches(self.buckets, [order.n for order in self.order]))
        bucket = np.searchsorted(ends, place, side="right")
        rows = np.full((len(place), max(b.batch_size for b in self.buckets)), PADDING, np.int32)
        for number in np.unique(bucket):
            steps, size, order = np.flatnonzero(bucket == number), self.buckets[number].batch_size, self.order[number]
            first = place[steps] - (ends[number - 1] if number else 0)
            index = first[:, None] * size + np.arange(size)
            inside = index < order.n
            members = self.members[number]
            drawn = order(index[inside])
            part = np.full(index.shape, PADDING, np.int32)
            part[inside] = drawn if members is None else members[drawn]
            rows[steps, :size] = part
        return bucket.astype(np.int32), rows


def count_batches(buckets: Sequence[Bucket], sizes: Sequence[int]) -> np.ndarray:
    """Count the batches that so many rows of each bucket fill, int64 ``[n_buckets]``."""
    return np.array([-(-size // bucket.batch_size) for bucket, size in zip(buckets, sizes, strict=True)], np.int64)


@runtime_checkable
class Sampler(Protocol):
    """A mechanism that decides which examples an epoch draws."""

    @property
    def sequences_only(self) -> bool:
        """Whether it needs whole sequences to be what is ordered, and not single targets."""
        ...

    @property
    def keeps_window(self) -> bool:
        """Whether it draws from :attr:`Pool.available` only, so that a pacing can leave the easiest out."""
        ...

    @property
    def goes_by_order(self) -> bool:
        """Whether it draws by difficulty; what does not also acts with ``order=standard``."""
        ...

    @property
    def decay(self) -> float | None:
        """As a difficulty's: whether it needs running losses."""
        ...

    def check(self, examples: Examples) -> None:
        """Refuse examples from which it cannot draw."""
        ...

    def count(self, share: float, n_units: int) -> int:
        """Say how many of the easiest units are available at a share."""
        ...

    def choose(self, pool: Pool, stream: np.random.Generator) -> Choice:
        """Choose one epoch."""
        ...


@dataclass(frozen=True)
class Prefix:
    """Uniform over the easiest share, without replacement inside a dynamic epoch.

    A dynamic epoch is one pass over the examples that were available when it began; the next one begins with what is
    available then.

    Args:
        min_examples: Fewest units that are available, whatever the share.

    Source: Wu, Dyer and Neyshabur (2021), who use 256 as the floor.
    """

    min_examples: int = 256
    sequences_only = False
    keeps_window = True
    goes_by_order = True

    @property
    def decay(self) -> float | None:
        """It needs no running losses."""
        return None

    def __post_init__(self) -> None:
        check_ranges(self, "curriculum.sampler", {"min_examples": at_least(1)})

    def count(self, share: float, n_units: int) -> int:
        """Say how many of the easiest units are available at a share.

        >>> Prefix(min_examples=2).count(0.5, 9), Prefix(min_examples=2).count(0.0, 9), Prefix().count(0.0, 9)
        (5, 2, 9)
        """
        return int(min(max(math.ceil(share * n_units - 1e-9), self.min_examples), n_units))

    def check(self, examples: Examples) -> None:
        """Take any examples."""

    def choose(self, pool: Pool, stream: np.random.Generator) -> Choice:
        """Choose every available example exactly once."""
        return Choice(pool.available.astype(np.int64))


def plan_epoch(
    examples: Examples, choice: Choice, stream: np.random.Generator, *, length: int | None = None
) -> EpochPlan:
    """Make batches of what was chosen, those of all buckets in random order.

    Args:
        examples: All examples.
        choice: What is drawn how often.
        stream: Decides the order.
        length: To what longer histories are cut; None keeps them whole.
    """
    members: list[np.ndarray | None] = []
    for bucket in examples.buckets:
        if not bucket.is_drawn(length):
            members.append(np.zeros(0, np.int32))
            continue
        # In canonical order: with everything available, all order modes draw the same batches.
        counts = choice.counts[bucket.example]
        once = bool((counts == 1).all())
        members.append(None if once else np.repeat(np.arange(len(counts), dtype=np.int32), counts))
    sizes = [len(b.example) if m is None else len(m) for b, m in zip(examples.buckets, members, strict=True)]
    n_batches = int(count_batches(examples.buckets, sizes).sum())
    keys = stream.integers(0, 2**63, len(sizes) + 1).tolist()
    order = tuple(Permutation(size, key) for size, key in zip(sizes, keys[1:], strict=True))
    return EpochPlan(examples.buckets, tuple(members), order, Permutation(n_batches, keys[0]), choice.weight)
