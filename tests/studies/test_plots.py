"""Figures of a report against the numbers they were made of."""

from dataclasses import replace

import numpy as np
import pytest
from told_study import CLEAN, QUALITIES, STEPS, make_report

from curriculum_rec.evaluation.curves import Curve
from curriculum_rec.studies.comparisons import Family, against_baseline
from curriculum_rec.studies.looks import CONTROL_DASHES, looks
from curriculum_rec.studies.place_plots import place_plots
from curriculum_rec.studies.plots_of_results import forest
from curriculum_rec.studies.plots_of_training import band
from curriculum_rec.studies.results import Options
from curriculum_rec.studies.tables import budget_values


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return make_report(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def of_arms(report):
    return looks(QUALITIES, report.results.options)


@pytest.fixture(scope="module")
def plots(report, of_arms):
    made = place_plots(report.results.cells[CLEAN], report.results.options, report.slices[CLEAN], of_arms)
    return {plot.topic: plot for plot in made}


def traces_of(figure, arm):
    return [trace for trace in figure["data"] if trace["meta"] == arm]


def test_a_place_has_all_plots_and_no_others(plots):
    topics = "curves baseline controls pacing depth trained slices budgets cost"
    assert list(plots) == topics.split()


def test_no_two_arms_look_alike_and_a_control_has_the_colour_of_its_arm():
    arms = ["plain", *(f"a{n}" for n in range(20)), *(f"a{n}-{word}" for n in range(20) for word in ("random", "anti"))]
    controls = {f"a{n}{word}": f"a{n}-random" for n in range(20) for word in ("", "-anti")}
    found = looks(arms, Options("", controls=controls))
    shown = [(look.colour, look.dash, look.mark) for arm, look in found.items() if not look.is_control]
    assert len(set(shown)) == len(shown) == 21
    for n in range(20):
        own, *others = (found[name] for name in (f"a{n}", f"a{n}-random", f"a{n}-anti"))
        assert {look.colour for look in others} == {own.colour}
        assert tuple(look.dash for look in others) == CONTROL_DASHES
        assert all(look.is_control for look in others)


def test_an_arm_with_a_longer_name_is_not_taken_for_a_control():
    found = looks(
        ["plain", "loss", "loss-random", "loss-hard"],
        Options("", controls={"loss": "loss-random", "loss-hard": "plain"}),
    )
    assert [look.is_control for look in found.values()] == [False, False, True, False]


def test_a_curve_is_the_mean_over_seeds_and_its_band_holds_every_seed(report, plots):
    runs = report.results.cells[CLEAN]["order"].values()
    values = np.array([run.curve("ndcg@10").value for run in runs])
    area, line = traces_of(plots["curves"].choices["steps"], "order")
    assert line["x"] == [10, 20, 30, 40]
    np.testing.assert_allclose(line["y"], values.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(area["y"], [*values.max(axis=0), *values.min(axis=0)[::-1]], rtol=1e-5)


def test_a_band_reaches_as_far_as_all_seeds_and_no_further():
    def curve(seconds, value):
        return Curve(np.arange(len(value)), np.array(seconds, float), np.full(len(value), np.nan), np.array(value))

    x, mean, low, high = band([curve([1, 3], [0.0, 1.0]), curve([2, 4, 6], [0.5, 0.5, 0.9])], "seconds")
    assert x.tolist() == [2, 3]
    np.testing.assert_allclose((low, mean, high), ([0.5, 0.5], [0.5, 0.75], [0.5, 1.0]))


def test_a_forest_has_the_comparisons_numbers_and_fills_what_is_shown(report, of_arms):
    family = against_baseline(report.results.cells[CLEAN], report.results.options)
    shown = replace(family.over_seeds["order"], difference=0.1, low=0.05, high=0.2, adjusted_p=0.04)
    changed = {**family.over_seeds, "order": shown}
    figure = forest("baseline", Family(family.against, changed), report.results.options, of_arms).panels[0]
    drawn = [trace["meta"] for trace in figure["data"]]
    assert drawn == sorted(changed, key=lambda arm: -changed[arm].difference)
    (order,) = traces_of(figure, "order")
    assert (order["x"], order["error_x"]["array"], order["error_x"]["arrayminus"]) == ([0.1], [0.1], [0.05])
    fills = {trace["meta"]: trace["marker"]["color"] for trace in figure["data"]}
    assert fills.pop("order") == of_arms["order"].colour
    assert set(fills.values()) == {"$paper"}


def test_pacing_and_depth_are_those_of_the_log(plots):
    (share,) = traces_of(plots["pacing"].panels[0], "order")
    assert (share["x"], share["y"]) == ([0, 10, 20, 30, 40], [0.2, 0.2, 0.3, 0.4, 0.5])
    assert list(plots["pacing"].legend) == ["order", "order-random", "order-anti"]
    (depth,) = traces_of(plots["depth"].panels[0], "grown")
    assert (depth["x"], depth["y"]) == ([0, 20, STEPS], [1, 2, 2])


def test_what_was_trained_when_is_the_share_of_every_tenth(plots):
    figures = {figure["layout"]["title"]["text"]: figure for figure in plots["trained"].panels}
    assert list(figures) == ["order", "order-random", "order-anti"]
    share = np.array(figures["order"]["data"][0]["customdata"])
    np.testing.assert_allclose(share.sum(axis=0), 1, atol=1e-5)
    np.testing.assert_allclose(share[:, 0], [0.5, 0.5, *[0] * 8])
    anti = np.array(figures["order-anti"]["data"][0]["customdata"])
    np.testing.assert_allclose(anti, share[::-1])


def test_slices_are_told_as_differences_from_the_baseline(report, plots):
    cell, slices = report.results.cells[CLEAN], report.slices[CLEAN]
    (points,) = traces_of(plots["slices"].panels[0], "order")
    ours, base = slices.means(cell["order"], "ndcg@10"), slices.means(cell["plain"], "ndcg@10")
    np.testing.assert_allclose(points["y"], [ours[name] - base[name] for name in ours], atol=1e-6)
    assert not traces_of(plots["slices"].panels[0], "plain")


def test_seeds_that_never_got_there_stand_apart(report, plots):
    cell, options = report.results.cells[CLEAN], report.results.options
    for arm in QUALITIES:
        spent = budget_values(cell[arm], cell["plain"], options)[:, 3]
        crosses = [
            t for t in traces_of(plots["budgets"].choices["steps"], arm) if t["marker"].get("symbol") == "x-thin"
        ]
        assert len(crosses) == bool(np.isinf(spent).any())
        seeds = traces_of(plots["budgets"].choices["steps"], arm)[0]["x"]
        assert seeds == sorted(spent[np.isfinite(spent)])


def test_cost_is_drawn_against_the_test_metric(report, plots):
    runs = list(report.results.cells[CLEAN]["grown"].values())
    (point,) = traces_of(plots["cost"].choices["operations"], "grown")
    assert point["x"] == [STEPS * 1e9]
    np.testing.assert_allclose(point["y"], [np.mean([run.test("ndcg@10") for run in runs])], rtol=1e-5)
    assert set(plots["cost"].choices) == {"operations", "seconds of training", "steps"}


def test_runs_that_know_no_operations_and_no_curriculum_have_fewer_plots(tmp_path):
    report = make_report(tmp_path, n_seeds=1)
    cell = {arm: runs for arm, runs in report.results.cells[CLEAN].items() if arm in ("plain", "weighted")}
    for runs in cell.values():
        for run in runs.values():
            run.summary["operations"] = None
            for row in run.rows:
                row.pop("operations", None)
    options = report.results.options
    plots = {plot.topic: plot for plot in place_plots(cell, options, None, looks(cell, options))}
    # The only arm's control is the baseline, and the same comparison is drawn once.
    assert list(plots) == ["curves", "baseline", "budgets", "cost"]
    for topic in ("curves", "budgets", "cost"):
        assert "operations" not in plots[topic].choices and len(plots[topic].choices) == 2
    assert "error_x" not in plots["baseline"].panels[0]["data"][0]  # one seed has no interval
