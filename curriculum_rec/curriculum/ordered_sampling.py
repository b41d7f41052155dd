"""Samplers that go by the order of the difficulties (host)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from curriculum_rec.curriculum.sampling import Choice, Pool, Prefix
from curriculum_rec.data.examples import Examples
from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import POSITIVE, SHARE, at_least, between, check_ranges, one_of


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
        check_ranges(self, "curriculum.sampler", {"by": one_of("popularity", "activity"), "strata": at_least(2)})

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
            sums = [
                np.add.reduceat(examples.item_counts[block.targets], block.target_offsets[:-1])
                for block in examples.blocks()
            ]
            value = np.concatenate(sums) / lengths
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
        check_ranges(self, "curriculum.sampler", {"temperature": POSITIVE})

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
        check_ranges(self, "curriculum.sampler", {"beta": between(0, 500, low_too=True, high_too=True)})

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
        check_ranges(self, "curriculum.sampler", {"rate": SHARE, "slices": at_least(1)})

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
        check_ranges(self, "curriculum.sampler", {"max_weight": at_least(1)})

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
