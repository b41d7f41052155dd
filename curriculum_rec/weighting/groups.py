"""Weights by how popular a target is (device), from counts that are known before the run (host)."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

from curriculum_rec.data.examples import Examples
from curriculum_rec.data.scores import read_target_scores
from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import SHARE, at_least, check_ranges
from curriculum_rec.weighting.contract import Memory, Rule, Seen
from curriculum_rec.weighting.self_paced import SelfPaced

GROUP, PROPENSITY, REFERENCE = "popularity group", "inverse propensity", "reference loss"


def target_counts(examples: Examples) -> np.ndarray:
    """Count how often each target's item occurs in training, ``[n_targets]``.

    Raises:
        OptionError: The examples have no target items.
    """
    if not examples.has_targets:
        raise OptionError("this weighting goes by target items, and the examples have no 'target' sequences")
    counts = np.bincount(examples.targets) if examples.item_counts is None else examples.item_counts
    return counts[examples.targets]


def popularity_groups(examples: Examples, groups: int) -> np.ndarray:
    """Number each target's group, the rarest first, so that about as many targets fall into each.

    All targets of an item are of one group, and so are those of items that occur equally often.

    Returns:
        int32 ``[n_targets]`` in ``[0, groups)``; with few different counts, some groups have no target.
    """
    counts = target_counts(examples)
    _, number, size = np.unique(counts, return_inverse=True, return_counts=True)
    middle = np.cumsum(size) - size / 2
    return (middle * groups / len(counts)).astype(np.int32)[number]


@dataclass(frozen=True)
class DiverseThreshold(SelfPaced):
    """1 for losses below a threshold that is the higher the fewer easier ones of its group there are, else 0.

    The ``k``-th smallest loss of a group is compared with ``threshold + gamma / (sqrt k + sqrt(k - 1))``, ``gamma =
    diversity threshold``, so that no group is left out while it is hard; ``f = -threshold |v|_1 - gamma sum_g
    |v_g|_2``. Groups are of targets of about equal popularity.

    Args:
        diversity: How far every group's easiest may lie above the threshold, in thresholds; at least 0, which is
            :class:`HardThreshold`.
        groups: How many groups, at least 2.

    Source: Jiang et al. (2014), algorithm 1, whose groups are clusters.
    """

    diversity: float = 1.0
    groups: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "weighting", {"diversity": at_least(0), "groups": at_least(2)})

    def facts(self, examples: Examples) -> dict[str, np.ndarray]:
        """Say of every target which group it is of."""
        return {GROUP: popularity_groups(examples, self.groups)}

    def weigh(self, seen: Seen) -> Float[Array, "batch *length"]:
        """Give the weights of a batch."""
        full, threshold = self.threshold(seen)
        group = jnp.where(seen.all_counts, seen.all_facts[GROUP], self.groups)
        rank = rank_in_group(seen.all_losses, group, self.groups + 1).astype(jnp.float32)
        bound = threshold * (1 + self.diversity / (jnp.sqrt(rank + 1) + jnp.sqrt(rank)))
        return seen.own(((seen.all_losses < bound) | full).astype(jnp.float32))


def rank_in_group(losses: Float[Array, " all"], group: Int32[Array, " all"], groups: int) -> Int32[Array, " all"]:
    """Number the losses of each group from the smallest, from 0; of equal ones the first comes first."""
    order = jnp.lexsort((losses, group))
    size = jnp.zeros(groups, jnp.int32).at[group].add(1)
    begin = jnp.cumsum(size) - size
    place = jnp.arange(len(losses), dtype=jnp.int32) - begin[group[order]]
    return jnp.zeros(len(losses), jnp.int32).at[order].set(place)


@dataclass(frozen=True)
class GroupRobust(Rule):
    """Group distributionally robust weights: the groups that do worst count more and more.

    Every step multiplies the shares of the groups by ``exp(step_size excess)``, where a group's excess is its mean loss
    or, with a reference, the mean of what its losses exceed those of the reference by, where they do. The shares are
    brought to the sum 1 and mixed with equal ones. A loss weighs its group's share over the group's part of the batch,
    so that a batch's weighted mean is the mean of its groups' means, by their shares. A group that a batch lacks keeps
    the excess that it had.

    Args:
        step_size: At least 0; 0 lets all groups count the same.
        floor: How much of equal shares is mixed in, in [0, 1].
        groups: How many groups of targets of about equal popularity, at least 2.
        reference: Parquet file with the losses of a reference model for all training targets; None takes the losses
            themselves.

    Source: Sagawa et al. (2020), algorithm 1, ``step_size`` 0.01; with a reference DoReMi (Xie et al., 2023), algorithm
    1, which clips the excess of single tokens at 0, with ``step_size`` 1 and ``floor`` 0.001.
    """

    step_size: float = 0.01
    floor: float = 1e-3
    groups: int = 10
    reference: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "weighting", {"step_size": at_least(0), "floor": SHARE, "groups": at_least(2)})

    def facts(self, examples: Examples) -> dict[str, np.ndarray]:
        """Say of every target which group it is of, and what it costs the reference."""
        facts = {GROUP: popularity_groups(examples, self.groups)}
        if self.reference is not None:
            facts[REFERENCE] = read_target_scores(self.reference, examples, option="weighting.reference").astype(
                np.float32
            )
        return facts

    def begin(self) -> Memory:
        """Give equal shares."""
        return {
            "share": jnp.full(self.groups, 1 / self.groups, jnp.float32),
            "excess": jnp.zeros(self.groups, jnp.float32),
        }

    def __call__(self, seen: Seen, memory: Memory) -> tuple[Float[Array, "batch *length"], Memory]:
        """Weigh a batch."""
        excess = seen.all_losses
        if REFERENCE in seen.all_facts:
            excess = jnp.maximum(excess - seen.all_facts[REFERENCE], 0)
        group, counts = seen.all_facts[GROUP], seen.all_counts
        size = jnp.zeros(self.groups).at[group].add(counts.astype(jnp.float32))
        total = jnp.zeros(self.groups).at[group].add(jnp.where(counts, excess, 0))
        mean = jnp.where(size > 0, total / jnp.maximum(size, 1), memory["excess"])
        share = jax.nn.softmax(jnp.log(memory["share"]) + self.step_size * mean)
        share = (1 - self.floor) * share + self.floor / self.groups
        weight = share * size.sum() / jnp.maximum(size, 1)
        return seen.own(weight[group]), {"share": share, "excess": mean}


@dataclass(frozen=True)
class InversePropensity(Rule):
    """``min(max_weight, (n / n_max)^-power)``: a target weighs the more the rarer its item is in training.

    Args:
        power: At least 0; 0 lets all targets weigh the same.
        max_weight: Highest weight, at least 1.

    Source: inverse propensities of Schnabel et al. (2016), taken from popularity as by Yang et al. (2018).
    """

    power: float = 0.5
    max_weight: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "weighting", {"power": at_least(0), "max_weight": at_least(1)})

    def facts(self, examples: Examples) -> dict[str, np.ndarray]:
        """Say of every target what it weighs."""
        counts = target_counts(examples)
        inverse = (np.maximum(counts, 1) / counts.max()) ** -self.power
        return {PROPENSITY: np.minimum(inverse, self.max_weight).astype(np.float32)}

    def weigh(self, seen: Seen) -> Float[Array, "batch *length"]:
        """Give the weights of a batch."""
        return seen.own(seen.all_facts[PROPENSITY])
