"""When items came, as a feature of their positions (device): a vector for how long after the item before each came."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int32

from curriculum_rec.data.times import TIME
from curriculum_rec.errors import OptionError
from curriculum_rec.models.axes import GAPS, STREAM, Axis
from curriculum_rec.models.batch import Batch
from curriculum_rec.models.touched import rows_of

TimeFeatures = Literal["none", "gap"]
"""Whether a position says how long after the item before its item came."""

TIME_RATIO = 0.301
"""Natural logarithm of the ratio of two neighbouring buckets' times, as in the program of HSTU's authors."""

N_BUCKETS = 128
"""Buckets of gaps, enough for a thousand years in microseconds."""

UNKNOWN_GAP = 0
"""The number of a gap that nobody knows: that of a first or hidden item. Buckets follow from 1 on."""

WITHOUT = "model.time_features=none"
"""The option by which a model has no vectors of gaps."""


class GapVectors(nnx.Module):
    """A vector for each bucket of the time since the item before, and one where that is unknown.

    Parameters: ``129 width``.

    Args:
        width: Size of a vector.
        scale: Standard deviation of the initial values.
        rngs: Random streams for these.

    Source: ours. TiSASRec (Li et al., 2020) has vectors of rounded times between all pairs of items, inside its
    attention; HSTU (Zhai et al., 2024) has a number for each of these.
    """

    def __init__(self, width: int, *, scale: float, rngs: nnx.Rngs) -> None:
        self.embedding = nnx.Param(scale * jax.random.normal(rngs.params(), (N_BUCKETS + 1, width)))

    @jax.named_scope("time features")
    def __call__(self, gaps: Int32[Array, "batch length"]) -> Float[Array, "batch length width"]:
        """Give the vectors of gaps, which :func:`gap_numbers` numbers."""
        return rows_of(self.embedding[...], gaps)

    def axes(self) -> dict[str, Any]:
        """Name the axes: buckets stay as many as they are, and make units of the stream."""
        rows, width = self.embedding.shape
        return {"embedding": (Axis(GAPS, rows), Axis(STREAM, width))}


def log_buckets(duration: Float[Array, "*shape"], n: int) -> Int32[Array, "*shape"]:
    """Number the logarithms of durations, in the unit of the data's timestamps; all up to 1 are one bucket.

    Args:
        duration: At least 0.
        n: Buckets; longer durations share the last.

    >>> log_buckets(jnp.array([0.0, 1.0, 100.0, 1e30]), 128).tolist()
    [0, 0, 15, 127]
    """
    bucket = jnp.floor(jnp.log(jnp.maximum(duration, 1)) / TIME_RATIO)
    return jnp.minimum(bucket, n - 1).astype(jnp.int32)


def gap_numbers(
    time: Float[Array, "batch length"], items: Int32[Array, "batch length"]
) -> Int32[Array, "batch length"]:
    """Number how long after the item before each item came: what is known at its position, whatever follows.

    Args:
        time: When each item came.
        items: The history, 0 where nothing follows.

    Returns:
        1 and the bucket of the time since the item before; ``UNKNOWN_GAP`` for the first item and for padding.

    >>> gap_numbers(jnp.array([[-101.0, -100.0, 0.0, 0.0]]), jnp.array([[5, 6, 7, 0]])).tolist()
    [[0, 1, 16, 0]]
    """
    since = jnp.abs(jnp.diff(time, axis=1, prepend=time[:, :1]))
    has_before = (items > 0) & (jnp.arange(items.shape[1], dtype=jnp.int32) > 0)[None, :]
    return jnp.where(has_before, 1 + log_buckets(since, N_BUCKETS), UNKNOWN_GAP)


def gaps_of(
    vectors: GapVectors | None, batch: Batch, *, asks_behind: bool = False
) -> Int32[Array, "batch positions"] | None:
    """Number the gaps of a batch's histories for a model that has vectors for them; None for any other.

    Args:
        vectors: The model's.
        batch: Histories, and their times.
        asks_behind: Whether there is one position more, for an item of which nobody knows when it comes.
    """
    if vectors is None:
        return None
    gaps = gap_numbers(times_of(batch, without=WITHOUT), batch["history"])
    return jnp.pad(gaps, ((0, 0), (0, 1)), constant_values=UNKNOWN_GAP) if asks_behind else gaps


def add_gaps(
    x: Float[Array, "batch length width"], vectors: GapVectors | None, gaps: Int32[Array, "batch length"] | None
) -> Float[Array, "batch length width"]:
    """Add to each position the vector of the gap before its item.

    Args:
        x: What histories look like.
        vectors: Those of gaps; None leaves everything as it is.
        gaps: The numbers of the gaps.

    Raises:
        OptionError: Nobody says when items came.
    """
    if vectors is None:
        return x
    if gaps is None:
        raise _without_times(WITHOUT)
    return x + vectors(gaps).astype(x.dtype)


def times_of(batch: Batch, *, without: str) -> Float[Array, "batch length"]:
    """Give the times of the items; a single item needs none.

    Args:
        batch: Histories.
        without: The option by which the model does not ask.

    Raises:
        OptionError: The batch has no times.
    """
    if TIME in batch.arrays:
        return batch[TIME]
    if batch["history"].shape[1] > 1:
        raise _without_times(without)
    return jnp.zeros(batch["history"].shape, jnp.float32)


def _without_times(without: str) -> OptionError:
    return OptionError(
        "the model wants to know when items came, and the batch has no array 'time': use Examples.with_times(), leave "
        f"out what makes histories of its own, or leave the time out by {without}"
    )
