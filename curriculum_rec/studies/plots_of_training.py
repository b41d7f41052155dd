"""Plots of what happened in training (host): learning curves, pacing, depth, and what was trained when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from curriculum_rec.evaluation.curves import Curve, Unit
from curriculum_rec.studies.plots import (
    UNIT_TITLES,
    Figure,
    Looks,
    Plot,
    Trace,
    axis,
    chosen,
    figure,
    line_of,
    mark_of,
    numbers,
    plain,
)
from curriculum_rec.studies.results import Cell, Options, Result, Seeds
from curriculum_rec.studies.tables import UNITS

MOST_POINTS = 100
MOST_COLUMNS = 80
MOST_TICKS = 12
FEW_ARMS = 8
SCALE_TICKS = (0, 0.02, 0.1, 0.2, 0.5)
MOST_SHARE = SCALE_TICKS[-1]
"""Of what was trained, in a tenth of the difficulties: from here on the heat map has one colour."""


def learning_curves(cell: Cell, options: Options, looks: Looks) -> Plot:
    """Draw the deciding validation metric of every arm against what was spent."""
    curves = {arm: [run.curve(options.metric) for run in runs.values()] for arm, runs in cell.items()}
    known = [unit for unit in UNITS if any(_know(found, unit) for found in curves.values())]
    choices = {UNIT_TITLES[unit]: _curve_figure(curves, unit, options, looks) for unit in known}
    note = (
        f"Validation {options.metric}, the mean over the seeds of an arm as far as all of them went; the band reaches "
        "from the lowest to the highest seed. Operations and seconds are those of training alone, without "
        "evaluations and compilation."
    )
    return chosen("curves", "Learning curves", note, choices, list(curves))


def _know(curves: Sequence[Curve], unit: Unit) -> bool:
    return not any(np.isnan(getattr(curve, unit)).any() for curve in curves)


def _curve_figure(curves: Mapping[str, Sequence[Curve]], unit: Unit, options: Options, looks: Looks) -> Figure:
    bands: list[Trace] = []
    lines: list[Trace] = []
    strength = 0.16 if len(curves) <= FEW_ARMS else 0.08
    for arm, found in curves.items():
        if not _know(found, unit):
            continue
        x, mean, low, high = band(found, unit)
        look = looks[arm]
        if len(found) > 1:
            outline = {"x": numbers([*x, *x[::-1]]), "y": numbers([*high, *low[::-1]])}
            paint = {"fill": "toself", "fillcolor": look.colour, "line": {"width": 0}, "opacity": strength}
            bands.append({"mode": "lines", "meta": arm, "hoverinfo": "skip", **outline, **paint})
        hover = f"{plain(arm)}<br>%{{x:.4~s}} {UNIT_TITLES[unit]}: %{{y:.4f}}<extra></extra>"
        marks = {"mode": "lines+markers", "marker": mark_of(look, size=5), "line": line_of(look)}
        lines.append({"x": numbers(x), "y": numbers(mean), "meta": arm, "hovertemplate": hover, **marks})
    axes = {"xaxis": axis(UNIT_TITLES[unit], rangemode="tozero"), "yaxis": axis(f"validation {options.metric}")}
    return figure([*bands, *lines], axes, height=440)


def band(curves: Sequence[Curve], unit: Unit) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Lay curves over each other: where, and the mean, the lowest and the highest value there.

    Between its evaluations a curve is taken for straight, outside of them for unknown.

    >>> one = Curve(*map(np.array, ([10, 20], [1.0, 2.0], [5.0, 9.0], [0.1, 0.3])))
    >>> two = Curve(*map(np.array, ([10, 20], [1.5, 2.5], [5.0, 9.0], [0.3, 0.5])))
    >>> [part.round(2).tolist() for part in band([one, two], "seconds")]
    [[1.5, 2.0], [0.25, 0.35], [0.2, 0.3], [0.3, 0.4]]
    """
    spent = [np.asarray(getattr(curve, unit), float) for curve in curves]
    first, last = max(x[0] for x in spent), min(x[-1] for x in spent)
    x = np.unique(np.concatenate(spent))
    x = x[(x >= first) & (x <= last)]
    if len(x) > MOST_POINTS:
        x = np.linspace(first, last, MOST_POINTS)
    at = np.array([np.interp(x, own, curve.value) for own, curve in zip(spent, curves, strict=True)])
    return x, at.mean(axis=0), at.min(axis=0), at.max(axis=0)


def _events(run: Result, event: str) -> list[Mapping[str, Any]]:
    return [row for row in run.rows if row["event"] == event]


def _first(runs: Seeds) -> Result:
    return next(iter(runs.values()))


def pacing(cell: Cell, looks: Looks) -> Plot | None:
    """Draw which share of the data was available; None where every arm had all of them."""
    traces = []
    for arm, runs in cell.items():
        rows = _events(_first(runs), "curriculum")
        share = [row["share"] for row in rows]
        if share and min(share) < 1:
            x = [0, *(row["step"] for row in rows)]
            traces.append(_steps(arm, x, [share[0], *share], looks, shape="vh", form=".1%"))
    if not traces:
        return None
    axes = {"xaxis": axis("steps", rangemode="tozero"), "yaxis": axis("available", tickformat=".0%", range=[0, 1.04])}
    note = "The easiest share of the data that could be drawn in an epoch; the first seed. Other arms draw from all."
    legend = [trace["meta"] for trace in traces]
    return Plot("pacing", "Pacing", note, (figure(traces, axes, height=320),), legend=legend)


