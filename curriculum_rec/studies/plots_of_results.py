"""Plots of what came out (host): differences with intervals, who gains, the way to quality, cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from curriculum_rec.evaluation.statistics import Comparison
from curriculum_rec.studies.comparisons import LEVEL, Family, counted
from curriculum_rec.studies.plots import (
    UNIT_TITLES,
    Figure,
    Looks,
    Plot,
    Trace,
    arm_axis,
    axis,
    chosen,
    figure,
    mark_of,
    numbers,
    plain,
    row_height,
)
from curriculum_rec.studies.results import Cell, Options, Result, Seeds
from curriculum_rec.studies.slices import SLICES, Slices
from curriculum_rec.studies.tables import UNITS, budget_values, chance, interval

WIDTH_OF_ARMS = 0.7
"""Of a slice's place: the arms' points stand side by side in it."""
SPENT = {"operations": "operations", "seconds": "train_seconds", "step": "steps"}


def forest(topic: str, family: Family, options: Options, looks: Looks) -> Plot | None:
    """Draw differences with their intervals over seeds; None where nothing is compared."""
    if not family:
        return None
    ordered = sorted(family.over_seeds.items(), key=lambda entry: -entry[1].difference)
    traces = [
        _difference(row, arm, found, looks, against=family.against[arm]) for row, (arm, found) in enumerate(ordered)
    ]
    zero = {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1, "line": {"color": "$ink", "width": 1}}
    title = f"difference in test {options.metric}"
    axes = {"xaxis": axis(title, tickformat="+.3~f"), "yaxis": arm_axis([arm for arm, _ in ordered])}
    note = (
        f"Test {options.metric}, 95 % intervals over seeds, the largest difference on top. Filled: Holm's corrected p "
        f"is at most {LEVEL}. An arm with one seed has no interval."
    )
    plot = figure(traces, {**axes, "shapes": [zero]}, height=row_height(len(ordered)))
    return Plot(topic, "Differences", note, (plot,))


def _difference(row: int, arm: str, found: Comparison, looks: Looks, *, against: str) -> Trace:
    shown = found.adjusted_p <= LEVEL
    colour = looks[arm].colour
    fill = colour if shown else "$paper"
    mark = {"symbol": "circle", "size": 10, "color": fill, "line": {"color": colour, "width": 2}}
    told = [f"{plain(arm)} against {plain(against)}, {counted(found.n, 'seed')}", f"{found.difference:+.4f}"]
    trace: Trace = {"x": numbers([found.difference]), "y": [row], "mode": "markers", "marker": mark, "meta": arm}
    if found.low is not None and found.high is not None:
        high, low = found.high - found.difference, found.difference - found.low
        ends = {"array": numbers([high]), "arrayminus": numbers([low]), "symmetric": False}
        trace["error_x"] = {"type": "data", **ends, "color": colour, "thickness": 2, "width": 4}
        told += [f"95 %: {interval((found.low, found.high))}", f"p {chance(found.p)}, Holm {chance(found.adjusted_p)}"]
    return {**trace, "hovertemplate": "<br>".join(told) + "<extra></extra>"}


def gains(cell: Cell, options: Options, slices: Slices, looks: Looks) -> Plot:
    """Draw who gains: the deciding metric of each slice, as its difference from the baseline where there is one."""
    means = {arm: slices.means(runs, options.metric) for arm, runs in cell.items()}
    base = means.get(options.baseline)
    arms = [arm for arm in means if base is None or arm != options.baseline]
    offsets = (np.arange(len(arms)) + 0.5) / max(len(arms), 1) - 0.5
    traces: list[Trace] = []
    for arm, offset in zip(arms, offsets * WIDTH_OF_ARMS, strict=True):
        found = means[arm]
        there = [place for place, name in enumerate(SLICES) if name in found]
        y = [found[SLICES[p]] - (0 if base is None else base[SLICES[p]]) for p in there]
        marks = {"mode": "markers", "marker": mark_of(looks[arm], size=7), "meta": arm}
        told = [[SLICES[p], found[SLICES[p]]] for p in there]
        hover = f"{plain(arm)}, %{{customdata[0]}}<br>%{{customdata[1]:.4f}}"
        hover += "" if base is None else " (%{y:+.4f})"
        x = numbers([place + offset for place in there])
        traces.append(
            {"x": x, "y": numbers(y), "customdata": told, "hovertemplate": f"{hover}<extra></extra>", **marks}
        )
    title = f"test {options.metric}" if base is None else f"difference from {options.baseline}"
    edges = [_upright(place + 0.5) for place in range(len(SLICES) - 1)]
    names = [name.replace(" ", "<br>") for name in SLICES]
    places = axis(range=[-0.5, len(SLICES) - 0.5], tickvals=list(range(len(SLICES))), ticktext=names, showgrid=False)
    zero = {"zeroline": True, "zerolinecolor": "$ink", "zerolinewidth": 1} if base is not None else {}
    plot = figure(traces, {"xaxis": places, "yaxis": axis(title) | zero, "shapes": edges}, height=380)
    note = f"Test {options.metric}, means over seeds. {slices.describe()}"
    return Plot("slices", "Who gains", note, (plot,), legend=arms)


def _upright(x: float) -> dict:
    line = {"color": "$line", "width": 1}
    return {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": line}


def time_to_quality(cell: Cell, options: Options, looks: Looks) -> Plot | None:
    """Draw what it took every seed to get to a share of the baseline's best; None without a baseline."""
    if options.baseline not in cell:
        return None
    reached = {arm: budget_values(runs, cell[options.baseline], options) for arm, runs in cell.items()}
    reached = {arm: found[:, 3:] for arm, found in reached.items() if len(found)}
    columns = {unit: {arm: found[:, number] for arm, found in reached.items()} for number, unit in enumerate(UNITS)}
    choices = {
        UNIT_TITLES[unit]: _reached_figure(found, UNIT_TITLES[unit], looks)
        for unit, found in columns.items()
        if any(np.isfinite(values).any() for values in found.values())
    }
    if not choices:
        return None
    note = (
        f"What it took to {options.share:.0%} of {options.baseline}'s best validation {options.metric} of the same "
        "seed: a small point a seed, a large one for the median. A cross at the right edge: a seed never got there."
    )
    return chosen("budgets", "Time to quality", note, choices)


