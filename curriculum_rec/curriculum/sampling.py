"""Sampling mechanisms (host): from quantiles and a share to the batches of one dynamic epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from curriculum_rec.data.examples import Examples
from curriculum_rec.errors import OptionError

PADDING = -1
"""Row number that stands for "no example" in a batch that is not full."""


@dataclass(frozen=True)
class EpochPlan:
    """The batches of one dynamic epoch, in order.

    Attributes:
        bucket: int32 ``[n_batches]``, the bucket of each batch.
        rows: One int32 array ``[batch_size of the bucket]`` a batch: rows of the bucket, ``PADDING`` where it is short.
    """

    bucket: np.ndarray
    rows: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.bucket)


@runtime_checkable
class Sampler(Protocol):
    """A mechanism that decides which examples an epoch draws."""

    def count(self, share: float, n_units: int) -> int:
        """Say how many of the easiest units are available at a share."""
        ...

    def plan(self, examples: Examples, available: np.ndarray, stream: np.random.Generator) -> EpochPlan:
        """Draw one epoch from the available examples, bool ``[n]``."""
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

    def __post_init__(self) -> None:
        if self.min_examples < 1:
            raise OptionError(f"curriculum.sampler.min_examples={self.min_examples}: it must be at least 1")

    def count(self, share: float, n_units: int) -> int:
        """Say how many of the easiest units are available at a share.

        >>> Prefix(min_examples=2).count(0.5, 9), Prefix(min_examples=2).count(0.0, 9), Prefix().count(0.0, 9)
        (5, 2, 9)
        """
        return int(min(max(np.ceil(share * n_units - 1e-9), self.min_examples), n_units))

    def plan(self, examples: Examples, available: np.ndarray, stream: np.random.Generator) -> EpochPlan:
        """Draw one epoch: every available example exactly once, batches of all buckets in random order."""
        buckets: list[int] = []
        rows: list[np.ndarray] = []
        for number, bucket in enumerate(examples.buckets):
            # Members in canonical order first: with everything available, all order modes draw the same batches.
            shuffled = stream.permutation(np.flatnonzero(available[bucket.example])).astype(np.int32)
            missing = -len(shuffled) % bucket.batch_size
            batches = np.pad(shuffled, (0, missing), constant_values=PADDING).reshape(-1, bucket.batch_size)
            rows.extend(batches)
            buckets.extend([number] * len(batches))
        order = stream.permutation(len(rows))
        return EpochPlan(np.array(buckets, np.int32)[order], tuple(rows[i] for i in order))
