"""Negatives whose probabilities do not depend on the model (device)."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32, UInt32

from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.negatives.contract import (
    Asked,
    Drawn,
    Memory,
    SharedDraw,
    WithoutMemory,
    draw_uniformly,
    progress,
    ramp,
    recall,
)
from curriculum_rec.ranges import POSITIVE, at_least, check_ranges


@dataclass(frozen=True)
class Uniform(WithoutMemory):
    """Every item as likely as any other."""

    @property
    def scored(self) -> int:
        """Nothing is scored."""
        return 0

    def per_position(self, asked: Asked, n: int, rng: BatchRng) -> Drawn:
        """Draw for every position."""
        return as_drawn(asked, draw_uniformly(rng, asked.hidden.shape[1], n, n_items=asked.model.n_items))

    def shared(self, batch: Batch, n: int, rng: BatchRng, *, n_items: int) -> SharedDraw:
        """Draw for the whole batch."""
        items = jax.random.randint(rng.key(), (n,), 1, n_items + 1, jnp.int32)
        return SharedDraw(items, self.log_q(batch, items, n_items=n_items))

    def log_q(self, batch: Batch, items: Int32[Array, "*shape"], *, n_items: int) -> Float[Array, "*shape"]:
        """Give the logarithm of each item's probability, the same for all."""
        del batch
        return jnp.full(items.shape, -np.log(n_items), jnp.float32)


@dataclass(frozen=True)
class Popularity(WithoutMemory):
    """Items in proportion to ``count^beta``; an item that never occurs counts as one that occurs once.

    Popular items are the harder negatives: ``beta`` goes linearly from ``beta_start`` to ``beta``.

    Args:
        beta_start: Exponent at first; 0 is uniform.
        beta: Exponent from ``full_at`` on.
        full_at: Fraction of the run, above 0.

    Source: Mikolov et al. (2013), with the exponent 3/4.
    """

    beta_start: float = 0.0
    beta: float = 0.75
    full_at: float = 0.5

    def __post_init__(self) -> None:
        check_ranges(self, "objective.negatives", {"beta_start": at_least(0), "beta": at_least(0), "full_at": POSITIVE})

    @property
    def scored(self) -> int:
        """Nothing is scored."""
        return 0

    def begin(self, n: int, *, n_items: int, item_counts: np.ndarray | None) -> Memory:
        """Keep the items' counts, which the examples know, and the items in the order of these."""
        del n
        if item_counts is None or len(item_counts) != n_items + 1:
            raise OptionError(
                "objective.negatives=Popularity needs the training count of each of the "
                f"{n_items} items: give Examples.item_counts"
            )
        counts = np.maximum(item_counts[1:], 1)
        distinct, group, size = np.unique(counts, return_inverse=True, return_counts=True)
        # What is drawn seldom comes first: near 0 the numbers of float32 lie closest.
        order = np.argsort(size * distinct.astype(np.float64) ** self.beta, kind="stable")
        items = 1 + np.argsort(np.argsort(order)[group], kind="stable")
        return {
            "log_counts": jnp.log(jnp.asarray(np.concatenate([[1], counts]), jnp.float32)),
            "log_distinct": jnp.log(jnp.asarray(distinct[order], jnp.float32)),
            "begin": jnp.asarray(np.concatenate([[0], np.cumsum(size[order])]), jnp.int32),
            "items": jnp.asarray(items, jnp.int32),
        }

    def per_position(self, asked: Asked, n: int, rng: BatchRng) -> Drawn:
        """Draw for every position."""
        shape = asked.hidden.shape[1], n
        return as_drawn(asked, self._draw(asked.batch, rng.bits(*shape), rng.named("among equals").bits(*shape)))

    def shared(self, batch: Batch, n: int, rng: BatchRng, *, n_items: int) -> SharedDraw:
        """Draw for the whole batch."""
        items = self._draw(batch, *jax.random.bits(rng.key(), (2, n), jnp.uint32))
        return SharedDraw(items, self.log_q(batch, items, n_items=n_items))

    def log_q(self, batch: Batch, items: Int32[Array, "*shape"], *, n_items: int) -> Float[Array, "*shape"]:
        """Give the logarithm of each item's probability at this step."""
        del n_items
        scale, highest = self._exponent(batch), self._recall(batch, "log_distinct").max()
        return scale * (self._recall(batch, "log_counts")[items] - highest) - jnp.log(self._masses(batch).sum())

    def _draw(
        self, batch: Batch, which: UInt32[Array, "*shape"], among: UInt32[Array, "*shape"]
    ) -> Int32[Array, "*shape"]:
        """Draw a count by its items' probability, and one of these, which are equal; it costs what the counts cost."""
        begin, bounds = self._recall(batch, "begin"), jnp.cumsum(self._masses(batch))
        number = which.astype(jnp.float32) * jnp.float32(2**-32) * bounds[-1]
        count = jnp.searchsorted(bounds, number, side="right", method="scan_unrolled")
        count = jnp.minimum(count.astype(jnp.int32), len(bounds) - 1)
        place = among % (begin[count + 1] - begin[count]).astype(jnp.uint32)
        return self._recall(batch, "items")[begin[count] + place.astype(jnp.int32)]

    def _masses(self, batch: Batch) -> Float[Array, " counts"]:
        """Give the probability of each count's items together, up to a factor."""
        logarithm, size = self._recall(batch, "log_distinct"), jnp.diff(self._recall(batch, "begin"))
        return size * jnp.exp(self._exponent(batch) * (logarithm - logarithm.max()))

    def _exponent(self, batch: Batch) -> Float[Array, ""]:
        return ramp(progress(batch), self.beta_start, self.beta, self.full_at)

    def _recall(self, batch: Batch, name: str) -> Array:
        return recall(batch.memory, name, self)


def as_drawn(asked: Asked, items: Int32[Array, "batch length n"]) -> Drawn:
    """Leave out of some items those that are no negatives."""
    left_out = asked.left_out(items)
    return Drawn(items, ~left_out, left_out.mean(axis=-1, dtype=jnp.float32))
