"""The page of a search: what its pictures show is what was found."""

import pytest
from searches import SPACE, make_search, quality

pytest.importorskip("matplotlib", reason="the extra 'figures' is not installed")

from curriculum_rec.tuning.page import draw_curves, draw_history, draw_slices, tuning_page
from curriculum_rec.tuning.report import Findings, tuning_text
from curriculum_rec.tuning.trials import TrialRow


@pytest.fixture(scope="module")
def found():
    """Six trials: one failed, one pruned; the fourth is the best."""
    search, rows = make_search(), []
    points = [search.space.at(q) for q in ([0.2, 0, 0, 0], [0.5, 0.9, 0.5, 0.3], [0.9, 0, 0, 0], [0.66, 0.9, 0.1, 0.9])]
    for number, point in enumerate(points):
        value = quality([f"{name}={chosen}" for name, chosen in point.items()])
        rows.append(TrialRow(number, "done", value, point, (value / 2, value), 2.0))
    rows.append(TrialRow(4, "pruned", None, points[0], (0.1,)))
    rows.append(TrialRow(5, "failed", None, points[1], reason="the loss | of step 5 is nan"))
    metrics = {"test": {"ndcg@10": 0.1234}, "reference": {"ndcg@10": 0.0567}, "validation": {"ndcg@10": 0.2}}
    return Findings("mine", search, "ndcg@10", rows, {"model.depth": 0.75, "curriculum": 0.25}, metrics, "train it so")


def test_the_history_has_every_value_and_its_records(found):
    [axis] = draw_history(found).axes
    done, pruned, record = axis.lines
    assert done.get_ydata().tolist() == [row.value for row in found.rows[:4]]
    assert (pruned.get_xdata().tolist(), pruned.get_ydata().tolist()) == ([4], [0.1])
    assert record.get_ydata().tolist()[-1] == max(row.value for row in found.rows[:4])
    assert record.get_xdata().tolist()[-1] == 5


def test_every_option_has_its_axis(found):
    axes = draw_slices(found).axes
    assert [axis.get_xlabel() for axis in axes[: len(SPACE)]] == list(SPACE)
    assert [len(axis.collections[0].get_offsets()) for axis in axes[: len(SPACE)]] == [4, 4, 2, 4]
    assert [text.get_text() for text in axes[1].get_xticklabels()] == ["none", "length"]


def test_pruned_curves_end_early(found):
    [axis] = draw_curves(found).axes
    assert sorted(len(line.get_xdata()) for line in axis.lines if len(line.get_xdata())) == [1, 2, 2, 2, 2]


def test_the_page_and_the_text_tell_the_same(found):
    page, text = tuning_page(found), tuning_text(found)
    for content in (page, text):
        for words in ("0.1234", "0.0567", "train it so", "6 trials (4 done, 1 pruned, 1 failed)", "0.750"):
            assert words in content
    assert page.count("<svg") == 4
    assert "mathdefault" not in page
    assert r"the loss \| of step 5 is nan" in text
