"""What a step asks of a weighting (device)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from curriculum_rec.data.examples import Examples
from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import check_ranges, one_of

Memory = dict[str, Array]
"""What a weighting remembers from step to step: named arrays, the same on every device."""

Normalise = Literal["count", "weight"]
FACT = "weighting "
"""Begins the names under which a rule's facts travel with the examples' own arrays."""


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
        step: Steps trained, int32 scalar.
        key: A key of this step, the same on every device; numbers drawn for the whole batch are those of one device.
        all_facts: What the rule's :meth:`Rule.facts` say of the targets, arrays ``[all]``.
    """

    losses: Float[Array, "batch *length"]
    counts: Bool[Array, "batch *length"]
    all_losses: Float[Array, " all"]
    all_counts: Bool[Array, " all"]
    progress: Float[Array, ""]
    axis_name: str | None = None
    step: Array | int = 0
    key: Any = None
    all_facts: Mapping[str, Array] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        losses: Array,
        counts: Array,
        *,
        progress: Array,
        axis_name: str | None,
        step: Array | int = 0,
        key: Any = None,
        facts: Mapping[str, Array] | None = None,
    ) -> Seen:
        """Bring together what the devices see, in one exchange."""
        facts = dict(facts or {})
        parts = [losses, counts.astype(losses.dtype), *facts.values()]
        # As integers, whose bits nobody rounds.
        own = jnp.stack([jax.lax.bitcast_convert_type(part, jnp.int32).reshape(-1) for part in parts])
        joined = own[None] if axis_name is None else jax.lax.all_gather(own, axis_name)
        whole = [
            jax.lax.bitcast_convert_type(joined[:, number].reshape(-1), part.dtype) for number, part in enumerate(parts)
        ]
        all_facts = dict(zip(facts, whole[2:], strict=True))
        return cls(losses, counts, whole[0], whole[1] > 0, progress, axis_name, step, key, all_facts)

    def gather(self, own: Float[Array, "batch *length"]) -> Float[Array, " all"]:
        """Bring the devices' values together, in the order of all losses."""
        flat = own.reshape(-1)
        return flat if self.axis_name is None else jax.lax.all_gather(flat, self.axis_name).reshape(-1)

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

    def facts(self, examples: Examples) -> dict[str, np.ndarray]:
        """Say of every target what the rule needs to know, by name, ``[n_targets]`` in the order of ``targets``."""
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
        check_ranges(self, "weighting", {"normalise": one_of(*get_args(Normalise))})

    def facts(self, examples: Examples) -> dict[str, np.ndarray]:
        """Say what the rule needs to know of every target, int32 or float32."""
        del examples
        return {}

    def begin(self) -> Memory:
        """Give the memory before the first step."""
        return {}

    def __call__(self, seen: Seen, memory: Memory) -> tuple[Float[Array, "batch *length"], Memory]:
        """Weigh a batch."""
        return self.weigh(seen), memory

    def weigh(self, seen: Seen) -> Float[Array, "batch *length"]:
        """Give the weights of a batch."""
        raise NotImplementedError


def with_facts(examples: Examples, weighting: Weighting | None) -> Examples:
    """Let the examples carry what a weighting needs to know of their targets (host).

    Raises:
        OptionError: The rule needs target items, and the examples have none.
    """
    facts = {} if weighting is None else weighting.facts(examples)
    return examples.with_target_arrays({f"{FACT}{name}": values for name, values in facts.items()})


def facts_of(arrays: Mapping[str, Array], *, shape: tuple[int, ...]) -> dict[str, Array]:
    """Take the facts out of a batch's arrays.

    Args:
        arrays: The batch's.
        shape: Of the losses.

    Raises:
        OptionError: There are facts about targets, but no loss for each of these.
    """
    facts = {name.removeprefix(FACT): array for name, array in sorted(arrays.items()) if name.startswith(FACT)}
    for name, array in facts.items():
        if array.shape != shape:
            raise OptionError(
                f"this weighting goes by the {name} of single targets, of shape {array.shape}, but the objective gives "
                f"losses of shape {shape}: take an objective with one loss a target"
            )
    return facts
