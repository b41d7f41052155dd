"""Ranking inside groups of equal popularity alone (device), so that the teacher's bias to the popular stays behind."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from curriculum_rec.distillation.contract import Lesson, Needs, WeightedTerm
from curriculum_rec.distillation.ranking import draw_ranks
from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import POSITIVE, at_least, check_ranges


@dataclass(frozen=True, kw_only=True)
class UnbiasedRanking(WeightedTerm):
    """``-log sigmoid(s_a - s_b)``, averaged over pairs of one popularity group of which the teacher puts ``a`` first.

    Both items of a pair are drawn from the teacher's best of the group, ``p ~ e^(-rank / spread)``. Groups hold equally
    many training interactions each, the first the least popular items.

    Args:
        groups: Number of groups, at least 2.
        k: The teacher's best items of each group, at least 2.
        pairs: Pairs of each group that are drawn for a target, at least 1.
        spread: Above 0; the higher, the more even are the draws.
        weight: What its losses are multiplied by, above 0.

    Source: Chen et al. (2023), equations 7 to 9.
    """

    groups: int = 2
    k: int = 100
    pairs: int = 30
    spread: float = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(
            self, "distil.terms", {"groups": at_least(2), "k": at_least(2), "pairs": at_least(1), "spread": POSITIVE}
        )

    @property
    def needs(self) -> Needs:
        """The best items of each group."""
        return Needs(grouped=self.k, groups=self.groups)

    def __call__(self, lesson: Lesson) -> Float[Array, "batch length"]:
        """Give one loss a target."""
        scores = lesson.student_scores(lesson.listed("grouped", self.k).items)
        shape = (*scores.shape[1:-1], self.pairs, 2)
        ranks = jnp.sort(draw_ranks(lesson.rng, *shape, k=self.k, spread=self.spread), axis=-1)
        better, worse = (jnp.take_along_axis(scores, ranks[..., which], axis=-1) for which in (0, 1))
        counts = ranks[..., 0] < ranks[..., 1]
        total = jnp.where(counts, jax.nn.softplus(worse - better), 0).sum(axis=(-2, -1))
        return total / jnp.maximum(counts.sum(axis=(-2, -1)), 1).astype(total.dtype)


def popularity_groups(item_counts: np.ndarray, n_groups: int) -> np.ndarray:
    """Divide items into groups with equally many interactions, as far as whole items allow.

    Args:
        item_counts: ``[n_items + 1]``; entry 0 is padding.
        n_groups: How many, at least 1.

    Returns:
        int32 ``[n_items + 1]``, from 0, the first group being the least popular; -1 for padding.

    >>> popularity_groups(np.array([0, 1, 4, 1, 2]), 2).tolist()
    [-1, 0, 1, 0, 0]
    """
    order = 1 + np.argsort(item_counts[1:], kind="stable")
    before = np.cumsum(item_counts[order]) - item_counts[order]
    groups = np.full(len(item_counts), -1, np.int32)
    groups[order] = np.minimum(before * n_groups // max(item_counts[1:].sum(), 1), n_groups - 1)
    return groups


def check_groups(groups: np.ndarray, k: int) -> None:
    """Refuse groups with fewer items than a list is long.

    Raises:
        OptionError: One has.
    """
    smallest = int(np.bincount(groups[groups >= 0]).min())
    if smallest < k:
        raise OptionError(f"distil.terms.k={k}: the smallest popularity group has {smallest} items; lower k or groups")


def group_mask(groups: Array, n_groups: int) -> Array:
    """Say which items belong to which group, bool ``[groups, items]``."""
    return groups[None, :] == jnp.arange(n_groups, dtype=groups.dtype)[:, None]
