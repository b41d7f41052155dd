"""Histories as sets (device), for models to which neither order nor repetition matters."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Int32


def different_items(history: Int32[Array, "batch length"]) -> Int32[Array, "batch length"]:
    """Give the different items of each history, first in the row and highest first, then 0.

    >>> different_items(jnp.array([[5, 2, 5, 0], [3, 0, 0, 0]])).tolist()
    [[5, 2, 0, 0], [3, 0, 0, 0]]
    """
    ordered = jnp.sort(history, axis=1)
    again = jnp.pad(ordered[:, 1:] == ordered[:, :-1], ((0, 0), (1, 0)))
    return -jnp.sort(jnp.where(again, 0, -ordered), axis=1)
