"""Search spaces (host): which options a search chooses, between which values, and when."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from curriculum_rec.components import unknown_option
from curriculum_rec.errors import OptionError

Value = float | int | str
Point = dict[str, Value]
"""A value for every active option; a choice is the text that stands after ``=`` on the command line."""

PLAIN = re.compile(r"[A-Za-z_][\w./-]*")
NO_TEXT = {"null", "true", "false", "nan", "inf"}
"""What the command line does not read as text."""


@dataclass(frozen=True)
class FloatRange:
    """Numbers from ``low`` to ``high``, both included.

    Args:
        low: The lower end.
        high: The upper end.
        log: Whether orders of magnitude are equally likely, rather than values.
        step: Distance of the values from each other; None allows all.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        _check_ends(self)
        if self.step is not None and (self.log or not 0 < self.step <= self.high - self.low):
            raise OptionError("step must be above 0, no wider than the range, and without log")

    def at(self, quantile: float) -> float:
        """Give the value at a quantile in [0, 1).

        >>> FloatRange(1e-4, 1e-2, log=True).at(0.5), FloatRange(0, 1, step=0.25).at(0.9)
        (0.001, 1.0)
        """
        if self.step is not None:
            return self.values()[int(quantile * len(self.values()))]
        if self.log:
            return float(f"{math.exp(math.log(self.low) + quantile * math.log(self.high / self.low)):.12g}")
        return self.low + quantile * (self.high - self.low)

    def values(self) -> list[float]:
        """List all values.

        Raises:
            OptionError: There is no end to them.
        """
        if self.step is None:
            raise OptionError("a grid needs a step, or a choice")
        n = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        return [float(f"{self.low + i * self.step:.12g}") for i in range(n)]


@dataclass(frozen=True)
class IntRange:
    """Whole numbers from ``low`` to ``high``, both included; the options are those of :class:`FloatRange`."""

    low: int
    high: int
    log: bool = False
    step: int = 1

    def __post_init__(self) -> None:
        _check_ends(self)
        if not 1 <= self.step <= self.high - self.low or (self.log and self.step != 1):
            raise OptionError("step must be at least 1, no wider than the range, and without log")

    def at(self, quantile: float) -> int:
        """Give the value at a quantile in [0, 1).

        >>> IntRange(1, 4).at(0.5), IntRange(8, 64, log=True).at(0.5)
        (3, 22)
        """
        values = self.values()
        if not self.log:
            return values[int(quantile * len(values))]
        low, high = math.log(self.low - 0.5), math.log(self.high + 0.5)
        return min(max(round(math.exp(low + quantile * (high - low))), self.low), self.high)

    def values(self) -> list[int]:
        """List all values."""
        return list(range(self.low, self.high + 1, self.step))


@dataclass(frozen=True)
class Choices:
    """Some values, as they stand on the command line."""

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(set(self.words)) != len(self.words) or not self.words:
            raise OptionError("choice needs at least one value, and none of them twice")

    def at(self, quantile: float) -> str:
        """Give the choice at a quantile in [0, 1).

        >>> Choices(("none", "length")).at(0.6)
        'length'
        """
        return self.words[int(quantile * len(self.words))]

    def values(self) -> list[str]:
        """List all choices."""
        return list(self.words)


Range = FloatRange | IntRange | Choices


def _check_ends(values: FloatRange | IntRange) -> None:
    if not (math.isfinite(values.low) and math.isfinite(values.high) and values.low < values.high):
        raise OptionError("the first end must be a number below the second")
    if values.log and values.low <= 0:
        raise OptionError("log needs ends above 0")


@dataclass(frozen=True)
class Entry:
    """An option that a search chooses.

    Args:
        option: Its name on the command line; a group such as ``curriculum`` too.
        values: What it may be.
        when: Other options and the choices of theirs with which this one exists; always if empty.
    """

    option: str
    values: Range
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def active(self, point: Mapping[str, Value]) -> bool:
        """Whether the option exists beside what is chosen already."""
        return all(point.get(name) in allowed for name, allowed in self.when.items())


