"""Samplers that go by the running losses (host)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from curriculum_rec.curriculum.sampling import Choice, Pool, Prefix
from curriculum_rec.ranges import ABOVE_0_TO_1, BELOW_ONE, SHARE, check_ranges, one_of

By = Literal["proportional", "exponential", "beta"]


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
        check_ranges(self, "curriculum.sampler", {"rate": BELOW_ONE, "until": SHARE, "decay": BELOW_ONE})

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


@dataclass(frozen=True)
class DynamicHardness(Prefix):
    """The available examples once each at first, then fewer and fewer of them, those with high running losses first.

    After the warm-up an epoch draws a share of the ``n`` available examples without replacement: ``factor`` to the
    power of how many whole passes over all examples the steps since then would have made, but at least ``keep``. What
    was not seen yet has the highest running loss of all.

    Args:
        keep: Smallest share that is drawn, in (0, 1].
        factor: What each pass leaves of the share, in (0, 1].
        warm_up: Fraction of the run before which everything is drawn, in [0, 1].
        by: ``proportional`` draws in proportion to the running loss ``r``; ``exponential`` in proportion to
            ``exp(sqrt(2 log n / n) r)``; ``beta`` takes the highest of one draw each from ``Beta(r, c - r)``, ``c``
            being twice the highest running loss.
        decay: Share of the old mean that a new loss leaves in an example's running loss, in [0, 1).

    Source: DIHCL (Zhou, Wang and Bilmes, 2020), who also divide losses by the learning rate of their step.
    """

    keep: float = 0.5
    factor: float = 0.9
    warm_up: float = 0.25
    by: By = "proportional"
    decay: float = 0.1
    sequences_only = True
    goes_by_order = False

    def __post_init__(self) -> None:
        super().__post_init__()
        ranges = {
            "keep": ABOVE_0_TO_1,
            "factor": ABOVE_0_TO_1,
            "warm_up": SHARE,
            "by": one_of(*get_args(By)),
            "decay": BELOW_ONE,
        }
        check_ranges(self, "curriculum.sampler", ranges)

    def choose(self, pool: Pool, stream: np.random.Generator) -> Choice:
        """Choose one epoch."""
        losses = pool.losses
        if losses is None or pool.progress < self.warm_up or not losses.seen.any():
            return Choice(pool.available.astype(np.int64))
        available = np.flatnonzero(pool.available)
        n_passes = math.floor((pool.progress - self.warm_up) * pool.passes + 1e-9)
        n_drawn = max(1, math.ceil(max(self.keep, self.factor**n_passes) * len(available) - 1e-9))
        running = np.where(losses.seen, losses.mean, losses.mean[losses.seen].max()).astype(np.float64)
        score = self.score(np.maximum(running[available], 1e-12), stream)
        counts = np.zeros(len(pool.available), np.int64)
        counts[available[np.argsort(-score, kind="stable")[:n_drawn]]] = 1
        return Choice(counts)

    def score(self, running: np.ndarray, stream: np.random.Generator) -> np.ndarray:
        """Give random numbers, of which the highest ``k`` are a draw of ``k`` without replacement.

        Args:
            running: Running losses above 0, float64 ``[n]``.
            stream: Where chance comes from.
        """
        if self.by == "beta":
            return stream.beta(running, 2 * running.max() - running)
        n = len(running)
        log_probability = np.log(running) if self.by == "proportional" else math.sqrt(2 * math.log(n) / n) * running
        return log_probability + stream.gumbel(size=n)
