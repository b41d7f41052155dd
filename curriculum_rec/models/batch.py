"""What a model and an objective receive (device): one batch, and the randomness that belongs to its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32, UInt32

from curriculum_rec.streams import name_hash


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Batch:
    """Examples of one shape.

    Attributes:
        arrays: Named arrays with leading axis ``batch``; sequences have ``history`` and ``target``, int32
            ``[batch, length]``, filled from the left, 0 where nothing follows.
        weight: float32 ``[batch]``, or ``[batch, length]`` where single targets are weighted; 0 for rows that only
            fill the batch up.
        progress: float32 scalar, steps trained as a fraction of the run; None where nobody says.
        memory: What the objective remembers, brought up to this step.
        teacher: Frozen arrays that every device has, for an objective that follows a teacher; None for any other.
        axis_name: The mapped axis over which the whole batch is spread, for an objective that compares its rows; None
            where all rows are here.
    """

    arrays: Mapping[str, Array]
    weight: Float[Array, "batch *length"]
    progress: Float[Array, ""] | None = None
    memory: Mapping[str, Array] = field(default_factory=dict)
    teacher: Any = None
    axis_name: str | None = field(default=None, metadata={"static": True})

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class BatchRng:
    """Randomness of one batch, the same on any number of devices.

    Numbers come from hashing (seed, row in the global batch, place in the row), so that a device computes those of its
    own rows without knowing the others. The hash costs a small fraction of ``jax.random.bernoulli`` on a CPU.

    Attributes:
        seed: uint32 scalar.
        row: uint32 ``[batch]``, each example's row in the global batch.
    """

    seed: UInt32[Array, ""]
    row: UInt32[Array, " batch"]

    @classmethod
    def for_rows(cls, key: Array, row: Int32[Array, " batch"]) -> BatchRng:
        """Derive the batch's randomness from a JAX key."""
        return cls(jax.random.bits(key, dtype=jnp.uint32), row.astype(jnp.uint32))

    def named(self, name: str) -> BatchRng:
        """Give the stream of one use, for example ``"dropout"``; different names are independent."""
        return self.numbered(jnp.uint32(name_hash(name)))

    def numbered(self, number: Array | int) -> BatchRng:
        """Give the stream of one use among several alike, for example one layer's; may be traced."""
        return replace(
            self, seed=scramble(self.seed ^ scramble(jnp.asarray(number, jnp.uint32) + jnp.uint32(0x9E3779B9)))
        )

    def bits(self, *shape: int) -> UInt32[Array, "batch *shape"]:
        """Draw 32 random bits for every place ``[batch, *shape]``."""
        size = 1
        for n in shape:
            size *= n
        place = jnp.arange(size, dtype=jnp.uint32).reshape(shape)
        row = self.row.reshape(-1, *(1,) * len(shape)) * jnp.uint32(size)
        # The seed enters by "exclusive or": by addition, all streams would be shifted copies of one sequence.
        return scramble((row + place[None]) * jnp.uint32(0x9E3779B9) ^ self.seed)

    def key(self) -> Array:
        """Give a JAX key for numbers that the whole batch shares, the same on every device."""
        return jax.random.key(self.seed)


def dropout(x: Float[Array, "batch *rest"], rate: float, rng: BatchRng | None) -> Float[Array, "batch *rest"]:
    """Zero a random share of the entries and scale the others up, or do nothing without randomness.

    Args:
        x: ``[batch, ...]``.
        rate: Share of the entries that become 0, in [0, 1).
        rng: The stream of this use; None at inference.
    """
    if rng is None or rate == 0:
        return x
    return jnp.where(
        keep_mask(rng, rate, x.shape[1:]), x * jnp.asarray(1 / (1 - rate), x.dtype), jnp.zeros((), x.dtype)
    )


def keep_mask(rng: BatchRng, rate: float, shape: tuple[int, ...]) -> Bool[Array, "batch *rest"]:
    """Draw a mask that is False with probability ``rate``."""
    return rng.bits(*shape) >= jnp.uint32(min(int(rate * 2**32), 2**32 - 1))


def scramble(x: UInt32[Array, "*shape"]) -> UInt32[Array, "*shape"]:
    """Scramble 32 bits (the "lowbias32" constants found by Chris Wellons' hash prospector)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)
