"""Tables whose rows are spread over devices (device): each device goes through its own, and none gets those of others.

XLA shares the work on a spread table out by itself, but gathers the table where a range of its rows is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import jax
from jaxtyping import Array

TABLE = "table"
"""The axis of a mesh over which the rows of the item table are spread."""

Found = TypeVar("Found")


def n_shards(table: Array) -> int:
    """Give the number of devices over which the rows of a table are spread, of those that share them equally.

    >>> n_shards(jax.numpy.ones((128, 2)))
    1
    """
    return math.gcd(len(table), jax.typeof(table).sharding.mesh.shape.get(TABLE, 1))


def over_shards(function: Callable[..., Found], *tables: Array, shards: int, join: Callable[[Found], Found]) -> Found:
    """Apply a function to each shard of tables, where it lies.

    Args:
        function: From a shard's rows ``[rows / shards, ...]`` to what is found there.
        tables: ``[rows, ...]``, spread alike.
        shards: Over how many devices, as :func:`n_shards` says.
        join: Puts together what was found, ``[shards, ...]``; of one shard nothing is left to do.

    >>> scores = jax.numpy.arange(6.0)
    >>> [float(over_shards(jax.numpy.max, scores, shards=n, join=jax.numpy.max)) for n in (1, 3)]
    [5.0, 5.0]
    """
    if shards == 1:
        return function(*tables)
    return join(jax.vmap(function)(*(table.reshape(shards, -1, *table.shape[1:]) for table in tables)))