def depth(cell: Cell, looks: Looks) -> Plot | None:
    """Draw how deep the models were; None where none changed its depth."""
    traces, changes = [], False
    for arm, runs in cell.items():
        run = _first(runs)
        stages = [row for row in _events(run, "stage") if row["depth"] is not None]
        if stages:
            x = [*(row["step"] for row in stages), run.summary["steps"]]
            blocks = [row["depth"] for row in stages]
            changes |= len(set(blocks)) > 1
            traces.append(_steps(arm, x, [*blocks, blocks[-1]], looks, shape="hv", form="d"))
    if not changes:
        return None
    deepest = max(filter(None, (block for trace in traces for block in trace["y"])))
    whole = {"rangemode": "tozero", "tickformat": "d"} | ({"dtick": 1} if deepest <= MOST_TICKS else {})
    axes = {"xaxis": axis("steps", rangemode="tozero"), "yaxis": axis("blocks", **whole)}
    note = "How many blocks the model had; the first seed."
    legend = [trace["meta"] for trace in traces]
    return Plot("depth", "Depth", note, (figure(traces, axes, height=320),), legend=legend)


def _steps(arm: str, x: Sequence[float], y: Sequence[float], looks: Looks, *, shape: str, form: str) -> Trace:
    """Draw a line of steps."""
    line = {**line_of(looks[arm]), "shape": shape}
    hover = f"{plain(arm)}<br>%{{x:,}} steps: %{{y:{form}}}<extra></extra>"
    return {"x": numbers(x), "y": numbers(y), "mode": "lines", "line": line, "meta": arm, "hovertemplate": hover}


def trained_when(cell: Cell) -> Plot | None:
    """Draw which difficulties were trained when, a small plot an arm; None where no run knows."""
    panels = tuple(panel for arm, runs in cell.items() for panel in _heat_map(arm, _first(runs)))
    if not panels:
        return None
    note = (
        "Of what an epoch trained, the share that fell into each tenth of the difficulty; the line is the mean "
        "difficulty. The first seed."
    )
    scale = {f"{share:.0%}": float(np.sqrt(share / MOST_SHARE)) for share in SCALE_TICKS}
    return Plot("trained", "What was trained when", note, panels, scale=scale)


def _heat_map(arm: str, run: Result) -> Iterator[Figure]:
    rows = _events(run, "curriculum")
    if not rows or any("deciles" not in row for row in rows):
        return
    edges = np.array([0, *(row["step"] for row in rows)], float)
    counts = np.array([row["deciles"] for row in rows], float)
    edges, counts = merged(edges, counts, MOST_COLUMNS)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    mean = share @ (np.arange(10) + 1)
    places = ["easiest", "4", "7", "hardest"]
    heat = {
        "type": "heatmap",
        "x": numbers(edges),
        "y": list(range(1, 11)),
        "z": [numbers(row) for row in np.sqrt(share).T],
        "customdata": [numbers(row) for row in share.T],
        "zmin": 0,
        "zmax": numbers([np.sqrt(MOST_SHARE)])[0],
        "colorscale": "Viridis",
        "showscale": False,
        "hovertemplate": "tenth %{y}, step %{x:,.0f}: %{customdata:.1%}<extra></extra>",
    }
    line = {"x": numbers(edges), "y": numbers([*mean[:1], *mean]), "mode": "lines", "hoverinfo": "skip"}
    styles = (("#000000", 3.5), ("#ffffff", 1.5))
    lines = [{**line, "line": {"shape": "vh", "color": colour, "width": width}} for colour, width in styles]
    layout = {
        "title": {"text": plain(arm), "font": {"size": 13}, "x": 0, "xref": "paper", "y": 0.98, "yanchor": "top"},
        "xaxis": axis(showgrid=False, nticks=5, fixedrange=True),
        "yaxis": axis(tickvals=[1, 4, 7, 10], ticktext=places, range=[0.5, 10.5], showgrid=False, fixedrange=True),
    }
    yield figure([heat, *lines], layout, height=190)


def merged(edges: np.ndarray, counts: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Add neighbouring epochs up, so that a plot has no more columns than it can show.

    Args:
        edges: ``[n + 1]``, the steps between which the epochs lie.
        counts: ``[n, 10]``.
        most: How many are left at most.

    >>> edges, counts = merged(np.arange(5), np.eye(4), 2)
    >>> edges.tolist(), counts.sum(axis=1).tolist()
    ([0, 2, 4], [2.0, 2.0])
    """
    begins = np.unique(np.linspace(0, len(counts), min(most, len(counts)) + 1).astype(int))
    return edges[begins], np.add.reduceat(counts, begins[:-1], axis=0)
