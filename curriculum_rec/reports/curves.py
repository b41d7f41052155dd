"""Curves of several arms over seeds (host): the mean of each, and where its seeds lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from curriculum_rec.errors import OptionError
from curriculum_rec.reports.figures import COLOURS, new_figure, styled

DASHES = ("solid", "dashed", "dashdot", "dotted")


def draw_curves(
    at: np.ndarray, curves: Mapping[str, np.ndarray], *, across: str = "step", label: str = "quality"
) -> Any:
    """Draw the curves of arms: the mean over seeds as a line, from the lowest to the highest as a band.

    Args:
        at: ``[n_points]``, where the curves were taken.
        curves: Of every arm ``[n_seeds, n_points]``, or ``[n_points]`` of a single seed.
        across: What the horizontal axis counts.
        label: Of the vertical axis.

    Returns:
        A Matplotlib figure.

    Raises:
        OptionError: A curve has another length, there are none, or Matplotlib is not installed.
    """
    if not curves:
        raise OptionError("there is no curve to draw")
    with styled():
        figure = new_figure(6.4, 3.2)
        axis = figure.subplots()
        for number, (name, given) in enumerate(curves.items()):
            values = np.atleast_2d(np.asarray(given, np.float64))
            if values.ndim != 2 or values.shape[1] != len(at):
                raise OptionError(
                    f"the curves of '{name}' have shape {np.shape(given)}: [n_seeds, {len(at)}] is needed"
                )
            style = {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number // len(COLOURS) % len(DASHES)]}
            axis.plot(at, values.mean(axis=0), label=name, **style)
            if len(values) > 1:
                axis.fill_between(
                    at, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.15, linewidth=0
                )
        axis.set_xlabel(across)
        axis.set_ylabel(label)
        axis.legend(loc="best")
    return figure
