"""Which plots a place has (host)."""

from __future__ import annotations

from curriculum_rec.studies.comparisons import against_baseline, against_controls
from curriculum_rec.studies.folds import by_run
from curriculum_rec.studies.plots import Looks, Plot
from curriculum_rec.studies.plots_of_results import cost_and_quality, forest, gains, time_to_quality
from curriculum_rec.studies.plots_of_training import depth, learning_curves, pacing, trained_when
from curriculum_rec.studies.results import Cell, Options
from curriculum_rec.studies.slices import Slices


def place_plots(cell: Cell, options: Options, slices: Slices | None, looks: Looks) -> list[Plot]:
    """Make the plots of one place, those that have something to show.

    Args:
        cell: Its runs.
        options: What they are compared by.
        slices: The slices of users and items; None where the data cannot be read any more.
        looks: Of every arm.
    """
    made = [
        learning_curves(by_run(cell), options, looks),
        forest("baseline", against_baseline(cell, options), options, looks),
        forest("controls", against_controls(cell, options), options, looks),
        pacing(by_run(cell), looks),
        depth(by_run(cell), looks),
        trained_when(by_run(cell)),
        None if slices is None else gains(cell, options, slices, looks),
        time_to_quality(by_run(cell), options, looks),
        cost_and_quality(cell, options, looks),
    ]
    return [plot for plot in made if plot is not None]
