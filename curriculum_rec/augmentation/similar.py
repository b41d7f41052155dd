"""Augmentations by similar items (device): substitute, insert."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Int32

from curriculum_rec.augmentation.contract import View, places, uniform
from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import BatchRng
from curriculum_rec.ranges import ABOVE_0_TO_1, at_least, check_ranges


@dataclass(frozen=True)
class WithSimilar:
    """An augmentation by items that are like those of the history.

    Args:
        share: Probability with which an item is chosen, in (0, 1].
        n_similar: How many of the items most like it are drawn from, at least 1.
    """

    share: float = 0.3
    n_similar: int = 4

    def __post_init__(self) -> None:
        check_ranges(self, "augmentation", {"share": ABOVE_0_TO_1, "n_similar": at_least(1)})

    @property
    def needs_similar(self) -> int:
        """How many similar items it wants to know of each item."""
        return self.n_similar

    def _draw(self, view: View, rng: BatchRng) -> Int32[Array, "batch length"]:
        """Draw an item like each; 0 where it was not chosen or nothing is like it."""
        if view.similar is None or view.similar.shape[2] < self.n_similar:
            raise OptionError(
                f"{type(self).__name__} needs n_similar={self.n_similar} similar items of each, which the batch does "
                "not have: use the examples that examples_for(objective, examples) gives"
            )
        similar = view.similar[:, :, : self.n_similar]
        known = (similar > 0).sum(axis=2)
        number = jnp.floor(uniform(rng.named("which"), view.items.shape[1]) * known.astype(jnp.float32))
        drawn = jnp.take_along_axis(similar, number.astype(jnp.int32)[:, :, None], axis=2)[:, :, 0]
        chosen = (uniform(rng.named("where"), view.items.shape[1]) < self.share) & (view.items > 0)
        return jnp.where(chosen, drawn, 0)


@dataclass(frozen=True)
class Substitute(WithSimilar):
    """Replace items, each by itself, by similar ones.

    Args:
        share: Probability with which an item is replaced, in (0, 1]; one that nothing is like stays.
        n_similar: How many of the items most like it are drawn from, at least 1.

    Source: CoSeRec (Liu et al., 2021), section 3.2, with similarity by co-occurrence alone.
    """

    def __call__(self, view: View, rng: BatchRng, *, mask: int) -> View:
        """Replace."""
        del mask
        other = self._draw(view, rng)
        return view._replace(items=jnp.where(other > 0, other, view.items))


@dataclass(frozen=True)
class Insert(WithSimilar):
    """Put similar items before some, each by itself; of what becomes too long the most recent part is kept.

    Args:
        share: Probability with which an item gets one before it, in (0, 1].
        n_similar: How many of the items most like it are drawn from, at least 1.

    Source: CoSeRec (Liu et al., 2021), section 3.2, with similarity by co-occurrence alone.
    """

    def __call__(self, view: View, rng: BatchRng, *, mask: int) -> View:
        """Insert."""
        del mask
        other, length = self._draw(view, rng), view.items.shape[1]
        pairs = jnp.stack([other, view.items], axis=2).reshape(len(other), 2 * length)
        # Equal keys keep their order, so that a stable sort moves what is there to the left.
        order = jnp.argsort(pairs == 0, axis=1, stable=True).astype(jnp.int32)
        n = (pairs > 0).sum(axis=1, dtype=jnp.int32)
        first = jnp.maximum(n - length, 0)
        where = jnp.minimum(first[:, None] + places(view.items), 2 * length - 1)
        place = jnp.take_along_axis(order, where, axis=1)
        kept = view.at(place // 2, jnp.minimum(n, length))
        items = jnp.take_along_axis(pairs, place, axis=1)
        return kept._replace(items=jnp.where(kept.items > 0, items, 0))
