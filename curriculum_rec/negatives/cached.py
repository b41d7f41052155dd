"""Negatives from lists of hard items that are made anew every so many steps (device)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32

from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.contract import Recommender
from curriculum_rec.models.items import is_candidate
from curriculum_rec.negatives.contract import Asked, Drawn, Memory, draw_numbers, draw_uniformly, ramp, recall
from curriculum_rec.ranges import POSITIVE, SHARE, at_least, check_ranges

TRIES = 4
"""Draws of one negative, of which the first that is not left out is taken: lists are full of the user's own items."""
CHUNK = 512
"""Items whose lists are made at once, each with a score for all items; memory grows with it, not the result."""


@dataclass(frozen=True)
class CachedHard:
    """With a growing probability one of the items that a snapshot of the model ranks highest, else a uniform one.

    There is a list for every item: the snapshot's top after a history of that item alone. A position uses the list of
    the item before its target. The lists are made on the devices, by the model as it is at that step.

    Args:
        size: Length of a list, at least 1 and at most the catalogue's size.
        every_steps: Steps after which the lists are made anew, at least 1.
        rate_start: Probability of an item from the list at first, in [0, 1].
        rate: That probability from ``full_at`` on, in [0, 1].
        full_at: Fraction of the run, linearly until which it changes; above 0.

    Source: Xiong et al. (2021) draw hard negatives by an earlier state of the model; lists of items are ours.
    """

    size: int = 100
    every_steps: int = 500
    rate_start: float = 0.0
    rate: float = 0.5
    full_at: float = 0.5

    def __post_init__(self) -> None:
        ranges = {
            "size": at_least(1),
            "every_steps": at_least(1),
            "rate_start": SHARE,
            "rate": SHARE,
            "full_at": POSITIVE,
        }
        check_ranges(self, "objective.negatives", ranges)

    @property
    def scored(self) -> int:
        """Nothing is scored for a position."""
        return 0

    @property
    def asks_of_nobody(self) -> bool:
        """Lists are made of histories that no user has."""
        return True

    def begin(self, n: int, *, n_items: int, item_counts: np.ndarray | None) -> Memory:
        """Begin without lists; the first step makes them."""
        del n, item_counts
        if self.size > n_items:
            raise OptionError(f"objective.negatives.size={self.size}: the catalogue has only {n_items} items")
        return {"hard": jnp.zeros((n_items + 1, self.size), jnp.int32), "made": jnp.full((), -1, jnp.int32)}

    def remember(
        self, memory: Memory, model: Any, batch: Batch, rng: BatchRng, *, step: Array, axis_name: str | None
    ) -> Memory:
        """Make the lists anew when it is time; every device makes the same ones."""
        del batch, rng, axis_name
        hard, made = (recall(memory, name, self) for name in ("hard", "made"))
        stale = (made < 0) | (step - made >= self.every_steps)
        hard = jax.lax.cond(stale, lambda: hard_lists(model, self.size), lambda: hard)
        return {"hard": hard, "made": jnp.where(stale, step, made)}

    def per_position(self, asked: Asked, n: int, rng: BatchRng) -> Drawn:
        """Draw from the lists or the catalogue, a few times, and take the first that is a negative."""
        lists, history = recall(asked.batch.memory, "hard", self), asked.batch["history"]
        shape = (history.shape[1], n, TRIES)
        uniform = draw_uniformly(rng, *shape, n_items=asked.model.n_items)
        place = (rng.named("place").bits(*shape) % jnp.uint32(self.size)).astype(jnp.int32)
        rate = ramp(asked.progress, self.rate_start, self.rate, self.full_at)
        from_list = draw_numbers(rng.named("rate"), *shape[:2]) < rate
        items = jnp.where(from_list[..., None], lists[history[:, :, None, None], place], uniform)
        known = asked.left_out(items)
        first = (~known).argmax(axis=-1).astype(jnp.int32)[..., None]
        chosen, chosen_known = (jnp.take_along_axis(values, first, axis=-1)[..., 0] for values in (items, known))
        return Drawn(chosen, ~chosen_known, known.mean(axis=(2, 3), dtype=jnp.float32))


def hard_lists(model: Recommender, size: int) -> Int32[Array, "rows size"]:
    """Rank all items after each item alone, ``[n_items + 1, size]``, the highest score first; row 0 means nothing."""
    vectors, n_rows = model.item_vectors(), model.n_items + 1
    candidate = is_candidate(len(vectors), model.n_items)[None, :]
    chunk = min(CHUNK, n_rows)

    def make(items: Int32[Array, " chunk"]) -> Int32[Array, "chunk size"]:
        arrays = {"history": items[:, None], "time": jnp.zeros((len(items), 1))}
        hidden = model(Batch(arrays, jnp.ones(len(items))))[:, 0]
        scores = jnp.matmul(hidden, vectors.T, preferred_element_type=jnp.float32)
        return jax.lax.top_k(jnp.where(candidate, scores, -jnp.inf), size)[1].astype(jnp.int32)

    n_chunks = -(-n_rows // chunk)
    items = jnp.minimum(jnp.arange(n_chunks * chunk, dtype=jnp.int32), model.n_items).reshape(n_chunks, chunk)
    return jax.lax.map(make, items).reshape(-1, size)[:n_rows]
