"""Sampling mechanisms (host): from quantiles and a share to the batches of one dynamic epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np

from curriculum_rec.curriculum.difficulty import RunningLoss
from curriculum_rec.curriculum.permutation import Permutation
from curriculum_rec.data.examples import Bucket, Examples
from curriculum_rec.errors import OptionError

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
        arm: The slice of the order that a teacher has chosen; None without one.
    """

    examples: Examples
    available: np.ndarray
    share: float
    quantile: np.ndarray
    progress: float = 0.0
    losses: RunningLoss | None = None
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
    decay = None

    def __post_init__(self) -> None:
        if self.min_examples < 1:
            raise OptionError(f"curriculum.sampler.min_examples={self.min_examples}: it must be at least 1")

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


@dataclass(frozen=True)
class Stratified(Prefix):
    """The easiest share of every stratum, each example once, so that the easy ones are not all of one kind.

    Args:
        by: ``popularity`` makes strata of sequences whose targets are about equally popular, ``activity`` of sequences
            of about the same length.
        strata: How many, at least 2.

    Source: the balanced orders of Hacohen and Weinshall (2019) and of Wu, Dyer and Neyshabur (2021), whose strata are
    classes.
    """

    by: Literal["popularity", "activity"] = "popularity"
    strata: int = 10
    sequences_only = True
    keeps_window = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.by not in get_args(Literal["popularity", "activity"]):
            raise OptionError(f"curriculum.sampler.by={self.by}: it must be popularity or activity")
        if self.strata < 2:
            raise OptionError(f"curriculum.sampler.strata={self.strata}: it must be at least 2")

    def choose(self, pool: Pool, stream: np.random.Generator) -> Choice:
        """Choose the easiest of every stratum."""
        stratum = self.stratum(pool.examples)
        order = np.lexsort((pool.quantile, stratum))
        sizes = np.bincount(stratum, minlength=self.strata)
        begin = np.cumsum(sizes) - sizes
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order)) - begin[stratum[order]]
        share = self.count(pool.share, len(order)) / len(order)
        return Choice((rank < np.ceil(share * sizes - 1e-9)[stratum]).astype(np.int64))

    def stratum(self, examples: Examples) -> np.ndarray:
        """Number each example's stratum, int64 ``[n]``; strata are of equal size up to one."""
        lengths = np.diff(examples.target_offsets)
        value = lengths.astype(np.float64)
        if self.by == "popularity":
            if examples.item_counts is None:
                raise OptionError("curriculum.sampler.by=popularity needs item counts, and these examples have none")
            value = np.add.reduceat(examples.item_counts[examples.targets], examples.target_offsets[:-1]) / lengths
        rank = np.empty(len(value), np.int64)
        rank[np.argsort(value, kind="stable")] = np.arange(len(value))
        return rank * self.strata // len(value)


@dataclass(frozen=True)
class Independent(Prefix):
    """Draws one by one, with replacement, with probabilities that subclasses give."""

    sequences_only = True
    keeps_window = False

    def probabilities(self, pool: Pool) -> np.ndarray:
        """Give each example's probability, float64 ``[n]``, with the sum 1."""
        raise NotImplementedError

    def n_draws(self, pool: Pool) -> int:
        """Say how many draws make a dynamic epoch."""
        return self.count(pool.share, len(pool.available))

    def choose(self, pool: Pool, stream: np.random.Generator) -> Choice:
        """Draw."""
        return Choice(stream.multinomial(self.n_draws(pool), self.probabilities(pool)))


@dataclass(frozen=True)
class PrefixWithReplacement(Independent):
    """Uniform over the easiest share, with replacement.

    Source: Platanios et al. (2019), whose batches are drawn so.
    """

    sequences_only = False
    keeps_window = True

    def probabilities(self, pool: Pool) -> np.ndarray:
        """Give each example's probability."""
        return pool.available / pool.available.sum()

    def n_draws(self, pool: Pool) -> int:
        """Say how many draws make a dynamic epoch."""
        return int(pool.available.sum())


@dataclass(frozen=True)
class SoftPrefix(Independent):
    """Probabilities in proportion to ``sigmoid((share - quantile) / temperature)``: an edge that is not sharp.

    Args:
        temperature: Width of the edge, above 0; towards 0 it is the edge of :class:`PrefixWithReplacement`.

    Source: ours.
    """

    temperature: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.temperature < math.inf:
            raise OptionError(f"curriculum.sampler.temperature={self.temperature}: it must be a number above 0")

    def probabilities(self, pool: Pool) -> np.ndarray:
        """Give each example's probability."""
        share = self.count(pool.share, len(pool.quantile)) / len(pool.quantile)
        distance = np.clip((share - pool.quantile) / self.temperature, -700, 700)  # beyond, exp would overflow
        weight = 1 / (1 + np.exp(-distance))
        return weight / weight.sum()


