"""What a run asks of an optimizer (device)."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import optax


@runtime_checkable
class OptimizerFactory(Protocol):
    """Options that make an optax transformation once the length of the run is known."""

    def __call__(self, total_steps: int, scale: optax.Schedule | None = None) -> optax.GradientTransformation:
        """Build the transformation; the structure of its state must depend on neither argument.

        Args:
            total_steps: The length of the run.
            scale: What a stage multiplies the learning rate by, a function of the run's step; None is 1 throughout.
        """
        ...

    def learning_rate_schedule(self, total_steps: int, scale: optax.Schedule | None = None) -> optax.Schedule:
        """Give the learning rate as a pure function of the run's step; arguments as in the call."""
        ...
