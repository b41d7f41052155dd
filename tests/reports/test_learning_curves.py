"""Curves over seeds: what is drawn is the mean and the band of the seeds."""

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the extra 'figures' is not installed")

from curriculum_rec.errors import OptionError
from curriculum_rec.reports.curves import draw_curves
from curriculum_rec.reports.figures import to_svg

AT = np.array([10, 20, 30])


def test_the_line_is_the_mean_and_the_band_goes_from_the_lowest_to_the_highest():
    curves = {"ours": np.array([[0.0, 1.0, 2.0], [1.0, 2.0, 6.0]]), "control": np.array([3.0, 2.0, 1.0])}
    figure = draw_curves(AT, curves, across="epoch", label="accuracy")
    [axis] = figure.axes
    ours, control = axis.lines
    assert ours.get_ydata().tolist() == [0.5, 1.5, 4.0]
    assert control.get_ydata().tolist() == [3.0, 2.0, 1.0]
    [band] = axis.collections  # a single seed has none
    corners = band.get_paths()[0].vertices
    assert {tuple(corner) for corner in corners} >= {(10.0, 0.0), (10.0, 1.0), (30.0, 2.0), (30.0, 6.0)}
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("epoch", "accuracy")
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["ours", "control"]
    assert to_svg(figure).startswith("<svg")


def test_curves_of_another_length_and_none_are_refused():
    with pytest.raises(OptionError, match=r"the curves of 'ours' have shape \(2, 4\): \[n_seeds, 3\] is needed"):
        draw_curves(AT, {"ours": np.zeros((2, 4))})
    with pytest.raises(OptionError, match="no curve"):
        draw_curves(AT, {})
