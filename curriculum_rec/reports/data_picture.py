"""A picture of a data set (host): what is in it as read, and what cleaning leaves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from curriculum_rec.data.profile import UNITS, Profile
from curriculum_rec.reports.data_facts import (
    COLUMN_HEADER,
    FACT_HEADER,
    LEDGER_HEADER,
    DataDescription,
    column_rows,
    date_of,
    fact_rows,
    ledger_rows,
    share,
)
from curriculum_rec.reports.figures import BLUE, GREY, ORANGE, new_figure, styled, to_svg
from curriculum_rec.reports.page import heading, make_page, paragraph, table

BINS = 60
SPANS = {"1 second": 1, "1 minute": 60, "1 hour": 3600, "1 day": 86_400, "1 month": 2_592_000, "1 year": 31_536_000}


def data_page(description: DataDescription) -> str:
    """Put the picture and all tables on a page that needs nothing else.

    Raises:
        OptionError: Matplotlib is not installed.
    """
    parts = [table(FACT_HEADER, fact_rows(description)), *map(paragraph, description.notes)]
    parts.append(to_svg(draw_data(description)))
    if description.ledger:
        parts += [heading("Cleaning"), table(LEDGER_HEADER, ledger_rows(description.ledger))]
    if description.columns:
        parts += [heading("What else the rows say"), table(COLUMN_HEADER, column_rows(description.columns))]
    for of, (n_rows, columns) in description.tables.items():
        parts += [heading(f"What is known of {of} ({n_rows:,})"), table(COLUMN_HEADER, column_rows(columns))]
    return make_page(f"Data: {description.name}", parts)


def draw_data(description: DataDescription) -> Any:
    """Draw history lengths, popularity, concentration, events over time, gaps, and the shares that are traps.

    Returns:
        A Matplotlib figure.

    Raises:
        OptionError: Matplotlib is not installed.
    """
    sides = [(description.read, "as read", GREY, 2.6)]
    if description.cleaned is not None:
        sides.append((description.cleaned, "after cleaning", BLUE, 1.4))
    panels: list[Callable[[Any, list[Side]], None]] = []
    if description.read.n_users:
        panels += [_lengths, _popularity, _concentration]
    if description.read.times is not None and len(description.read.times):
        panels += [partial(panel, unit=description.unit) for panel in (_over_time, _gaps)]
    panels.append(_shares)
    with styled():
        figure = new_figure(12.0, 3.1 * ((len(panels) + 2) // 3) + 0.4)
        figure.suptitle(f"{description.name}: {_headline(description)}", x=0.01, ha="left", fontsize=10)
        axes = figure.subplots((len(panels) + 2) // 3, 3, squeeze=False).ravel()
        for axis, panel in zip(axes, panels, strict=False):
            panel(axis, sides)
        for axis in axes[len(panels) :]:
            axis.axis("off")
        if len(panels) > 1:
            axes[0].legend(loc="lower left")
    return figure


def _headline(description: DataDescription) -> str:
    facts = {name: value for name, value, *_ in fact_rows(description)}
    parts = [f"{facts[name]} {name}" for name in ("interactions", "users", "items")] + [f"density {facts['density']}"]
    return ", ".join([*parts, *([f"{facts['first']} to {facts['last']}"] if "first" in facts else [])])


Side = tuple[Profile, str, str, float]
"""A profile, and how it is drawn: name, colour, width."""


def _lengths(axis: Any, sides: list[Side]) -> None:
    axis.set_title("history lengths", loc="left")
    for side, name, colour, width in sides:
        lengths, first = np.unique(side.lengths, return_index=True)
        axis.plot(lengths, 1 - first / max(side.n_users, 1), color=colour, linewidth=width, label=name)
    _log(axis, x=True, y=True)
    axis.set_xlabel("at least so many interactions")
    axis.set_ylabel("share of users")


def _popularity(axis: Any, sides: list[Side]) -> None:
    axis.set_title("popularity", loc="left")
    for side, _, colour, width in sides:
        axis.plot(np.arange(1, side.n_items + 1), side.popularity, color=colour, linewidth=width)
    _log(axis, x=True, y=True)
    axis.set_xlabel("rank of the item")
    axis.set_ylabel("interactions")


def _concentration(axis: Any, sides: list[Side]) -> None:
    axis.set_title("concentration", loc="left")
    for side, _, colour, width in sides:
        reached = np.concatenate([[0], np.cumsum(side.popularity)]) / max(int(side.popularity.sum()), 1)
        axis.plot(np.linspace(0, 1, len(reached)), reached, color=colour, linewidth=width)
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    axis.annotate("all alike", (0.72, 0.66), color=GREY, fontsize=8)
    axis.set_xlabel("share of items, popular ones first")
    axis.set_ylabel("share of interactions")


def _over_time(axis: Any, sides: list[Side], *, unit: str | None) -> None:
    axis.set_title("interactions over time", loc="left")
    all_times = np.asarray(sides[0][0].times, dtype=float)
    edges = np.linspace(float(all_times[0]), float(all_times[-1]), BINS + 1)
    places = edges if unit is None else np.array([date_of(float(edge), unit) for edge in edges])
    for side, _, colour, width in sides:
        counts, _ = np.histogram(side.times.astype(float), edges)  # type: ignore[union-attr]
        axis.stairs(counts, places, baseline=None, color=colour, linewidth=width)
    axis.set_ylim(0)
    axis.set_xlabel("time" if unit else "time, in the file's unit")
    axis.set_ylabel(f"interactions ({BINS} equal parts)")
    if unit is not None:
        _date_axis(axis)


def _date_axis(axis: Any) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter  # noqa: PLC0415 - optional

    locator = AutoDateLocator(minticks=3, maxticks=7)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _gaps(axis: Any, sides: list[Side], *, unit: str | None) -> None:
    axis.set_title("time to the user's next interaction", loc="left")
    axis.set_ylim(0, 1.02)
    axis.set_xlabel("longer than" if unit else "longer than, in the file's unit")
    axis.set_ylabel("share of those not at once")
    per_second = UNITS[unit] if unit else 1
    lengths = [side.gaps.astype(float) / per_second for side, *_ in sides]  # type: ignore[union-attr]
    positive = lengths[0][lengths[0] > 0]
    if not len(positive) or positive[-1] <= positive[0]:
        said = f"always {positive[0]:g} {'second' if unit else ''}" if len(positive) else "always 0"
        axis.annotate(said, (0.5, 0.5), xycoords="axes fraction", ha="center", color=GREY)
        axis.set_xticks([])
        return
    for all_gaps, (_, _, colour, width) in zip(lengths, sides, strict=True):
        gaps = all_gaps[all_gaps > 0]
        some = np.unique(np.linspace(0, max(len(gaps) - 1, 0), 2000).astype(int))[: len(gaps)]
        axis.plot(gaps[some], 1 - some / max(len(gaps), 1), color=colour, linewidth=width)
    axis.set_title(f"time to the user's next interaction ({share((lengths[0] == 0).mean())} at once)", loc="left")
    _log(axis, x=True, y=False)
    low, high = axis.get_xlim()
    marks = {name: span for name, span in SPANS.items() if low <= span <= high}
    if unit and len(marks) >= 2:
        axis.set_xticks(list(marks.values()), [name.replace(" ", "\n") for name in marks])
        axis.minorticks_off()


def _shares(axis: Any, sides: list[Side]) -> None:
    axis.set_title("traps", loc="left")
    names = {
        "repeats": lambda side: side.repeats,
        "ties": lambda side: side.tied,
        "same event": lambda side: _per_row(side, side.same_events),
        "same row": lambda side: _per_row(side, side.identical),
        "missing": lambda side: _per_row(side, max(side.missing.values())),
    }
    shown = {name: of for name, of in names.items() if of(sides[0][0]) is not None}
    places = np.arange(len(shown))[::-1]
    for number, (side, _, colour, _width) in enumerate(sides):
        shares = [of(side) or 0.0 for of in shown.values()]
        axis.barh(places + 0.18 * (1 - 2 * number), shares, 0.32, color=colour)
        for place, value in zip(places, shares, strict=True):
            text = "none" if value == 0 else "<0.1 %" if value < 0.001 else f"{100 * value:.1f} %"
            axis.annotate(
                text,
                (value, place + 0.18 * (1 - 2 * number)),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=7,
                color=ORANGE if value >= 0.1 else GREY,
            )
    axis.set_yticks(places, list(shown))
    axis.set_xlim(0, 1.15)
    axis.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    axis.set_xlabel("share of interactions (ties: of users)")


def _per_row(side: Profile, count: int | None) -> float | None:
    return None if count is None else count / max(side.n_rows, 1)


def _log(axis: Any, *, x: bool, y: bool) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter  # noqa: PLC0415 - optional

    plain = FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    if x:
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(plain)
        axis.xaxis.set_minor_formatter(NullFormatter())
    if y:
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(plain)
        axis.yaxis.set_minor_formatter(NullFormatter())