@dataclass(frozen=True)
class Space:
    """The options that a search chooses, those that others depend on first."""

    entries: tuple[Entry, ...]

    @classmethod
    def parse(cls, node: Any, place: str) -> Space:
        """Read a space from plain data.

        Args:
            node: Of every option ``{float: [low, high]}``, ``{int: [low, high]}`` or ``{choice: [...]}``, with ``log``,
                ``step`` and ``when`` where they apply.
            place: Where it stands, for the sentence.

        Raises:
            OptionError: It is no search space.

        >>> depth = {"int": [1, 2], "when": {"model": "sasrec"}}
        >>> Space.parse({"model": {"choice": ["dnn", "sasrec"]}, "model.depth": depth}, "space").grid()
        [{'model': 'dnn'}, {'model': 'sasrec', 'model.depth': 1}, {'model': 'sasrec', 'model.depth': 2}]
        """
        if not isinstance(node, Mapping) or not node:
            raise OptionError(f"{place}: it must name at least one option, as OPTION: {{float: [LOW, HIGH]}}")
        entries: list[Entry] = []
        for option, entry in node.items():
            try:
                entries.append(_parse_entry(str(option), entry, entries))
            except OptionError as error:
                raise OptionError(f"{place}.{option}: {error}") from error
        space = cls(tuple(entries))
        for entry in entries:
            if entry.option not in space.complete({entry.option: entry.values.at(0)}):
                raise OptionError(f"{place}.{entry.option}: its conditions never hold together")
        return space

    def complete(self, chosen: Mapping[str, Value]) -> Point:
        """Give a point with some values in it, what they depend on, and first or middle values elsewhere."""
        by_option = {entry.option: entry for entry in self.entries}
        wanted, open_ = dict(chosen), list(chosen)
        while open_:
            for name, allowed in by_option[open_.pop()].when.items():
                if name not in wanted:
                    wanted[name] = allowed[0]
                    open_.append(name)
        point: Point = {}
        for entry in self.entries:
            if entry.active(point):
                middle = 0.0 if isinstance(entry.values, Choices) else 0.5
                point[entry.option] = wanted.get(entry.option, entry.values.at(middle))
        return point

    def cover(self) -> list[Point]:
        """Give a few points in which every choice, and every option, occurs."""
        points = [self.complete({})]
        for entry in self.entries:
            values = entry.values.values() if isinstance(entry.values, Choices) else [entry.values.at(0.5)]
            for value in values:
                if all(point.get(entry.option) != value for point in points):
                    points.append(self.complete({entry.option: value}))
        return points

    def grid(self) -> list[Point]:
        """List all points.

        Raises:
            OptionError: A range has no step.
        """
        points: list[Point] = [{}]
        for entry in self.entries:
            try:
                values = entry.values.values()
            except OptionError as error:
                raise OptionError(f"space.{entry.option}: {error}") from error
            points = [
                larger
                for point in points
                for larger in ([{**point, entry.option: v} for v in values] if entry.active(point) else [point])
            ]
        return points

    def at(self, quantiles: Sequence[float]) -> Point:
        """Give the point at a quantile in [0, 1) of every entry; those of inactive ones have no effect."""
        point: Point = {}
        for entry, quantile in zip(self.entries, quantiles, strict=True):
            if entry.active(point):
                point[entry.option] = entry.values.at(quantile)
        return point


def words_of(point: Mapping[str, Value]) -> list[str]:
    """Give a point as words for ``curriculum-rec train``.

    >>> words_of({"curriculum": "length", "optimizer.learning_rate": 1e-05})
    ['curriculum=length', 'optimizer.learning_rate=1e-05']
    """
    return [f"{option}={value if isinstance(value, str) else json.dumps(value)}" for option, value in point.items()]


def word(value: Any) -> str:
    r"""Write plain data as it stands after ``=`` on the command line.

    >>> [word(value) for value in (None, True, 0.5, "length", "it's", "null", [4, "a"], {"a": 1})]
    ['null', 'true', '0.5', 'length', "'it\\'s'", "'null'", '[4,a]', '{a:1}']
    """
    if isinstance(value, str):
        if PLAIN.fullmatch(value) and value.lower() not in NO_TEXT:
            return value
        quoted = value.replace("\\'", "\\\\'").replace("'", "\\'")
        return f"'{quoted}'"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(word, value))}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{word(entry)}" for name, entry in value.items()) + "}"
    return json.dumps(value)


def _parse_entry(option: str, node: Any, before: Sequence[Entry]) -> Entry:
    kinds = {"float": ("log", "step"), "int": ("log", "step"), "choice": ()}
    if not isinstance(node, Mapping) or len(kind := [name for name in kinds if name in node]) != 1:
        raise OptionError("it must have one of float, int and choice")
    for name in node:
        if name not in (kind[0], *kinds[kind[0]], "when"):
            raise OptionError(unknown_option(f"{name}", (kind[0], *kinds[kind[0]], "when")))
    values = _parse_values(kind[0], node)
    return Entry(option, values, dict(_parse_conditions(node.get("when", {}), before)))


def _parse_values(kind: str, node: Mapping[str, Any]) -> Range:
    given = node[kind]
    if kind == "choice":
        if not isinstance(given, list):
            raise OptionError("choice must be a list")
        return Choices(tuple(map(word, given)))
    log, step = node.get("log", False), node.get("step")
    number = int if kind == "int" else (int, float)
    numbers = [*given, *([] if step is None else [step])] if isinstance(given, list) and len(given) == 2 else [None]
    if not isinstance(log, bool) or any(isinstance(n, bool) or not isinstance(n, number) for n in numbers):
        raise OptionError(f"it must be {{{kind}: [LOW, HIGH]}} with two {'whole ' if kind == 'int' else ''}numbers")
    if kind == "int":
        return IntRange(given[0], given[1], log, 1 if step is None else step)
    return FloatRange(float(given[0]), float(given[1]), log, None if step is None else float(step))


def _parse_conditions(node: Any, before: Sequence[Entry]) -> Iterator[tuple[str, tuple[str, ...]]]:
    if not isinstance(node, Mapping):
        raise OptionError("when must be {OPTION: CHOICE} or {OPTION: [CHOICE, ...]}")
    known = {entry.option: entry.values for entry in before if isinstance(entry.values, Choices)}
    for name, given in node.items():
        if name not in known:
            raise OptionError(f"when names '{name}', which is no choice that stands before it")
        allowed = tuple(map(word, given if isinstance(given, list) else [given]))
        for choice in allowed:
            if choice not in known[name].words:
                raise OptionError(f"when: '{choice}' is none of the choices of {name}: {', '.join(known[name].words)}")
        yield str(name), allowed
