"""The plots of a report (host), as plain data for Plotly: what they have in common, and which there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from curriculum_rec.studies.looks import Look

Figure = Mapping[str, Any]
"""``data`` and ``layout`` as Plotly takes them; colours may be names of :data:`looks.THEMES`."""
Trace = dict[str, Any]
Looks = Mapping[str, Look]

DIGITS = 6
LONGEST_NAME = 30
UNIT_TITLES = {"step": "steps", "operations": "operations", "seconds": "seconds of training"}


@dataclass(frozen=True)
class Plot:
    """A plot, or several small ones side by side.

    Attributes:
        topic: The subject of the place that it belongs to, such as ``baseline``.
        title: What it shows.
        note: What a reader must know to read it.
        panels: The figures.
        choices: Figures that buttons put in the place of the only panel, by the buttons' words.
        legend: The arms that a click hides; none where the arms are named beside the axis.
        scale: What the colours of Viridis stand for, words by their places from 0 to 1.
    """

    topic: str
    title: str
    note: str
    panels: Sequence[Figure]
    choices: Mapping[str, Figure] = field(default_factory=dict)
    legend: Sequence[str] = ()
    scale: Mapping[str, float] = field(default_factory=dict)


def chosen(topic: str, title: str, note: str, choices: Mapping[str, Figure], legend: Sequence[str] = ()) -> Plot:
    """Make a plot of figures to choose from, the first of which is shown first."""
    first = next(iter(choices.values()))
    return Plot(topic, title, note, (first,), choices if len(choices) > 1 else {}, legend)


def figure(data: Sequence[Trace], layout: Mapping[str, Any], *, height: int) -> Figure:
    """Put traces into a layout that all figures share.

    Args:
        data: The traces; ``meta`` names the arm of each, by which it is hidden.
        layout: What differs.
        height: In pixels.
    """
    common = {
        "height": height,
        "autosize": True,
        "showlegend": False,
        "hovermode": "closest",
        "margin": {"l": 8, "r": 14, "t": 26, "b": 8},
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": "$ink"},
        "paper_bgcolor": "$paper",
        "plot_bgcolor": "$paper",
        "hoverlabel": {"bgcolor": "$panel", "bordercolor": "$line", "font": {"color": "$ink"}, "namelength": -1},
    }
    return {"data": list(data), "layout": {**common, **layout}}


def axis(title: str = "", **more: Any) -> dict[str, Any]:
    """Describe an axis that looks like all others."""
    common = {
        "title": {"text": title, "font": {"color": "$soft"}},
        "gridcolor": "$line",
        "linecolor": "$soft",
        "zeroline": False,
        "automargin": True,
        "tickfont": {"color": "$soft"},
    }
    return {**common, **more}


def arm_axis(arms: Sequence[str]) -> dict[str, Any]:
    """Describe a vertical axis that names an arm a row, the first on top."""
    ticks: dict[str, Any] = {
        "tickmode": "array",
        "tickvals": list(range(len(arms))),
        "ticktext": [label(arm) for arm in arms],
    }
    return axis(range=[len(arms) - 0.4, -0.6], **ticks) | {"gridcolor": "$panel", "fixedrange": True}


def row_height(n_arms: int) -> int:
    """Give the height of a figure that has a row an arm, in pixels."""
    return 84 + 21 * max(n_arms, 2)


def label(name: str) -> str:
    """Write an arm's name beside an axis: Plotly reads some HTML, and long names leave no room.

    >>> label("a<b"), label("growth.map=interleave, growth.blocks=copied")
    ('a&lt;b', 'growth.map=interl…blocks=copied')
    """
    if len(name) > LONGEST_NAME + 2:
        name = f"{name[: LONGEST_NAME // 2 + 2]}…{name[-LONGEST_NAME // 2 + 2 :]}"
    return plain(name)


def plain(text: str) -> str:
    """Write plain text where Plotly would read HTML."""
    return escape(text, quote=False)


def numbers(values: Iterable[Any]) -> list[float | None]:
    """Make numbers for JSON, of as many digits as a plot can show; what is no number is left out of a line.

    >>> numbers(np.array([0.123456789, np.nan, 2.0]))
    [0.123457, None, 2.0]
    """
    return [float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in map(float, values)]


def line_of(look: Look, *, width: float = 2) -> dict[str, Any]:
    """Draw an arm's line."""
    return {"color": look.colour, "dash": look.dash, "width": width * (0.8 if look.is_control else 1)}


def mark_of(look: Look, *, size: float = 8) -> dict[str, Any]:
    """Draw an arm's points."""
    return {"color": look.colour, "symbol": look.mark, "size": size, "line": {"color": look.colour, "width": 1.5}}


def coloured(value: Any, colours: Mapping[str, str]) -> Any:
    """Put colours in the place of their names.

    Args:
        value: A figure, or a part of one.
        colours: By name, one of :data:`looks.THEMES`.

    >>> coloured({"line": {"color": "$ink"}}, {"$ink": "#000000"})
    {'line': {'color': '#000000'}}
    """
    if isinstance(value, Mapping):
        return {name: coloured(part, colours) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [coloured(part, colours) for part in value]
    return colours.get(value, value) if isinstance(value, str) else value
