"""Negatives out of the batch itself (device)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.negatives.contract import Memory, SharedDraw, recall
from curriculum_rec.ranges import BELOW_ONE, check_ranges


@dataclass(frozen=True)
class InBatch:
    """Targets of the whole batch, of all devices, drawn with replacement: an item is a negative as often as a target.

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
        del n, rng, n_items
        items, counts = (recall(batch.memory, name, self) for name in ("items", "counts"))
        return SharedDraw(items, jnp.log(jnp.maximum(counts[items], 1e-9)) - jnp.log(jnp.maximum(counts.sum(), 1e-9)))
