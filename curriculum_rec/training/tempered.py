"""Scores divided by temperatures (device), for any objective that compares a model's vectors with those of items."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.objectives.losses import Around, Losses, Objective
from curriculum_rec.training.state import TrainState
from curriculum_rec.training.step import losses_of
from curriculum_rec.weighting.contract import Memory, Seen
from curriculum_rec.weighting.temperature import SLOPE, DataParameters

DISTANCE = 0.01
"""How far from the logarithms of the temperatures the losses are taken whose difference is a derivative."""


@dataclass(frozen=True)
class TemperedModel:
    """A model whose vectors, and so its scores, are divided by temperatures.

    Attributes:
        model: The model.
        log_temperature: ``[batch, length]``.
    """

    model: Any
    log_temperature: Float[Array, "batch length"]

    def __call__(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch length width"]:
        """Map every position to a vector."""
        hidden = self.model(batch, rng)
        return hidden * jnp.exp(-self.log_temperature)[..., None].astype(hidden.dtype)

    def item_vectors(self, items: Int32[Array, "*shape"] | None = None) -> Float[Array, "*rows width"]:
        """Give the model's item vectors."""
        return self.model.item_vectors(items)

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        return self.model.n_items


@dataclass(frozen=True)
class Tempered(Around):
    """An objective under temperatures.

    Attributes:
        objective: The objective.
        weighting: The rule that learns the temperatures.
        memory: What it remembers.
        shift: Added to all logarithms of temperatures.
    """

    objective: Objective
    weighting: DataParameters
    memory: Memory
    shift: float = 0.0

    def __call__(self, model: Any, batch: Batch, rng: BatchRng) -> Losses:
        """Compute the losses."""
        log_temperature = self.weighting.log_temperature(dict(batch.arrays), self.memory) + self.shift
        return self.objective(TemperedModel(model, log_temperature), batch, rng)


@dataclass(frozen=True)
class LookAround:
    """Adds the losses' derivatives by their temperatures to what a rule sees, as a central difference.

    Attributes:
        objective: The objective under the present temperatures.
        accumulate: Parts into which the batch is cut.
    """

    objective: Tempered
    accumulate: int = 1

    def __call__(self, seen: Seen, count: Array, state: TrainState, batch: Batch, rng: BatchRng) -> Seen:
        """Look at the losses a little warmer and a little colder."""
        del count
        warm, cold = (
            losses_of(replace(self.objective, shift=shift), state, batch, rng, accumulate=self.accumulate)
            for shift in (DISTANCE, -DISTANCE)
        )
        return replace(seen, all_facts={**seen.all_facts, SLOPE: seen.gather((warm - cold) / (2 * DISTANCE))})
