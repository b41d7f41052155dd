"""What an objective returns (device)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from curriculum_rec.data.cooccurrence import with_similar
from curriculum_rec.data.examples import Examples
from curriculum_rec.data.twins import with_twins
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.negatives.contract import Memory


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


@runtime_checkable
class ChecksInputs(Protocol):
    """An objective that does not suit all data."""

    def check_inputs(self, inputs: Any) -> None:
        """Refuse data that it does not suit.

        Raises:
            OptionError: It does not.
        """
        ...


@runtime_checkable
class Remembers(Protocol):
    """An objective that remembers something from step to step; it finds it in ``batch.memory``."""

    def begin(self, *, n_items: int, item_counts: np.ndarray | None) -> Memory:
        """Give the memory before the first step."""
        ...

    def remember(
        self, memory: Memory, model: Any, batch: Batch, rng: BatchRng, *, step: Array, axis_name: str | None
    ) -> Memory:
        """Bring the memory up to a step, before its losses are computed; the result is the same on every device."""
        ...


@runtime_checkable
class NeedsPositives(Protocol):
    """An objective that may want the whole training history of every user."""

    @property
    def needs_positives(self) -> bool:
        """Whether it does."""
        ...


class Around:
    """What an objective around another one passes on: what that one remembers, and whether it asks for positives."""

    objective: Objective

    @property
    def needs_positives(self) -> bool:
        """Whether the objective does."""
        return isinstance(self.objective, NeedsPositives) and self.objective.needs_positives

    def begin(self, *, n_items: int, item_counts: np.ndarray | None) -> Memory:
        """Give the objective's memory before the first step."""
        if not isinstance(self.objective, Remembers):
            return {}
        return self.objective.begin(n_items=n_items, item_counts=item_counts)

    def remember(
        self, memory: Memory, model: Any, batch: Batch, rng: BatchRng, *, step: Array, axis_name: str | None
    ) -> Memory:
        """Bring the objective's memory up to a step, from the whole batch as it is."""
        if not isinstance(self.objective, Remembers):
            return memory
        return self.objective.remember(memory, model, batch, rng, step=step, axis_name=axis_name)


@runtime_checkable
class NeedsSimilar(Protocol):
    """An objective that may want to know items that are like those of the histories."""

    @property
    def needs_similar(self) -> int:
        """How many of each."""
        ...


@runtime_checkable
class NeedsTwins(Protocol):
    """An objective that may want to know other histories after which a row's last target came."""

    @property
    def needs_twins(self) -> int:
        """How many of each row."""
        ...


def examples_for(objective: Objective, examples: Examples) -> Examples:
    """Give the examples with what the objective, or one inside it, needs besides them."""
    for each in with_inner(objective):
        if isinstance(each, NeedsPositives) and each.needs_positives:
            examples = examples.with_positives()
        if isinstance(each, NeedsSimilar) and (k := each.needs_similar):
            examples = with_similar(examples, k)
        if isinstance(each, NeedsTwins) and (k := each.needs_twins):
            examples = with_twins(examples, k)
    return examples


def with_inner(objective: Any) -> Iterator[Any]:
    """Give an objective, the one that it is put around, and so on."""
    while objective is not None:
        yield objective
        objective = getattr(objective, "objective", None)


def broadcast_weight(weight: Float[Array, "batch *length"], like: Array) -> Array:
    """Give weights the shape of the losses: one weight an example holds for all its targets.

    Args:
        weight: ``[batch]`` or the full shape.
        like: An array of the losses' shape.
    """
    return weight.reshape(weight.shape + (1,) * (like.ndim - weight.ndim))
