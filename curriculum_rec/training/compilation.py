"""How long JAX compiled and how often (host), from JAX's own monitoring events."""

from __future__ import annotations

from dataclasses import dataclass

import jax.monitoring

_PREFIX = "/jax/core/compile/"


@dataclass
class CompilationMeter:
    """Adds up the seconds that JAX spends tracing, lowering and compiling.

    Attributes:
        seconds: The sum so far.
    """

    seconds: float = 0.0

    def __call__(self, event: str, duration_secs: float, **_: str | int) -> None:
        """Receive an event."""
        if event.startswith(_PREFIX):
            self.seconds += duration_secs


METER = CompilationMeter()
"""The process's one meter: JAX has no public way to take a listener back, so read differences from it."""

jax.monitoring.register_event_duration_secs_listener(METER)
