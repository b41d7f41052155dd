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
        """Give the same range with None in it.

        >>> at_least(1).or_null().words
        'at least 1, or null'
        """
        return Range(lambda value: value is None or self.contains(value), f"{self.words}, or null")


def above(low: float) -> Range:
    """Give the finite numbers above another.

    >>> above(1).contains(1), above(1).contains(1.5), above(1).words
    (False, True, 'a number above 1')
    """
    return Range(lambda value: low < value < math.inf, f"a number above {low}")


def at_least(low: float) -> Range:
    """Give a number, and all finite ones above it.

    >>> at_least(1).contains(0), at_least(1).contains(1), at_least(1).words
    (False, True, 'at least 1')
    """
    return Range(lambda value: low <= value < math.inf, f"at least {low}")


def between(low: float, high: float, *, low_too: bool = False, high_too: bool = False) -> Range:
    """Give the numbers between two others.

    Args:
        low: The lower end.
        high: The upper end.
        low_too: Whether the lower end belongs to them.
        high_too: Whether the upper end belongs to them.

    >>> rates = between(0, 50, high_too=True)
    >>> rates.contains(0), rates.contains(50), rates.words
    (False, True, 'in (0, 50]')
    """

    def contains(value: float) -> bool:
        return (low <= value if low_too else low < value) and (value <= high if high_too else value < high)

    return Range(contains, f"in {'[' if low_too else '('}{low}, {high}{']' if high_too else ')'}")


def one_of(*choices: object) -> Range:
    """Give the range of a few words or numbers.

    >>> one_of("linear", "cosine").words
    'one of linear, cosine'
    """
    return Range(lambda value: value in choices, f"one of {', '.join(map(str, choices))}")


POSITIVE = above(0)
BELOW_ONE = between(0, 1, low_too=True)
INSIDE_ONE = between(0, 1)
ABOVE_0_TO_1 = between(0, 1, high_too=True)
SHARE = between(0, 1, low_too=True, high_too=True)


def check_value(option: str, value: object, allowed: Range) -> None:
    """Check one option.

    Args:
        option: Where it stands in a configuration, for the sentence.
        value: What it is.
        allowed: Its range.

    Raises:
        OptionError: It lies outside.

    >>> check_value("model.depth", 0, at_least(1))
    Traceback (most recent call last):
    curriculum_rec.errors.OptionError: model.depth=0: it must be at least 1
    """
    if not allowed.contains(value):
        raise OptionError(f"{option}={'null' if value is None else value}: it must be {allowed.words}")


def check_ranges(component: object, group: str, ranges: Mapping[str, Range]) -> None:
    """Check the options of a component.

    Args:
        component: It has every option as an attribute.
        group: Where it stands in a configuration, for the sentence; nothing for options that stand at its top.
        ranges: The range of each option.

    Raises:
        OptionError: An option lies outside its range.
    """
    for name, allowed in ranges.items():
        check_value(f"{group}.{name}" if group else name, getattr(component, name), allowed)
