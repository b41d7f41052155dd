"""What a step asks of a weighting (device)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from curriculum_rec.errors import OptionError

Memory = dict[str, Array]
"""What a weighting remembers from step to step: named scalars, the same on every device."""

Normalise = Literal["count", "weight"]


@dataclass(frozen=True)
class Seen:
    """The losses of a step, before its update.

    Attributes:
        losses: float32 ``[batch, *length]``, one a target or an example, of this device's rows.
        counts: bool of the same shape, False for padding and for what the curriculum leaves out.
        all_losses: float32 ``[all]``, those of the whole batch, device after device.
        all_counts: bool ``[all]``.
        progress: Steps trained as a fraction of the run, float32 scalar.
        axis_name: The mapped axis over which the batch is spread; None on one device.
    """

    losses: Float[Array, "batch *length"]
    counts: Bool[Array, "batch *length"]
    all_losses: Float[Array, " all"]
    all_counts: Bool[Array, " all"]
    progress: Float[Array, ""]
    axis_name: str | None = None

    @classmethod
    def of(cls, losses: Array, counts: Array, *, progress: Array, axis_name: str | None) -> Seen:
        """Bring the devices' losses together, in one exchange."""
        own = jnp.stack([losses.reshape(-1), counts.reshape(-1).astype(losses.dtype)])
        joined = own[None] if axis_name is None else jax.lax.all_gather(own, axis_name)
        return cls(losses, counts, joined[:, 0].reshape(-1), joined[:, 1].reshape(-1) > 0, progress, axis_name)

    def own(self, of_all: Float[Array, " all"]) -> Float[Array, "batch *length"]:
        """Give this device's part of values of the whole batch, in the shape of its losses."""
        number = 0 if self.axis_name is None else jax.lax.axis_index(self.axis_name)
        return of_all.reshape(-1, *self.losses.shape)[number]

    def mean(self) -> Float[Array, ""]:
        """Average what counts over the whole batch."""
        return jnp.where(self.all_counts, self.all_losses, 0).sum() / jnp.maximum(self.all_counts.sum(), 1)

    def quantile(self, share: Float[Array, ""]) -> Float[Array, ""]:
        """Give the smallest loss of the batch at or below which this share of what counts lies; 0 for nothing."""
        ordered = jnp.sort(jnp.where(self.all_counts, self.all_losses, jnp.inf))
        n = self.all_counts.sum()
        place = jnp.ceil(share * n - 1e-4).astype(jnp.int32) - 1
        return jnp.where(n > 0, ordered[jnp.clip(place, 0, jnp.maximum(n - 1, 0))], 0)


@runtime_checkable
class Weighting(Protocol):
    """A rule that weighs the losses of a batch.

    The weights are constants of the gradient: a rule that changes the loss ``l`` to ``f(l)`` gives ``f'(l)``.
    """

    @property
    def normalise(self) -> Normalise:
        """What the weighted sum of the gradients is divided by: how many losses count, or the sum of their weights."""
        ...

    def begin(self) -> Memory:
        """Give the memory before the first step."""
        ...

    def __call__(self, seen: Seen, memory: Memory) -> tuple[Float[Array, "batch *length"], Memory]:
        """Give weights of the losses' shape, at least 0, and the memory after the step."""
        ...


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What all rules share; a rule without memory says only :meth:`weigh`.

    Args:
        normalise: ``count`` divides the weighted sum of the gradients by how many losses count, so that low weights
            make small steps, too; ``weight`` by the sum of the weights.
    """

    normalise: Normalise = "count"

    def __post_init__(self) -> None:
        if self.normalise not in get_args(Normalise):
            raise OptionError(f"weighting.normalise={self.normalise}: it must be count or weight")

    def begin(self) -> Memory:
        """Give the memory before the first step."""
        return {}

    def __call__(self, seen: Seen, memory: Memory) -> tuple[Float[Array, "batch *length"], Memory]:
        """Weigh a batch."""
        return self.weigh(seen), memory

    def weigh(self, seen: Seen) -> Float[Array, "batch *length"]:
        """Give the weights of a batch."""
        raise NotImplementedError


def check_between(name: str, value: float, low: float, high: float, *, low_too: bool = False) -> None:
    """Refuse an option outside ``(low, high)``, or ``[low, high)`` with ``low_too``.

    Raises:
        OptionError: It is outside, or not a number.
    """
    if not (low <= value < high if low_too else low < value < high):
        raise OptionError(f"weighting.{name}={value}: it must lie in {'[' if low_too else '('}{low}, {high})")
