"""The run-time type check that conftest switches on for the package."""

from collections.abc import Callable
from typing import Any

from beartype import beartype
from beartype.roar import BeartypeDecorHintPep3119Exception

PYTREES = {"Batch", "BatchRng", "Losses", "LocalGradient", "StepMetrics", "TrainState"}
"""JAX rebuilds these with specs, booleans or plain objects for leaves, so that their fields cannot be checked."""


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check a function's arguments and result whenever it is called."""
    if function.__qualname__.removesuffix(".__init__") in PYTREES:
        return function
    try:
        return beartype(function)
    except BeartypeDecorHintPep3119Exception:
        return function  # it takes a protocol that is not runtime_checkable
