"""What an objective asks of negatives (device).

Negatives are drawn for every position by itself (:class:`PerPosition`) or once for all positions of a batch
(:class:`Shared`). What they remember from step to step lies in the train state, and so in the checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32

from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.contract import Recommender
from curriculum_rec.negatives.known import is_known, known_items

Memory = dict[str, Array]
"""What negatives remember from step to step: named arrays, the same on every device."""

Avoid = Literal["target", "known"]
"""What is no negative: a position's own target, or all items of its user's training history."""


@dataclass(frozen=True)
class Asked:
    """The positions that need negatives.

    Attributes:
        model: Scores items.
        hidden: ``[batch, length, width]``, the user vectors.
        positive: float32 ``[batch, length]``, the targets' scores.
        batch: Where history and target stand.
        avoid: What is no negative.
    """

    model: Recommender
    hidden: Float[Array, "batch length width"]
    positive: Float[Array, "batch length"]
    batch: Batch
    avoid: Avoid = "known"

    @cached_property
    def known(self) -> Int32[Array, "batch known"]:
        """The users' own items, which are no negatives, in ascending order."""
        return known_items(self.batch)

    def left_out(self, items: Int32[Array, "batch length *n"]) -> Bool[Array, "batch length *n"]:
        """Say which items are no negatives of their position."""
        if self.avoid == "known":
            return is_known(self.known, items)
        target = self.batch["target"]
        return items == target.reshape(*target.shape, *(1,) * (items.ndim - 2))

    @property
    def progress(self) -> Float[Array, ""]:
        """Steps trained as a fraction of the run."""
        return progress(self.batch)


@dataclass(frozen=True)
class Drawn:
    """Negatives of every position.

    Attributes:
        items: int32 ``[batch, length, n]``.
        allowed: bool of the same shape, False for what is no negative after all: nothing better was among the
            candidates.
        avoided: float32 ``[batch, length]``, the share of the candidates that were left out as ``Asked.avoid`` says.
        hardness: float32 ``[batch, length]``, the mean quantile in (0, 1) of the negatives' scores among those of their
            candidates; None where candidates are not scored.
        mix: float32 of the items' shape in [0, 1], how much of the target is mixed into a negative; None for nothing.
    """

    items: Int32[Array, "batch length n"]
    allowed: Bool[Array, "batch length n"]
    avoided: Float[Array, "batch length"]
    hardness: Float[Array, "batch length"] | None = None
    mix: Float[Array, "batch length n"] | None = None


@dataclass(frozen=True)
class SharedDraw:
    """Negatives of a whole batch, the same on every device.

    Attributes:
        items: int32 ``[n]``, drawn with replacement; 0 stands for none.
        log_q: float32 ``[n]``, the logarithm of the probability with which each was drawn.
    """

    items: Int32[Array, " n"]
    log_q: Float[Array, " n"]


@runtime_checkable
class Negatives(Protocol):
    """A rule by which negatives are drawn."""

    def begin(self, n: int, *, n_items: int, item_counts: np.ndarray | None) -> Memory:
        """Give the memory before the first step.

        Args:
            n: Negatives a position, or for the whole batch.
            n_items: Size of the catalogue.
            item_counts: Training count of every item, ``[n_items + 1]``; None if nobody counted.

        Raises:
            OptionError: The catalogue does not suit, or counts are needed.
        """
        ...

    def remember(
        self, memory: Memory, model: Any, batch: Batch, rng: BatchRng, *, step: Array, axis_name: str | None
    ) -> Memory:
        """Bring the memory up to a step, before its losses are computed; the result is the same on every device.

        Args:
            memory: After the step before.
            model: Before the step.
            batch: This device's rows.
            rng: Their randomness.
            step: int32 scalar, steps trained so far.
            axis_name: The mapped axis over which the batch is spread; None on one device.
        """
        ...


@runtime_checkable
class PerPosition(Negatives, Protocol):
    """Draws for every position by itself."""

    @property
    def scored(self) -> int:
        """How many candidates are scored, without a gradient, for one negative."""
        ...

    def per_position(self, asked: Asked, n: int, rng: BatchRng) -> Drawn:
        """Draw ``n`` negatives for every position."""
        ...


@runtime_checkable
class Shared(Negatives, Protocol):
    """Draws once for the whole batch."""

    def shared(self, batch: Batch, n: int, rng: BatchRng, *, n_items: int) -> SharedDraw:
        """Draw ``n`` negatives for all positions."""
        ...


@runtime_checkable
class KnowsProbabilities(Negatives, Protocol):
    """Draws items with probabilities that are known, so that a loss can be corrected by them."""

    def log_q(self, batch: Batch, items: Int32[Array, "*shape"], *, n_items: int) -> Float[Array, "*shape"]:
        """Give the logarithm of the probability with which each item is drawn."""
        ...


@dataclass(frozen=True)
class WithoutMemory:
    """What rules that remember nothing share."""

    def begin(self, n: int, *, n_items: int, item_counts: np.ndarray | None) -> Memory:
        """Give an empty memory."""
        del n, n_items, item_counts
        return {}

    def remember(
        self, memory: Memory, model: Any, batch: Batch, rng: BatchRng, *, step: Array, axis_name: str | None
    ) -> Memory:
        """Leave the memory as it is."""
        del model, batch, rng, step, axis_name
        return memory


def progress(batch: Batch) -> Float[Array, ""]:
    """Give the fraction of the run that is trained; where nobody said, schedules stand at their end."""
    return jnp.ones((), jnp.float32) if batch.progress is None else batch.progress


def recall(memory: Mapping[str, Array], name: str, rule: object) -> Array:
    """Read from a memory.

    Raises:
        OptionError: The state was made without it.
    """
    if name not in memory:
        raise OptionError(
            f"{type(rule).__name__} remembers {name} from step to step: make the state by TrainState.create(model, "
            "optimizer, objective=..., item_counts=...)"
        )
    return memory[name]


def ramp(progress: Float[Array, ""], start: float, end: float, full_at: float) -> Float[Array, ""]:
    """Go linearly from one value to another.

    Args:
        progress: The fraction of the run that is trained.
        start: Value at 0.
        end: Value from ``full_at`` on.
        full_at: Fraction of the run, above 0.

    >>> [float(ramp(jnp.float32(p), 1.0, 3.0, 0.5)) for p in (0, 0.25, 0.5, 1)]
    [1.0, 2.0, 3.0, 3.0]
    """
    return start + (end - start) * jnp.clip(progress / full_at, 0, 1)


def draw_uniformly(rng: BatchRng, *shape: int, n_items: int) -> Int32[Array, "batch *shape"]:
    """Draw items ``[batch, *shape]``, each as likely as any other."""
    return (1 + rng.bits(*shape) % jnp.uint32(n_items)).astype(jnp.int32)


def draw_numbers(rng: BatchRng, *shape: int) -> Float[Array, "batch *shape"]:
    """Draw numbers ``[batch, *shape]`` uniformly in (0, 1), neither end included."""
    return ((rng.bits(*shape) >> 9).astype(jnp.float32) + jnp.float32(0.5)) / jnp.float32(2**23)
