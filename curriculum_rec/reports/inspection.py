"""A picture of one run, or of several side by side (host): what was trained when, and what came of it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.curves import Unit
from curriculum_rec.reports.figures import BLUE, GREEN, GREY, ORANGE, SCALE, SKY, new_figure, styled, to_svg
from curriculum_rec.reports.page import make_page, table
from curriculum_rec.reports.run_log import RunLog
from curriculum_rec.training.step import WEIGHT_PERCENTS

MOST_RUNS = 6
MEAN_WEIGHT = "objective/weight"


@dataclass(frozen=True)
class Panel:
    """A row of the picture.

    Attributes:
        label: Of the vertical axis, with the unit.
        draw: Draws a run into an axis; gives what the key explains, or a colour scale.
        height: In inches.
        shown: Whether a run has what it shows, always by default; a panel that no run has is left out.
    """

    label: str
    draw: Callable[[Any, RunLog], Any]
    height: float = 1.35
    shown: Callable[[RunLog], bool] = bool


def draw_inspection(logs: Sequence[RunLog], *, against: Unit = "step") -> Any:
    """Draw runs beside each other, one a column, on the same axes.

    Args:
        logs: At most 6.
        against: What the horizontal axis counts.

    Returns:
        A Matplotlib figure.

    Raises:
        OptionError: There are too many runs, or Matplotlib is not installed.
    """
    if not 1 <= len(logs) <= MOST_RUNS:
        raise OptionError(f"run names {len(logs)} runs: between 1 and {MOST_RUNS} can be drawn side by side")
    logs = [log.against(against) for log in logs]
    panels = [panel for panel in (*PANELS, *_own_panels(logs)) if any(panel.shown(log) for log in logs)]
    with styled():
        width = (7.0 if len(logs) == 1 else 4.2 if len(logs) == 2 else 3.4) * len(logs)
        figure = new_figure(width + 1.6, sum(panel.height for panel in panels) + 1.0)
        # The keys have a column of their own, so that they cover nothing and all panels are equally wide.
        grid = figure.subplots(
            len(panels),
            len(logs) + 1,
            squeeze=False,
            gridspec_kw={
                "height_ratios": [panel.height for panel in panels],
                "width_ratios": [width / len(logs)] * len(logs) + [1.3],
            },
        )
        for row, panel in zip(grid, panels, strict=True):
            _draw_row(figure, row, panel, logs)
        lines = max(len(textwrap.wrap(log.describe(), _line_width(len(logs)))) for log in logs)
        for axis, log in zip(grid[0], logs, strict=False):
            title = textwrap.fill(log.name, 60, break_long_words=True) if len(logs) < 3 else _shorten(log.name, 34)
            axis.set_title(title, loc="left", fontweight="bold", pad=8 + 11 * lines)
            axis.annotate(
                textwrap.fill(log.describe(), _line_width(len(logs))),
                (0, 1),
                xytext=(0, 4 + 11 * lines),
                xycoords="axes fraction",
                textcoords="offset points",
                fontsize=8,
                color=GREY,
                va="top",
            )
        for axis in grid[-1, :-1]:
            axis.set_xlabel(against)
            axis.tick_params(labelbottom=True)
        figure.align_ylabels(grid[:, 0])
    return figure


def inspection_page(logs: Sequence[RunLog], *, against: Unit = "step") -> str:
    """Put the picture and a table of the runs on a page that needs nothing else.

    Raises:
        OptionError: As :func:`draw_inspection`.
    """
    header = ["run", "curriculum", "steps", "best step", "validation", "test"]
    rows = [[log.name, log.describe(), f"{log.last_step:,.0f}", *_result(log)] for log in logs]
    return make_page("What was trained", [table(header, rows), to_svg(draw_inspection(logs, against=against))])


def _result(log: RunLog) -> tuple[str, str, str]:
    """Give the best step and the deciding metric there, as texts; of a run that is not finished, dashes."""
    if log.summary is None:
        return "-", "-", "-"
    validation, test = (f"{log.metric} {log.summary[part][log.metric]:.4f}" for part in ("validation", "test"))
    return f"{log.summary['best_step']:,}", validation, test


def _line_width(n_runs: int) -> int:
    return {1: 110, 2: 64}.get(n_runs, 50)


def _shorten(name: str, width: int) -> str:
    return name if len(name) <= width else f"...{name[3 - width :]}"


def _draw_row(figure: Any, row: Any, panel: Panel, logs: Sequence[RunLog]) -> None:
    """Draw a panel of all runs, and its key."""
    keys: dict[str, Any] = {}
    scale = None
    end = max(log.last_step for log in logs)
    for axis, log in zip(row, logs, strict=False):
        axis.set_xlim(0, end)
        axis.tick_params(labelbottom=False)
        if not panel.shown(log):
            axis.annotate(
                "none in this run", (0.5, 0.5), xycoords="axes fraction", ha="center", va="center", color=GREY
            )
            axis.set_yticks([])
            continue
        drawn = panel.draw(axis, log)
        if isinstance(drawn, dict):
            keys = drawn | keys
        else:
            scale = drawn
        for stage in log.events.get("stage", ())[1:]:
            axis.axvline(stage["step"], color=GREY, linewidth=0.8, linestyle=":")
    _share_vertical_axis([axis for axis, log in zip(row, logs, strict=False) if panel.shown(log)])
    row[0].set_ylabel(panel.label)
    row[-1].axis("off")
    if scale is not None:
        inside = row[-1].inset_axes((0.0, 0.05, 0.12, 0.9))
        bar = figure.colorbar(scale, cax=inside)
        bar.ax.set_ylabel("share of what\nwas trained", fontsize=8)
        bar.set_ticks([0, 0.02, 0.1, 0.2, 0.5], labels=["0%", "2%", "10%", "20%", "50%"])
        bar.minorticks_off()
        bar.outline.set_visible(False)
    if keys:
        row[-1].legend(keys.values(), keys.keys(), loc="center left", borderaxespad=0, handlelength=1.4)


def _share_vertical_axis(axes: Sequence[Any]) -> None:
    """Give all axes of a row the limits that hold what was drawn, and the first that has any alone the labels."""
    low, high = (pick(axis.get_ylim()[side] for axis in axes) for pick, side in ((min, 0), (max, 1)))
    for number, axis in enumerate(axes):
        axis.set_ylim(low, high)
        axis.tick_params(labelleft=number == 0)


def _edges(log: RunLog) -> np.ndarray:
    """Give the steps between which dynamic epochs lie, ``[n_epochs + 1]``."""
    return np.concatenate([[0], log.column("curriculum", "step")])


def _has_deciles(log: RunLog) -> bool:
    return log.table("curriculum", "deciles") is not None


def _draw_deciles(axis: Any, log: RunLog) -> Any:
    from matplotlib.colors import PowerNorm  # noqa: PLC0415 - optional

    deciles = log.table("curriculum", "deciles")
    assert deciles is not None  # noqa: S101 - the panel is shown only then
    share = deciles / deciles.sum(axis=1, keepdims=True)
    # As an image inside a drawing: a long run has thousands of epochs.
    places = np.arange(11) + 0.5
    mesh = axis.pcolormesh(_edges(log), places, share.T, cmap=SCALE, norm=PowerNorm(0.5, 0, 0.5), rasterized=True)
    mean = log.column("curriculum", "mean_quantile") * 10 + 0.5
    axis.stairs(mean, _edges(log), baseline=None, color="black", linewidth=2.6)
    axis.stairs(mean, _edges(log), baseline=None, color="white", linewidth=1.3)
    axis.set_yticks([1, 4, 7, 10], ["easiest", "4", "7", "hardest"])
    axis.set_ylim(0.5, 10.5)
    return mesh


def _draw_share(axis: Any, log: RunLog) -> dict[str, Any]:
    share, edges = log.column("curriculum", "share"), _edges(log)
    axis.stairs(share, edges, fill=True, color=BLUE, alpha=0.2)
    line = axis.stairs(share, edges, baseline=None, color=BLUE, linewidth=1.4)
    axis.set_ylim(0, 1.05)
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    return {"available": line}


def _draw_sizes(axis: Any, log: RunLog) -> dict[str, Any]:
    styles = {
        "available": ("available", GREY, 3.2, 0.45),
        "drawn": ("drawn", SKY, 1.8, 1.0),
        "effective_size": ("effective", BLUE, 1.2, 1.0),
    }
    edges, lines = _edges(log), {}
    for name, (label, colour, width, alpha) in styles.items():
        values = log.column("curriculum", name)
        lines[label] = axis.stairs(values, edges, baseline=None, color=colour, linewidth=width, alpha=alpha)
    axis.set_ylim(0, None)
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    return lines


def _draw_loss(axis: Any, log: RunLog) -> dict[str, Any]:
    step, loss = log.column("train", "step"), log.column("train", "loss")
    width = max(1, len(loss) // 40)
    keys = {}
    if width == 1:
        return {"loss": axis.plot(step, loss, color=BLUE)[0]}
    keys["loss"] = axis.plot(step, loss, color=SKY, linewidth=0.6, alpha=0.7)[0]
    mean = np.convolve(loss, np.ones(width) / width, "valid")
    keys["running mean"] = axis.plot(step[width - 1 :], mean, color=BLUE)[0]
    return keys


def _draw_decile_losses(axis: Any, log: RunLog) -> dict[str, Any]:
    from matplotlib import colormaps  # noqa: PLC0415 - optional

    losses, edges, lines = log.table("curriculum", "decile_losses"), _edges(log), {}
    assert losses is not None  # noqa: S101 - the panel is shown only then
    names = {0: "easiest tenth", 9: "hardest tenth"}
    for decile, values in enumerate(losses.T):
        colour = colormaps[SCALE](decile / 10)
        line = axis.stairs(values, edges, baseline=None, color=colour, linewidth=1.3)
        if decile in names:
            lines[names[decile]] = line
    return dict(reversed(lines.items()))


def _draw_quality(axis: Any, log: RunLog) -> dict[str, Any]:
    step, value = log.column("evaluation", "step"), log.column("evaluation", log.metric)
    best = int(np.argmax(value))
    keys = {log.metric: axis.plot(step, value, color=GREEN, marker="o", markersize=3)[0]}
    keys["best"] = axis.plot(step[best], value[best], color=ORANGE, marker="D", markersize=5, linestyle="none")[0]
    place = step[best] / log.last_step
    axis.annotate(
        f"{value[best]:.4f}",
        (step[best], value[best]),
        xytext=(0, 6),
        textcoords="offset points",
        ha="left" if place < 0.15 else "right" if place > 0.85 else "center",
        fontsize=8,
        color=ORANGE,
    )
    axis.set_ylim(0, value[best] * 1.3 or 1)
    return keys


def _draw_depth(axis: Any, log: RunLog) -> dict[str, Any]:
    stages = log.events["stage"]
    depth = np.array([stage["depth"] or 0 for stage in stages], np.float64)
    edges = np.array([*(stage["step"] for stage in stages), log.last_step], np.float64)
    axis.stairs(depth, edges, fill=True, color=GREEN, alpha=0.2)
    axis.stairs(depth, edges, baseline=None, color=GREEN, linewidth=1.4)
    for stage, begin, stop, height in zip(stages, edges[:-1], edges[1:], depth, strict=True):
        if stop - begin > 0.02 * len(stage["stage"]) * log.last_step:  # else the names of short stages would overlap
            axis.annotate(stage["stage"], ((begin + stop) / 2, height / 2), ha="center", va="center", fontsize=8)
    axis.set_ylim(0, depth.max() * 1.1 or 1)
    axis.set_yticks(sorted(set(depth)))
    return {}


def _draw_learning_rate(axis: Any, log: RunLog) -> dict[str, Any]:
    axis.plot(log.column("train", "step"), log.column("train", "learning_rate"), color=BLUE, linewidth=1.2)
    axis.set_ylim(0, None)
    return {}


def _draw_weights(axis: Any, log: RunLog) -> dict[str, Any]:
    step = log.column("train", "step")
    low, lower, middle, upper, high = (log.column("train", f"{MEAN_WEIGHT}_{p:02}") for p in WEIGHT_PERCENTS)
    keys = {
        "5 to 95 %": axis.fill_between(step, low, high, color=BLUE, alpha=0.15, linewidth=0),
        "25 to 75 %": axis.fill_between(step, lower, upper, color=BLUE, alpha=0.35, linewidth=0),
        "median": axis.plot(step, middle, color=BLUE, linewidth=1.2)[0],
        "mean": axis.plot(step, log.column("train", MEAN_WEIGHT), color=ORANGE, linewidth=1.2)[0],
    }
    axis.set_ylim(0, None)
    return keys


PANELS = (
    Panel("difficulty trained", _draw_deciles, 1.9, _has_deciles),
    Panel("available share", _draw_share, shown=lambda log: "curriculum" in log.events),
    Panel("units an epoch", _draw_sizes, shown=lambda log: "curriculum" in log.events),
    Panel("training loss", _draw_loss),
    Panel(
        "loss by difficulty",
        _draw_decile_losses,
        shown=lambda log: log.table("curriculum", "decile_losses") is not None,
    ),
    Panel("validation", _draw_quality, shown=lambda log: "evaluation" in log.events),
    Panel("learning rate", _draw_learning_rate, 1.1, lambda log: bool(log.columns("train", "learning_rate"))),
    Panel("blocks", _draw_depth, 1.1, lambda log: "stage" in log.events),
    Panel("weights", _draw_weights, shown=lambda log: bool(log.columns("train", f"{MEAN_WEIGHT}_"))),
)


def _own_panels(logs: Sequence[RunLog]) -> list[Panel]:
    """Make a panel of every other number that an objective or a weighting reports, zeros alone aside."""
    found = dict.fromkeys(name for log in logs for name in log.columns("train", "objective/"))
    names = [name for name in found if name != MEAN_WEIGHT and not name.startswith(f"{MEAN_WEIGHT}_")]

    def panel(name: str) -> Panel:
        def draw(axis: Any, log: RunLog) -> dict[str, Any]:
            axis.plot(log.column("train", "step"), log.column("train", name), color=BLUE, linewidth=1.0)
            return {}

        label = textwrap.fill(name.partition("/")[2].replace("_", " "), 16)
        return Panel(label, draw, 1.1, lambda log: bool(np.nan_to_num(log.column("train", name)).any()))

    return [panel(name) for name in names]
