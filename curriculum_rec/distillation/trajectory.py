"""From weak to strong versions of a teacher (device): which one each user follows, and a loss that goes with it."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from curriculum_rec.distillation.contract import Lesson
from curriculum_rec.distillation.ranking import FromBest, best_and_rest, relaxed_ranking
from curriculum_rec.ranges import at_least, check_ranges


@dataclass(frozen=True, kw_only=True)
class EasyToHard(FromBest):
    """Which items are the best, and only at the end in which order.

    Until the students of a trajectory are finished, every one of the best is compared with the rest by itself,
    ``-sum_k log(e^(s_k) / (e^(s_k) + sum_{j in L} e^(s_j)))``; then :class:`RelaxedRanking` takes over. With a teacher
    that has one version only, it does at once.

    Args:
        k: The teacher's best items, at least 1.
        n_uniform: ``L``, items drawn uniformly for the batch; those among a target's best are left out. At least 1.
        weight: What its losses are multiplied by, above 0.

    Source: HetComp of Kang et al. (2023), equations 11 and 12, with drawn items for all others.
    """

    k: int = 100
    n_uniform: int = 100
    weight: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "distil.terms", {"n_uniform": at_least(1)})

    def __call__(self, lesson: Lesson) -> Float[Array, "batch length"]:
        """Give one loss a target."""
        best, rest, is_rest = best_and_rest(lesson, self.k, self.n_uniform)
        ordered, overall = relaxed_ranking(best, rest, is_rest), above_the_rest(best, rest, is_rest)
        return jnp.where(lesson.finished, ordered, overall)


def above_the_rest(
    best: Float[Array, "*shape k"], rest: Float[Array, "*shape n"], is_rest: Bool[Array, "*shape n"]
) -> Float[Array, "*shape"]:
    """Compute ``-sum_k log(e^(s_k) / (e^(s_k) + sum_j e^(s_j)))``, which does not care for the order of the best.

    >>> round(float(above_the_rest(jnp.zeros(2), jnp.zeros(1), jnp.ones(1, bool))), 4)  # 2 log 2
    1.3863
    """
    total = jax.nn.logsumexp(jnp.where(is_rest, rest, jnp.finfo(rest.dtype).min), axis=-1, keepdims=True)
    return (jnp.logaddexp(best, total) - best).sum(axis=-1)


def discrepancy(items: Int32[Array, "*shape k"], wanted: Int32[Array, "*shape k"]) -> Float[Array, "*shape"]:
    """Compute ``1 - DCG / ideal DCG`` of a list, whose place ``r`` gains ``2^(e^(-r / 10)) - 1`` if the item is wanted.

    >>> same = jnp.array([3, 1, 2])
    >>> float(discrepancy(same, same)), float(discrepancy(same, same + 3))
    (0.0, 1.0)
    """
    place = jnp.arange(items.shape[-1], dtype=jnp.float32)
    gain = (2 ** jnp.exp(-place / 10) - 1) / jnp.log2(place + 2)
    found = (items[..., :, None] == wanted[..., None, :]).any(axis=-1)
    return 1 - jnp.where(found, gain.reshape(*(1,) * (found.ndim - 1), -1), 0).sum(axis=-1) / gain.sum()


def advance(
    version: Int32[Array, " users"],
    before: Float[Array, " users"],
    distance: Float[Array, "users versions"],
    threshold: Float[Array, ""] | float,
) -> tuple[Int32[Array, " users"], Float[Array, " users"]]:
    """Let users go on to the next version that have come near enough to it.

    Args:
        version: Each user's, from 0.
        before: Its discrepancy from the next version when it began with its own; negative where nobody looked yet.
        distance: The present discrepancy from every version.
        threshold: How many times smaller than ``before`` the present one has to be.

    Returns:
        The version, which never falls, and the discrepancy to compare with from now on.

    >>> distance = jnp.array([[0.2, 0.5, 0.9]])
    >>> advance(jnp.array([0]), jnp.array([-1.0]), distance, 1.05)[0].tolist()
    [0]
    >>> advance(jnp.array([0]), jnp.array([0.6]), distance, 1.05)[0].tolist()
    [1]
    """
    last = distance.shape[1] - 1

    def at(number: Array) -> Array:
        return jnp.take_along_axis(distance, jnp.minimum(number, last)[:, None], axis=1)[:, 0]

    now = at(version + 1)
    goes_on = (before >= 0) & (version < last) & (before > threshold * now)
    new = jnp.where(goes_on, version + 1, version).astype(jnp.int32)
    # What a user that goes on is compared with next is its distance from the version after that.
    return new, jnp.where(goes_on, at(version + 2), jnp.where(before < 0, now, before))
