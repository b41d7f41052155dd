"""A sampler of mixtures (host): how much of each source or domain is trained, and how that changes over the run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curriculum_rec.curriculum.sampling import Choice, Pool, Prefix
from curriculum_rec.data.examples import Examples
from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import POSITIVE, check_ranges


@dataclass(frozen=True)
class Mixture(Prefix):
    """Draws from each source in proportion to a weight that goes from a first to a last value.

    A pass has as many draws as there are available examples. What a source has is drawn equally often up to one: whole
    passes over it, and a random part of it for the rest.

    Args:
        weights: Weight of each source at first, at least 0; they are divided by their sum.
        last_weights: Weight of each at last; None makes them proportional to what each source has, as without it.
        full_at: Fraction of the run after which the last weights are reached, linearly; above 0.

    Source: mixing proportions over time as in the data mixtures of Xie et al. (2023), given instead of learnt.
    """

    weights: Mapping[str, float] | None = None
    last_weights: Mapping[str, float] | None = None
    full_at: float = 0.5
    sequences_only = True
    goes_by_order = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.weights:
            raise OptionError("curriculum.sampler.weights is empty: give every source a weight")
        for name in ("weights", "last_weights"):
            given = getattr(self, name)
            if given is None:
                continue
            if any(not 0 <= weight < math.inf for weight in given.values()) or not sum(given.values()):
                raise OptionError(
                    f"curriculum.sampler.{name}={dict(given)}: weights must be at least 0, and one above 0"
                )
        check_ranges(self, "curriculum.sampler", {"full_at": POSITIVE})

    def check(self, examples: Examples) -> None:
        """Refuse examples of other sources.

        Raises:
            OptionError: The examples have no sources, or others than the weights name.
        """
        if examples.source is None:
            raise OptionError("curriculum.sampler=Mixture needs data of several sources: choose data=joined")
        for name in ("weights", "last_weights"):
            given = getattr(self, name)
            if given is not None and set(given) != set(examples.source_names):
                names = ", ".join(examples.source_names)
                raise OptionError(
                    f"curriculum.sampler.{name} names {', '.join(given)}, but the data's sources are {names}"
                )

    def shares(self, progress: float, sizes: Mapping[str, int]) -> np.ndarray:
        """Give each source's share of the draws, float64, in the order of ``sizes``.

        Args:
            progress: Fraction of the run.
            sizes: What each source has.
        """
        first, last = (
            np.array([(self.weights or {})[name] for name in sizes], float),
            np.array([(sizes if self.last_weights is None else self.last_weights)[name] for name in sizes], float),
        )
        s = min(progress / self.full_at, 1.0)
        return (1 - s) * first / first.sum() + s * last / last.sum()

    def choose(self, pool: Pool, stream: np.random.Generator) -> Choice:
        """Choose one pass."""
        self.check(pool.examples)
        source, names = pool.examples.source, pool.examples.source_names
        members = [np.flatnonzero(pool.available & (source == number)) for number in range(len(names))]
        sizes = {name: len(rows) for name, rows in zip(names, members, strict=True)}
        share = self.shares(pool.progress, sizes) * np.array([size > 0 for size in sizes.values()])
        if not share.sum():
            raise OptionError("curriculum.sampler.weights gives no weight to any source that has available examples")
        counts = np.zeros(len(pool.available), np.int64)
        for rows, draws in zip(members, apportion(share / share.sum(), int(pool.available.sum())), strict=True):
            if len(rows):
                counts[rows] = draws // len(rows)
                counts[stream.permutation(rows)[: draws % len(rows)]] += 1
        return Choice(counts)


def apportion(shares: np.ndarray, total: int) -> np.ndarray:
    """Divide a number into whole parts in proportion to shares, the largest remainders rounded up.

    >>> apportion(np.array([0.5, 0.3, 0.2]), 9).tolist()
    [4, 3, 2]
    """
    exact = shares * total
    whole = np.floor(exact + 1e-9).astype(np.int64)
    missing = total - int(whole.sum())
    whole[np.argsort(-(exact - whole), kind="stable")[:missing]] += 1
    return whole
