"""The run-time check of annotations that conftest switches on for the package."""

from collections.abc import Callable
from typing import Any, Literal, Self, get_args, get_origin

import numpy as np
from beartype import BeartypeConf, beartype

PYTREES = {"Batch", "BatchRng", "Losses", "LocalGradient", "RowGradient", "StepMetrics", "_Sums", "TrainState"}
"""JAX rebuilds these with specs, booleans or plain objects for leaves, so that their fields cannot be checked."""

CONF = BeartypeConf(is_pep484_tower=True)  # an int may stand for a float


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check a function's arguments and result whenever it is called."""
    if function.__qualname__.removesuffix(".__init__") in PYTREES:
        return function
    function.__annotations__ = {name: checked(hint) for name, hint in function.__annotations__.items()}
    return beartype(conf=CONF)(function)


def checked(hint: Any) -> Any:
    """What is really asked of an argument: a whole number may come out of an array."""
    if is_left_out(hint):
        return Any
    return int | np.integer if hint is int else hint


def is_left_out(hint: Any) -> bool:
    """Whether a hint holds a choice, which the package refuses in its own words, or a protocol without isinstance."""
    if get_origin(hint) is Literal or hint is Self:
        return True
    if getattr(hint, "_is_protocol", False) and not getattr(hint, "_is_runtime_protocol", False):
        return True
    return any(is_left_out(part) for part in get_args(hint))
