"""The page of a search (host): its tables and pictures, which needs nothing but itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from curriculum_rec.reports.figures import BLUE, GREEN, GREY, ORANGE, SKY, new_figure, styled, to_svg
from curriculum_rec.reports.page import heading, make_page, paragraph, table
from curriculum_rec.tuning.report import Findings, sections, summary
from curriculum_rec.tuning.space import Choices, Entry
from curriculum_rec.tuning.trials import TrialRow, best_so_far, best_trial

COLUMNS = 3


def tuning_page(found: Findings) -> str:
    """Write the page of a search.

    Raises:
        OptionError: Matplotlib is not installed.
    """
    parts = [paragraph(" ".join(summary(found)))]
    if found.train:
        parts.append(paragraph(f"To train the best one: {found.train}"))
    for title, explanation, content in sections(found):
        parts += [heading(title), *([paragraph(explanation)] if explanation else []), table(*content)]
    pictures = [
        ("How the search went", draw_history(found)),
        ("Curves of the trials", draw_curves(found)),
        ("Each option alone", draw_slices(found)),
    ]
    if found.importances:
        pictures.insert(2, ("Importance of the options", draw_importances(found)))
    for title, figure in pictures:
        parts += [heading(title), to_svg(figure)]
    return make_page(f"Tuning: {found.name}", parts)


def draw_history(found: Findings) -> Any:
    """Draw the value of every trial by its number, and the best so far."""
    with styled():
        figure = new_figure(7.6, 2.8)
        axis = figure.subplots()
        done = _done(found.rows)
        axis.plot([row.number for row in done], [row.value for row in done], "o", color=SKY, markersize=4, label="done")
        pruned = [row for row in found.rows if row.state == "pruned" and row.curve]
        numbers = [row.number for row in pruned]
        axis.plot(numbers, [max(row.curve) for row in pruned], "x", color=GREY, markersize=4, label="pruned, its best")
        records = best_so_far(found.rows)
        if records:
            steps, values = zip(*records, strict=True)
            ends = [*steps, max(row.number for row in found.rows)], [*values, values[-1]]
            axis.step(*ends, where="post", color=ORANGE, label="best so far")
        axis.set_xlabel("trial")
        axis.set_ylabel(f"validation {found.metric}")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))  # beside the points, so that it covers none
    return figure


def draw_curves(found: Findings) -> Any:
    """Draw what was reported of every trial: pruned ones end early."""
    best = best_trial(found.rows)
    styles = {"done": (SKY, 0.9, "done"), "pruned": (GREY, 0.6, "pruned"), "running": (GREEN, 0.9, "running")}
    with styled():
        figure = new_figure(7.6, 2.8)
        axis = figure.subplots()
        for row in [row for row in found.rows if row.curve and row.state in styles and row != best]:
            colour, alpha, _ = styles[row.state]
            axis.plot(range(1, len(row.curve) + 1), row.curve, ".-", color=colour, alpha=alpha, linewidth=0.9)
        if best is not None and best.curve:
            axis.plot(range(1, len(best.curve) + 1), best.curve, ".-", color=ORANGE, linewidth=1.8)
        axis.set_xlabel("folds" if found.search.folds else "evaluation")
        axis.set_ylabel(f"validation {found.metric}")
        axis.xaxis.get_major_locator().set_params(integer=True)
        lines = {label: axis.plot([], [], color=colour)[0] for colour, _, label in styles.values()}
        lines["best"] = axis.plot([], [], color=ORANGE)[0]
        axis.legend(lines.values(), lines.keys(), loc="lower right")
    return figure


def draw_importances(found: Findings) -> Any:
    """Draw the importance of every option as a bar."""
    names, shares = list(found.importances)[::-1], list(found.importances.values())[::-1]
    with styled():
        figure = new_figure(7.6, 0.9 + 0.28 * len(names))
        axis = figure.subplots()
        axis.barh(names, shares, color=BLUE, height=0.6)
        axis.set_xlim(0, 1)
        axis.set_xlabel("importance")
    return figure


def draw_slices(found: Findings) -> Any:
    """Draw the value of every finished trial against each option, darker the later the trial."""
    entries = found.search.space.entries
    n_rows = math.ceil(len(entries) / COLUMNS)
    with styled():
        figure = new_figure(9.0, 2.5 * n_rows)
        axes = figure.subplots(n_rows, COLUMNS, squeeze=False, sharey=True)
        for axis, entry in zip(axes.flat, entries, strict=False):
            _draw_slice(axis, entry, _done(found.rows))
        for axis in axes.flat[len(entries) :]:
            axis.axis("off")
        for axis in axes[:, 0]:
            axis.set_ylabel(found.metric)
    return figure


def _draw_slice(axis: Any, entry: Entry, done: Sequence[TrialRow]) -> None:
    rows = [row for row in done if entry.option in row.point]
    chosen: list[Any] = [row.point[entry.option] for row in rows]
    axis.set_xlabel(entry.option)
    if isinstance(entry.values, Choices):
        words = entry.values.words
        # Beside each other, so that trials with one choice do not hide one another.
        spread = 0.3 * (np.arange(len(rows)) / max(len(rows) - 1, 1) - 0.5)
        chosen = [words.index(value) + shift for value, shift in zip(chosen, spread, strict=True)]
        turned = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if max(map(len, words)) > 6 else {}
        axis.set_xticks(range(len(words)), words, **turned)
        axis.set_xlim(-0.5, len(words) - 0.5)
    else:
        axis.set_xlim(entry.values.low, entry.values.high)
        if entry.values.log:
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")  # Matplotlib's own is mathematics
            axis.xaxis.set_minor_formatter(lambda *_: "")
        axis.margins(x=0.05)
    numbers = [row.number for row in rows]
    axis.scatter(chosen, [row.value for row in rows], c=numbers, cmap="Blues", vmin=min(numbers, default=0) - 5, s=16)


def _done(rows: Sequence[TrialRow]) -> list[TrialRow]:
    return [row for row in rows if row.state == "done"]
