"""Lists of items with a teacher's scores (device), made from the teacher itself."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int32

from curriculum_rec.distillation.contract import Listed, ListName, Needs
from curriculum_rec.distillation.groups import group_mask
from curriculum_rec.distillation.voice import Voice
from curriculum_rec.models.top import top_of_rows

KEPT: tuple[ListName, ...] = ("best", "grouped")
"""Lists that can be written beforehand."""


def make_lists(voice: Voice, needs: Needs, *, groups: Int32[Array, " rows"] | None = None) -> dict[str, Listed]:
    """Make the lists of best items that are needed for every target of a batch, one position after the other.

    Args:
        voice: The teacher.
        needs: Which lists, and how long.
        groups: The popularity group of each item, int32 ``[n_items + 1]``; None where none are needed.
    """
    if not (needs.best or needs.grouped):
        return {}

    def one_position(hidden: tuple[Array, ...]) -> dict[str, Listed]:
        scores = voice.scores(hidden)
        lists = {}
        if needs.best:
            value, item = top_of_rows(scores, needs.best)
            lists["best"] = Listed(item, value)
        if groups is not None and needs.grouped:
            lists["grouped"] = _best_of_groups(scores, groups, needs)
        return lists

    by_position = jax.lax.map(one_position, tuple(h.swapaxes(0, 1) for h in voice.hidden))
    lists: dict[str, Listed] = jax.tree.map(lambda array: array.swapaxes(0, 1), by_position)
    return lists


def _best_of_groups(scores: Array, groups: Array, needs: Needs) -> Listed:
    padded = jnp.pad(groups, (0, scores.shape[1] - len(groups)), constant_values=-1)
    in_group = group_mask(padded, needs.groups)
    tops = [top_of_rows(jnp.where(mask[None, :], scores, -jnp.inf), needs.grouped) for mask in in_group]
    return Listed(jnp.stack([item for _, item in tops], axis=1), jnp.stack([value for value, _ in tops], axis=1))


def stack_versions(of_versions: Sequence[dict[str, Listed]]) -> dict[str, Listed]:
    """Put the lists of several versions of a teacher beside each other, on an axis after the positions."""
    return {
        name: Listed(
            *(jnp.stack(arrays, axis=2) for arrays in zip(*(lists[name] for lists in of_versions), strict=True))
        )
        for name in of_versions[0]
    }


def choose_version(lists: dict[str, Listed], version: Int32[Array, " batch"]) -> dict[str, Listed]:
    """Take each example's own version out of :func:`stack_versions`."""

    def take(array: Array) -> Array:
        index = version.reshape(-1, *(1,) * (array.ndim - 1))
        return jnp.take_along_axis(array, index, axis=2)[:, :, 0]

    return {name: Listed(take(items), take(scores)) for name, (items, scores) in lists.items()}