@dataclass(frozen=True)
class Boltzmann(Independent):
    """Probabilities in proportion to ``exp(-beta * quantile)``, ``beta`` falling to 0 as the share grows to 1.

    An epoch has as many draws as there are examples.

    Args:
        beta: Inverse temperature at the share 0, at least 0; at the share ``s`` it is ``beta * (1 - s)``.

    Source: ours, after the Boltzmann choice of teacher-student curricula (Matiisen et al., 2019).
    """

    beta: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.beta <= 500:
            raise OptionError(f"curriculum.sampler.beta={self.beta}: it must lie in [0, 500]")

    def probabilities(self, pool: Pool) -> np.ndarray:
        """Give each example's probability."""
        weight = np.exp(-self.beta * (1 - pool.share) * pool.quantile)
        return weight / weight.sum()

    def n_draws(self, pool: Pool) -> int:
        """Say how many draws make a dynamic epoch."""
        return len(pool.available)


@dataclass(frozen=True)
class Replay(Independent):
    """With probability ``rate`` from the whole easiest share, else from the hardest slice of it.

    Args:
        rate: Share of the draws that replay what came earlier, in [0, 1].
        slices: The hardest slice is so small a part of the available ones, at least 1.

    Source: ours, against forgetting.
    """

    rate: float = 0.5
    slices: int = 10
    keeps_window = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.rate <= 1:
            raise OptionError(f"curriculum.sampler.rate={self.rate}: it must lie in [0, 1]")
        if self.slices < 1:
            raise OptionError(f"curriculum.sampler.slices={self.slices}: it must be at least 1")

    def probabilities(self, pool: Pool) -> np.ndarray:
        """Give each example's probability."""
        n_available = int(pool.available.sum())
        quantile = np.where(pool.available, pool.quantile, -1.0)
        n_hardest = -(-n_available // self.slices)
        hardest = np.zeros(len(quantile), bool)
        hardest[np.argpartition(quantile, len(quantile) - n_hardest)[len(quantile) - n_hardest :]] = True
        return self.rate * pool.available / n_available + (1 - self.rate) * hardest / n_hardest


@dataclass(frozen=True)
class ImportanceCorrected:
    """Draws as another sampler does, each example weighing ``1 / (n p)``, so that the loss stays that of uniform draws.

    Args:
        sampler: A sampler with probabilities of its own.
        max_weight: Highest weight, at least 1; what is cut off is bias.

    Source: importance sampling; the loss of a batch is divided by the sum of its weights.
    """

    sampler: Independent = Boltzmann()
    max_weight: float = 10.0
    sequences_only = True
    goes_by_order = True
    decay = None

    def __post_init__(self) -> None:
        if not 1 <= self.max_weight < math.inf:
            raise OptionError(f"curriculum.sampler.max_weight={self.max_weight}: it must be a number of at least 1")

    @property
    def keeps_window(self) -> bool:
        """What the sampler inside says."""
        return self.sampler.keeps_window

    def count(self, share: float, n_units: int) -> int:
        """Say how many of the easiest units are available at a share."""
        return self.sampler.count(share, n_units)

    def check(self, examples: Examples) -> None:
        """Leave it to the sampler inside."""
        self.sampler.check(examples)

    def choose(self, pool: Pool, stream: np.random.Generator) -> Choice:
        """Draw and weigh."""
        probability = self.sampler.probabilities(pool)
        inverse = 1 / np.maximum(len(probability) * probability, 1 / self.max_weight)
        return Choice(self.sampler.choose(pool, stream).counts, inverse.astype(np.float32))


@dataclass(frozen=True)
class Pruned(Prefix):
    """The available examples once each, but only a part of those whose running loss lies below the mean.

    Those kept of the ``n`` below the mean, ``m`` at random, weigh ``n / m``, so that the expected gradient stays. What
    was not seen yet is kept. Towards the end of the run nothing is pruned and all weigh 1.

    Args:
        rate: Share of those below the mean that is left out, in [0, 1).
        until: Fraction of the run after which nothing is pruned, in [0, 1].
        decay: Share of the old mean that a new loss leaves in an example's running loss, in [0, 1).

    Source: InfoBatch (Qin et al., 2024), whose weights outlast the pruning for many numbers of epochs.
    """

    rate: float = 0.5
    until: float = 0.875
    decay: float = 0.0
    sequences_only = True
    goes_by_order = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.rate < 1:
            raise OptionError(f"curriculum.sampler.rate={self.rate}: it must lie in [0, 1)")
        if not 0 <= self.until <= 1:
            raise OptionError(f"curriculum.sampler.until={self.until}: it must lie in [0, 1]")
        if not 0 <= self.decay < 1:
            raise OptionError(f"curriculum.sampler.decay={self.decay}: it must lie in [0, 1)")

    def choose(self, pool: Pool, stream: np.random.Generator) -> Choice:
        """Choose one epoch."""
        losses = pool.losses
        weight = np.ones(len(pool.available), np.float32)
        if losses is None or pool.progress >= self.until or not losses.seen.any():
            return Choice(pool.available.astype(np.int64), weight)
        candidates = pool.available & losses.seen
        mean = losses.mean[candidates].mean(dtype=np.float64) if candidates.any() else 0.0
        below = np.flatnonzero(candidates & (losses.mean < mean))
        n_kept = math.ceil((1 - self.rate) * len(below) - 1e-9)
        kept = stream.permutation(below)[:n_kept]
        counts = pool.available.astype(np.int64)
        counts[below] = 0
        counts[kept] = 1
        weight[kept] = len(below) / max(n_kept, 1)
        return Choice(counts, weight)


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
