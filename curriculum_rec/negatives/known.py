"""The users' own items (device), which are no negatives: sorted rows, in which membership is a binary search."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32

from curriculum_rec.models.batch import Batch

POSITIVES = "positives"
"""The name under which whole training histories travel with the examples' own arrays."""
FILL = 2**31 - 1
"""Fills rows of known items up; larger than any item."""


def known_items(batch: Batch) -> Int32[Array, "batch known"]:
    """Give each example's known items in ascending order, ``FILL`` at the end.

    The user's whole training history where the batch brings it; else what the example itself contains.
    """
    if POSITIVES in batch.arrays:
        return batch[POSITIVES]
    items = jnp.concatenate([batch["history"][:, :1], batch["target"]], axis=1)
    return jnp.sort(jnp.where(items > 0, items, FILL), axis=1)


def is_known(known: Int32[Array, "batch known"], items: Int32[Array, "batch *rest"]) -> Bool[Array, "batch *rest"]:
    """Say which items stand in their example's row of known items.

    >>> is_known(jnp.array([[2, 5, FILL]]), jnp.array([[5, 4, 2]])).tolist()
    [[True, False, True]]
    """
    flat = items.reshape(len(items), -1)
    place = jax.vmap(lambda row, wanted: jnp.searchsorted(row, wanted, method="scan_unrolled"))(known, flat)
    place = jnp.minimum(place.astype(jnp.int32), known.shape[1] - 1)
    return (jnp.take_along_axis(known, place, axis=1) == flat).reshape(items.shape)