def _reached_figure(reached: Mapping[str, np.ndarray], unit: str, looks: Looks) -> Figure:
    arms = [arm for arm, values in reached.items() if not np.isnan(values).any()]
    finite = np.concatenate([values[np.isfinite(values)] for values in reached.values()])
    never = float(finite.max()) * 1.08
    traces: list[Trace] = []
    for row, arm in enumerate(arms):
        values, look = np.sort(reached[arm]), looks[arm]
        middle = values[len(values) // 2]  # the higher of two, as in the table
        there, failed = values[np.isfinite(values)], int(np.isinf(values).sum())
        seeds = {"mode": "markers", "meta": arm, "hovertemplate": f"{plain(arm)}: %{{x:.4~s}} {unit}<extra></extra>"}
        small = {"color": look.colour, "size": 6, "opacity": 0.55}
        traces.append({"x": numbers(there), "y": [row] * len(there), "marker": small, **seeds})
        if np.isfinite(middle):
            traces.append({"x": numbers([middle]), "y": [row], "marker": {"color": look.colour, "size": 11}, **seeds})
        if failed:
            cross = {"symbol": "x-thin", "size": 9, "line": {"color": look.colour, "width": 2}}
            told = f"{plain(arm)}: {failed} of {len(values)} seeds never<extra></extra>"
            traces.append({"x": [never], "y": [row], "marker": cross, **seeds, "hovertemplate": told})
    axes = {"xaxis": axis(unit, rangemode="tozero"), "yaxis": arm_axis(arms)}
    return figure(traces, axes, height=row_height(len(arms)))


def cost_and_quality(cell: Cell, options: Options, looks: Looks) -> Plot:
    """Draw the test metric against what training took."""
    choices = {
        UNIT_TITLES[unit]: _cost_figure(cell, SPENT[unit], UNIT_TITLES[unit], options, looks)
        for unit in ("operations", "seconds", "step")
        if any(_spent(runs, SPENT[unit]) is not None for runs in cell.values())
    }
    note = (
        f"Test {options.metric} against all of training, means over seeds, with the standard deviation over seeds. "
        "Better arms are higher, cheaper ones further to the left."
    )
    return chosen("cost", "Cost and quality", note, choices, list(cell))


def _spent(runs: Seeds, name: str) -> float | None:
    values = [run.summary[name] for run in runs.values()]
    return None if None in values else float(np.mean(values))


def _cost_figure(cell: Cell, name: str, unit: str, options: Options, looks: Looks) -> Figure:
    traces: list[Trace] = []
    for arm, runs in cell.items():
        spent = _spent(runs, name)
        if spent is None:
            continue
        tests = _tests(list(runs.values()), options.metric)
        told = f"{plain(arm)}<br>%{{x:.4~s}} {unit}: %{{y:.4f}}<extra></extra>"
        point = {"x": numbers([spent]), "y": numbers([tests.mean()]), "mode": "markers", "meta": arm}
        trace: Trace = {**point, "marker": mark_of(looks[arm], size=10), "hovertemplate": told}
        if len(tests) > 1:
            bar = {"type": "data", "array": numbers([tests.std(ddof=1)]), "thickness": 1.2, "width": 3}
            trace["error_y"] = {**bar, "color": looks[arm].colour}
        traces.append(trace)
    axes = {"xaxis": axis(unit, rangemode="tozero"), "yaxis": axis(f"test {options.metric}")}
    return figure(traces, axes, height=400)


def _tests(runs: Sequence[Result], metric: str) -> np.ndarray:
    return np.array([run.test(metric) for run in runs])
