"""How an arm looks in every plot of a report (host): a colour and a mark of its own, its controls dashed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from curriculum_rec.studies.results import Options

N_COLOURS = 6
INK = "$ink"
DASHES = ("solid", "longdash", "longdashdot", "dashdot")
MARKS = ("circle", "square", "diamond", "triangle-up")
CONTROL_DASHES = ("dot", "dash")
CONTROL_MARKS = ("circle-open", "square-open")

THEMES: Mapping[str, Mapping[str, str]] = {
    "light": {
        "$ink": "#1f2328", "$soft": "#59636e", "$line": "#d9dde2", "$paper": "#ffffff", "$panel": "#f5f7f9",
        "$link": "#0a58a8", "$arm0": "#0072b2", "$arm1": "#d55e00", "$arm2": "#009e73", "$arm3": "#b8578f",
        "$arm4": "#c98500", "$arm5": "#38a1dc",
    },
    "dark": {
        "$ink": "#e8eaed", "$soft": "#a6adb5", "$line": "#3a4048", "$paper": "#16191d", "$panel": "#20242a",
        "$link": "#7fbcf5", "$arm0": "#4c9fe0", "$arm1": "#ff8a3d", "$arm2": "#27c79a", "$arm3": "#e08cbe",
        "$arm4": "#f0b429", "$arm5": "#6fd3e8",
    },
}  # fmt: skip
"""What the names of colours stand for: those of Okabe and Ito (2008), as dark or as light as the paper asks."""


@dataclass(frozen=True)
class Look:
    """How an arm is drawn.

    Attributes:
        colour: A name in :data:`THEMES`.
        dash: Of its lines, Plotly's word.
        mark: Of its points, Plotly's word.
        is_control: Whether it is the control of another arm, and hidden at first.
    """

    colour: str
    dash: str
    mark: str
    is_control: bool = False


def looks(arms: Iterable[str], options: Options) -> dict[str, Look]:
    """Give every arm its look: the baseline is ink, a control has the colour of its arm.

    Args:
        arms: All arms of the report, so that one looks the same in all its plots.
        options: Name the baseline and the controls.

    >>> found = looks(["plain", "a", "a-random", "b"], Options("", controls={"a": "a-random"}))
    >>> [(look.colour, look.dash) for look in found.values()]
    [('$ink', 'solid'), ('$arm0', 'solid'), ('$arm0', 'dot'), ('$arm1', 'solid')]
    """
    arms = list(arms)
    parents = {arm: parent for arm in arms if (parent := parent_of(arm, arms, options)) is not None}
    found: dict[str, Look] = {}
    n_controls: dict[str, int] = {}
    for arm in arms:
        if arm not in parents:
            found[arm] = Look(INK, "solid", "circle") if arm == options.baseline else _own(len(found), found, options)
    for arm, parent in parents.items():
        number = n_controls.get(parent, 0)
        n_controls[parent] = number + 1
        kind = number % len(CONTROL_DASHES)
        found[arm] = Look(found[parent].colour, CONTROL_DASHES[kind], CONTROL_MARKS[kind], is_control=True)
    return {arm: found[arm] for arm in arms}


def _own(number: int, before: Mapping[str, Look], options: Options) -> Look:
    number -= options.baseline in before
    turn = number // N_COLOURS % len(DASHES)
    return Look(f"$arm{number % N_COLOURS}", DASHES[turn], MARKS[turn])


def parent_of(arm: str, arms: Iterable[str], options: Options) -> str | None:
    """Name the arm that a control was made from; None for an arm of its own.

    >>> parent_of("a-anti", ["a", "a-anti"], Options("", controls={"a": "a-random", "a-anti": "a-random"}))
    'a'
    """
    if arm == options.baseline:
        return None
    for other in arms:
        control = options.controls.get(other)
        named = control is not None and control.startswith(f"{other}-") and arm.startswith(f"{other}-")
        if named and control in (arm, options.controls.get(arm)):
            return other
    return None
