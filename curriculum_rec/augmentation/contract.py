"""What an augmentation takes and gives (device)."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from curriculum_rec.models.batch import BatchRng


class View(NamedTuple):
    """Histories, and what travels with their items.

    Attributes:
        items: int32 ``[batch, length]``, filled from the left, 0 where nothing follows.
        similar: int32 ``[batch, length, k]``, items that are like each item, 0 where there are fewer; None where nobody
            asks for them.
        time: float32 ``[batch, length]``, when each item came; None where nobody asks for it.
    """

    items: Int32[Array, "batch length"]
    similar: Int32[Array, "batch length k"] | None = None
    time: Float[Array, "batch length"] | None = None

    @property
    def lengths(self) -> Int32[Array, " batch"]:
        """Items of each history."""
        return (self.items > 0).sum(axis=1, dtype=jnp.int32)

    def at(self, index: Int32[Array, "batch length"], n: Int32[Array, " batch"]) -> View:
        """Take items from other places of their history.

        Args:
            index: From where each item of the result comes; any place beyond the end counts as the last.
            n: How many items the results have.
        """
        inside = places(self.items) < n[:, None]
        index = jnp.clip(index, 0, self.items.shape[1] - 1)

        def take(array: Array) -> Array:
            shape = (*index.shape, *(1,) * (array.ndim - 2))
            taken = jnp.take_along_axis(array, index.reshape(shape), axis=1)
            return jnp.where(inside.reshape(shape), taken, jnp.zeros((), array.dtype))

        return View(
            take(self.items),
            None if self.similar is None else take(self.similar),
            None if self.time is None else take(self.time),
        )


@runtime_checkable
class Augmentation(Protocol):
    """Options of an augmentation."""

    @property
    def needs_similar(self) -> int:
        """How many similar items it wants to know of each item."""
        ...

    def __call__(self, view: View, rng: BatchRng, *, mask: int) -> View:
        """Change histories, each by itself; one of at least one item keeps at least one.

        Args:
            view: The histories.
            rng: The stream of this use.
            mask: The code that stands for a hidden item.
        """
        ...


def places(items: Int32[Array, "batch length"]) -> Int32[Array, "one length"]:
    """Number the positions of histories."""
    return jnp.arange(items.shape[1], dtype=jnp.int32)[None, :]


def uniform(rng: BatchRng, *shape: int) -> Float[Array, "batch *shape"]:
    """Draw numbers in [0, 1) from the 24 bits that a float32 holds."""
    return (rng.bits(*shape) >> 8).astype(jnp.float32) * jnp.float32(2**-24)


def window(view: View, rng: BatchRng, share: float) -> tuple[Int32[Array, " batch"], Int32[Array, " batch"]]:
    """Draw a part of each history: where it begins, and how many items it has, at least one where there is one."""
    n = view.lengths
    size = jnp.minimum(jnp.maximum(jnp.floor(share * n).astype(jnp.int32), 1), n)
    begin = jnp.floor(uniform(rng.named("begin")) * (n - size + 1).astype(jnp.float32)).astype(jnp.int32)
    return begin, size
