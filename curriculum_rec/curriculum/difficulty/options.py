"""Checks of options that several difficulties share (host)."""

from __future__ import annotations

import math

from curriculum_rec.errors import OptionError


def check_counts(**counts: int) -> None:
    """Refuse options of a difficulty that are below 1.

    Raises:
        OptionError: One of them is.
    """
    for name, value in counts.items():
        if value < 1:
            raise OptionError(f"curriculum.difficulty.{name}={value}: it must be at least 1")


def check_positive(name: str, value: float) -> None:
    """Refuse an option of a difficulty that is no finite number above 0.

    Raises:
        OptionError: It is none.
    """
    if not 0 < value < math.inf:
        raise OptionError(f"curriculum.difficulty.{name}={value}: it must be a number above 0")


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse an option of a difficulty that is no choice.

    Raises:
        OptionError: It is none.
    """
    if value not in allowed:
        raise OptionError(f"curriculum.difficulty.{name}={value}: it must be one of {', '.join(allowed)}")
