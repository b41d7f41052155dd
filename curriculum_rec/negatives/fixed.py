"""Negatives whose probabilities do not depend on the model (device)."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.negatives.contract import (
    Asked,
    Drawn,
    Memory,
    SharedDraw,
    WithoutMemory,
    draw_numbers,
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
        """Keep the items' counts, which the examples know."""
        del n
        if item_counts is None or len(item_counts) != n_items + 1:
            raise OptionError(
                "objective.negatives=Popularity needs the training count of each of the "
                f"{n_items} items: give Examples.item_counts"
            )
        return {"log_counts": jnp.log(jnp.maximum(jnp.asarray(item_counts, jnp.float32), 1))}

    def per_position(self, asked: Asked, n: int, rng: BatchRng) -> Drawn:
        """Draw for every position."""
        numbers = draw_numbers(rng, asked.hidden.shape[1], n)
        return as_drawn(asked, _invert(self._weights(asked.batch), numbers))

    def shared(self, batch: Batch, n: int, rng: BatchRng, *, n_items: int) -> SharedDraw:
        """Draw for the whole batch."""
        items = _invert(self._weights(batch), jax.random.uniform(rng.key(), (n,), jnp.float32))
        return SharedDraw(items, self.log_q(batch, items, n_items=n_items))

    def log_q(self, batch: Batch, items: Int32[Array, "*shape"], *, n_items: int) -> Float[Array, "*shape"]:
        """Give the logarithm of each item's probability at this step."""
        del n_items
        weights = self._weights(batch)
        return jnp.log(weights[items - 1]) - jnp.log(weights.sum())

    def _weights(self, batch: Batch) -> Float[Array, " n_items"]:
        """Give every item's probability, up to a factor; the first item's stands at 0."""
        logarithm = recall(batch.memory, "log_counts", self)[1:]
        return jnp.exp(ramp(progress(batch), self.beta_start, self.beta, self.full_at) * (logarithm - logarithm.max()))


def _invert(weights: Float[Array, " n_items"], numbers: Float[Array, "*shape"]) -> Int32[Array, "*shape"]:
    """Turn numbers in [0, 1) into items of these weights."""
    bounds = jnp.cumsum(weights)
    index = jnp.searchsorted(bounds, numbers * bounds[-1], side="right", method="scan_unrolled")
    return 1 + jnp.minimum(index.astype(jnp.int32), len(weights) - 1)


def as_drawn(asked: Asked, items: Int32[Array, "batch length n"]) -> Drawn:
    """Leave out of some items those that are no negatives."""
    left_out = asked.left_out(items)
    return Drawn(items, ~left_out, left_out.mean(axis=-1, dtype=jnp.float32))
