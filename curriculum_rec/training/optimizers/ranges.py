"""What an option may be (host): ranges with names, and one sentence for what lies outside."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from curriculum_rec.errors import OptionError


class Range(NamedTuple):
    """The values that an option may have.

    Attributes:
        contains: Whether a value is among them; not a number never is.
        words: What is said after "it must be".
    """

    contains: Callable[[Any], bool]
    words: str

    def or_null(self) -> Range:
        """Give the same range with None in it."""
        return Range(lambda value: value is None or self.contains(value), f"{self.words}, or null")


POSITIVE = Range(lambda value: 0 < value < math.inf, "a number above 0")
NOT_NEGATIVE = Range(lambda value: 0 <= value < math.inf, "a number of at least 0")
BELOW_ONE = Range(lambda value: 0 <= value < 1, "in [0, 1)")
INSIDE_ONE = Range(lambda value: 0 < value < 1, "in (0, 1)")
SHARE = Range(lambda value: 0 <= value <= 1, "in [0, 1]")


def one_of(*choices: str) -> Range:
    """Give the range of a few words.

    >>> one_of("linear", "cosine").words
    'one of linear, cosine'
    """
    return Range(lambda value: value in choices, f"one of {', '.join(choices)}")


def check_ranges(component: object, group: str, ranges: Mapping[str, Range]) -> None:
    """Check the options of a component.

    Args:
        component: It has every option as an attribute.
        group: Where it stands in a configuration, for the sentence.
        ranges: The range of each option.

    Raises:
        OptionError: An option lies outside its range.
    """
    for name, allowed in ranges.items():
        value = getattr(component, name)
        if not allowed.contains(value):
            raise OptionError(f"{group}.{name}={'null' if value is None else value}: it must be {allowed.words}")
