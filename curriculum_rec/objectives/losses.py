"""What an objective returns (device)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Bool, Float

from curriculum_rec.models.batch import Batch, BatchRng


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Losses:
    """Losses one by one; the curriculum needs them so.

    Attributes:
        per_example: float32 ``[batch]``, or ``[batch, length]`` for sequences.
        mask: bool of the same shape, False where there is nothing to learn (padding); None where all count.
        metrics: Scalars for the log, means over the batch.
    """

    per_example: Float[Array, "batch *length"]
    mask: Bool[Array, "batch *length"] | None = None
    metrics: Mapping[str, Float[Array, ""]] = field(default_factory=dict)


@runtime_checkable
class Objective(Protocol):
    """A loss function with its options."""

    def __call__(self, model: Any, batch: Batch, rng: BatchRng) -> Losses: ...


@runtime_checkable
class CountsScores(Protocol):
    """An objective that knows what it computes; without it a run's log has no share of the peak."""

    def scores_per_target(self, n_items: int) -> int:
        """Count the candidates whose scores a target takes, itself included."""
        ...


def broadcast_weight(weight: Float[Array, "batch *length"], like: Array) -> Array:
    """Give weights the shape of the losses: one weight an example holds for all its targets.

    Args:
        weight: ``[batch]`` or the full shape.
        like: An array of the losses' shape.
    """
    return weight.reshape(weight.shape + (1,) * (like.ndim - weight.ndim))
