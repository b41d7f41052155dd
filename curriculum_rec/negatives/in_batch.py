"""Negatives out of the batch itself (device)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.negatives.contract import Asked, Drawn, Memory, SharedDraw, recall
from curriculum_rec.ranges import BELOW_ONE, check_ranges

POOL = 1024
"""How many targets of the batch are drawn for positions that choose among them for themselves, at least."""


@dataclass(frozen=True)
class InBatch:
    """Targets of the whole batch, of all devices, drawn with replacement: an item is a negative as often as a target.

    Positions that draw for themselves draw from :data:`POOL` of those.

    A running count of the targets estimates each one's probability; with ``objective.correct`` its logarithm is taken
    from the scores, so that popular items are not pushed down for being popular.

    Args:
        decay: What of the counts is left after a step, in [0, 1).

    Source: Yi et al. (2019), sampling-bias-corrected retrieval, with decayed counts for their gaps between occurrences.
    """

    decay: float = 0.999

    def __post_init__(self) -> None:
        check_ranges(self, "objective.negatives", {"decay": BELOW_ONE})

    def begin(self, n: int, *, n_items: int, item_counts: np.ndarray | None) -> Memory:
        """Begin with nothing counted."""
        del item_counts
        return {"counts": jnp.zeros(n_items + 1), "items": jnp.zeros(n, jnp.int32)}

    def remember(
        self, memory: Memory, model: Any, batch: Batch, rng: BatchRng, *, step: Array, axis_name: str | None
    ) -> Memory:
        """Count the targets of the whole batch, and draw from them."""
        del model, step
        target = batch["target"]
        weight = batch.weight if batch.weight.ndim == 2 else batch.weight[:, None]
        items = jnp.where(weight > 0, target, 0).reshape(-1)
        if axis_name is not None:
            items = jax.lax.all_gather(items, axis_name).reshape(-1)
        real = (items > 0).astype(jnp.int32)
        counts = self.decay * recall(memory, "counts", self)
        counts = counts.at[items].add(real.astype(counts.dtype))
        n, n_real = len(memory["items"]), real.sum()
        number = jax.random.randint(rng.named("in batch").key(), (n,), 0, jnp.maximum(n_real, 1), jnp.int32)
        index = jnp.searchsorted(jnp.cumsum(real), number + 1)
        return {"counts": counts, "items": items.at[index].get(mode="fill", fill_value=0)}

    def shared(self, batch: Batch, n: int, rng: BatchRng, *, n_items: int) -> SharedDraw:
        """Give what was drawn from the batch."""
        del n, rng
        items = recall(batch.memory, "items", self)
        return SharedDraw(items, self.log_q(batch, items, n_items=n_items))

    @property
    def scored(self) -> int:
        """Nothing is scored."""
        return 0

    def per_position(self, asked: Asked, n: int, rng: BatchRng) -> Drawn:
        """Draw for every position from what was drawn from the batch."""
        pool = recall(asked.batch.memory, "items", self)
        place = rng.bits(asked.hidden.shape[1], n) % jnp.uint32(len(pool))
        items = pool[place.astype(jnp.int32)]
        left_out = asked.left_out(items)
        return Drawn(items, ~left_out & (items > 0), left_out.mean(axis=-1, dtype=jnp.float32))

    def log_q(self, batch: Batch, items: Int32[Array, "*shape"], *, n_items: int) -> Float[Array, "*shape"]:
        """Estimate the logarithm of each item's probability from the running counts."""
        del n_items
        counts = recall(batch.memory, "counts", self)
        return jnp.log(jnp.maximum(counts[items], 1e-9)) - jnp.log(jnp.maximum(counts.sum(), 1e-9))
