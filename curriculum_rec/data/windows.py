"""Windows of time (host): what was known before a window, what happened in it, and nothing of what came later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import polars as pl

from curriculum_rec.data.interactions import TIMESTAMP, USER, CleaningRule, Interactions
from curriculum_rec.data.sources import Source
from curriculum_rec.data.splits import Part, Split
from curriculum_rec.errors import DataError
from curriculum_rec.ranges import INSIDE_ONE, at_least, check_ranges, check_value, one_of

Time = int | float
"""A moment in the unit of the data's timestamps."""

Tested = Literal["all", "first"]
"""Which interactions of a window are tested: all, or each user's first."""

Cut = Literal["interactions", "time"]
"""What windows have equal amounts of."""


@dataclass(frozen=True)
class TimeWindow:
    """A source that ends with a window of time: all that came before it, cleaned, then the window's own rows.

    Cleaning rules see the past alone where they decide what of the past stays, because a rule such as a k-core that saw
    the window would tell which of the past users will come back. Of the window stays what the rules leave of the past
    and the window together.

    Args:
        source: The whole data, with timestamps.
        begin: The window's first moment.
        end: The first moment after it; None takes all that follows.
        rules: Cleaning rules, applied in order; they stand here and not in ``cleaning``.
        tested: ``all`` keeps the window's rows, ``first`` each user's first.
    """

    source: Source
    begin: Time
    end: Time | None = None
    rules: Mapping[str, CleaningRule] | None = field(default=None)
    tested: Tested = "all"

    def __post_init__(self) -> None:
        check_ranges(self, "data", {"tested": one_of(*get_args(Tested))})

    @property
    def name(self) -> str:
        """What error messages call the source."""
        return f"{self.source.name} from {self.begin} to {'its end' if self.end is None else self.end}"

    def read(self) -> pl.DataFrame:
        """Read the past and the window, each in file order; rows without a time are in neither.

        Raises:
            DataError: There are no timestamps, or nothing is left of the past or of the window.
        """
        frame = timed(self.source)
        time = pl.col(TIMESTAMP)
        until = frame.filter(time.is_not_null() if self.end is None else time < self.end)
        past = self._cleaned(until.filter(time < self.begin))
        window = self._cleaned(until).filter(time >= self.begin)
        if self.tested == "first":
            window = window.sort(TIMESTAMP, maintain_order=True).unique(USER, keep="first", maintain_order=True)
        for what, part in (("before the window", past), ("in the window", window)):
            if part.is_empty():
                raise DataError(f"{self.name}: cleaning leaves no interaction {what}; take fewer windows or loosen it")
        return pl.concat([past, window])

    def _cleaned(self, frame: pl.DataFrame) -> pl.DataFrame:
        for rule in (self.rules or {}).values():
            frame = rule(frame)
        return frame


@dataclass(frozen=True)
class WindowSplit:
    """What happened from a moment on is test, the latest part of what came before validation, the rest training.

    Args:
        begin: The moment.
        validation: Share of the earlier interactions that is validation, in (0, 1); of equal times all go there.
    """

    begin: Time
    validation: float = 0.05

    def __post_init__(self) -> None:
        check_ranges(self, "split", {"validation": INSIDE_ONE})

    def __call__(self, interactions: Interactions) -> Split:
        """Split.

        Raises:
            DataError: There are no timestamps, or validation or test has no interaction with a history.
        """
        if interactions.timestamp is None:
            raise DataError("windows of time need timestamps, and the data have none")
        time = interactions.timestamp
        earlier = np.sort(time[time < self.begin])
        if not len(earlier):
            raise DataError(f"there is no interaction before {self.begin} to train on")
        latest = earlier[len(earlier) - max(1, round(self.validation * len(earlier)))]
        part = np.where(time >= self.begin, Part.TEST, np.where(time >= latest, Part.VALIDATION, Part.TRAIN))
        split = Split(interactions, part.astype(np.int8))
        for each in (Part.VALIDATION, Part.TEST):
            if not len(split.rows(each)):
                raise DataError(
                    f"no interaction of the {each.name.lower()} part of the window from {self.begin} on has a history: "
                    "take fewer windows, or a greater share for validation"
                )
        return split


def timed(source: Source) -> pl.DataFrame:
    """Read a source that must have timestamps.

    Raises:
        DataError: It has none.
    """
    frame = source.read()
    if TIMESTAMP not in frame.columns:
        raise DataError(f"windows of time need timestamps, and {source.name} has none")
    return frame


def window_begins(times: np.ndarray, *, windows: int, warm_up: float, cut: Cut = "interactions") -> list[Time]:
    """Cut time into windows.

    Args:
        times: All timestamps ``[n]``, in any order.
        windows: How many.
        warm_up: Share of the interactions, or of the time, before the first window, in (0, 1).
        cut: Whether windows have equally many interactions, but for those of equal times, or are equally long.

    Returns:
        The first moment of each, ascending; the last has no end.

    Raises:
        DataError: There are too few different times for so many windows.

    >>> window_begins(np.arange(10), windows=2, warm_up=0.5)
    [5, 7]
    >>> window_begins(np.array([0.0, 1.0, 8.0]), windows=2, warm_up=0.5, cut="time")
    [4.0, 6.0]
    """
    for option, value, allowed in (
        ("windows", windows, at_least(1)),
        ("warm_up", warm_up, INSIDE_ONE),
        ("cut", cut, one_of(*get_args(Cut))),
    ):
        check_value(option, value, allowed)
    times = np.sort(times)
    shares = warm_up + (1 - warm_up) * np.arange(windows) / windows
    if cut == "interactions":
        begins = times[np.floor(shares * len(times)).astype(np.int64)]
    else:
        begins = times[0] + shares * (times[-1] - times[0])
        begins = np.ceil(begins).astype(times.dtype) if np.issubdtype(times.dtype, np.integer) else begins
    if len(np.unique([times[0], *begins])) <= windows:
        raise DataError(
            f"windows={windows}: the data have too few different times for so many windows after a warm-up of "
            f"{warm_up:g}; take fewer"
        )
    return [begin.item() for begin in begins]
