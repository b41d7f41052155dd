"""What objectives with sampled negatives share (device)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Array

from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.negatives import Negatives, Uniform
from curriculum_rec.negatives.contract import Memory
from curriculum_rec.ranges import at_least, check_ranges


@dataclass(frozen=True)
class WithNegatives:
    """An objective whose negatives are a component of their own.

    Args:
        n_negatives: Negatives a position, or for the whole batch; at least 1.
        negatives: How they are drawn.
    """

    n_negatives: int = 1
    negatives: Negatives = Uniform()

    def __post_init__(self) -> None:
        check_ranges(self, "objective", {"n_negatives": at_least(1)})

    def begin(self, *, n_items: int, item_counts: np.ndarray | None) -> Memory:
        """Give the negatives' memory before the first step."""
        return self.negatives.begin(self.n_negatives, n_items=n_items, item_counts=item_counts)

    def remember(
        self, memory: Memory, model: Any, batch: Batch, rng: BatchRng, *, step: Array, axis_name: str | None
    ) -> Memory:
        """Bring the negatives' memory up to a step."""
        return self.negatives.remember(memory, model, batch, rng, step=step, axis_name=axis_name)
