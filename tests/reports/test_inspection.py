import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from curriculum_rec.errors import OptionError, RunError
from curriculum_rec.reports.run_log import RunLog
from curriculum_rec.training.run_directory import RunDirectory

CONFIG = {
    "model": {"_target_": "curriculum_rec.models.SASRec"},
    "evaluation": {"metric": "ndcg@10"},
    "weighting": {"_target_": "curriculum_rec.weighting.SuperLoss"},
    "curriculum": {
        "order": "anti",
        "unit": "target",
        **{
            part: {"_target_": f"curriculum_rec.curriculum.{name}"}
            for part, name in (("difficulty", "Popularity"), ("pacing", "Linear"), ("sampler", "Prefix"))
        },
    },
}


def rows_of_a_run(*, told=True, deciles=True, weights=True, n_chunks=90):
    yield {"event": "stage", "step": 0, "stage": "shallow", "depth": 1, "parameters": 1000}
    for chunk in range(1, n_chunks + 1):
        weighed = {f"objective/weight_{p}": int(p) / 50 for p in ("05", "25", "50", "75", "95")} if weights else {}
        weighed |= {"objective/weight": 1.1, "objective/hardness": 0.3} if weights else {}
        yield {"event": "train", "step": 4 * chunk, "loss": 8 / chunk, "epoch": 1 + chunk // 10, **weighed}
        if told and chunk % 10 == 0:
            by_difficulty = {"mean_quantile": 0.4, "deciles": [chunk] * 8 + [0] * 2} if deciles else {}
            by_difficulty |= {"decile_losses": [8.0 / chunk] * 8 + [None] * 2} if deciles else {}
            size = {"available": 90, "drawn": 8 * chunk, "effective_size": 7.5 * chunk}
            yield {
                "event": "curriculum",
                "step": 4 * chunk,
                "epoch": chunk // 10,
                "share": 0.8,
                **size,
                **by_difficulty,
            }
        if chunk == 45:
            yield {"event": "stage", "step": 4 * chunk, "stage": "deep", "depth": 2, "parameters": 2000}
        if chunk % 15 == 0:
            yield {"event": "evaluation", "step": 4 * chunk, "split": "validation", "ndcg@10": 0.1 * np.sin(chunk / 40)}


def write_run(folder, rows, *, end="\n", summary=None):
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)) + end)
    if summary is not None:
        (folder / "summary.json").write_text(json.dumps(summary))
    return RunLog.read(RunDirectory(folder), CONFIG)


def test_a_run_is_told_against_what_it_had_spent(tmp_path):
    rows = [
        {"event": "stage", "step": 0, "stage": "a", "depth": 1, "parameters": 1},
        {"event": "train", "step": 5, "loss": 1.0, "operations": 50.0},
        {"event": "train", "step": 10, "loss": 1.0, "operations": 100.0},
        {"event": "speed", "step": 10, "seconds": 5.0, "compile_seconds": 3.0},
        {"event": "stage", "step": 10, "stage": "b", "depth": 2, "parameters": 2},
        {"event": "train", "step": 15, "loss": 1.0, "operations": 300.0},
        {"event": "train", "step": 20, "loss": 1.0, "operations": 500.0},
        {"event": "speed", "step": 20, "seconds": 7.0, "compile_seconds": 1.0},
    ]
    log = write_run(tmp_path / "run", rows)
    assert log.against("step") is log
    assert log.against("seconds").column("train", "step").tolist() == [1, 2, 5, 8]
    assert log.against("seconds").column("stage", "step").tolist() == [0, 2]
    assert log.against("operations").column("train", "step").tolist() == [50, 100, 300, 500]
    assert log.against("operations").last_step == 500
    uncounted = write_run(tmp_path / "uncounted", [{**row, "operations": None} for row in rows])
    with pytest.raises(RunError, match="look at it against step"):
        uncounted.against("operations")


def test_a_log_is_read_by_event_and_column(tmp_path):
    log = write_run(tmp_path / "run", rows_of_a_run())
    assert log.last_step == 360
    assert log.metric == "ndcg@10"
    np.testing.assert_array_equal(log.column("curriculum", "drawn"), 80 * np.arange(1, 10))
    assert log.table("curriculum", "deciles").shape == (9, 10)
    assert np.isnan(log.table("curriculum", "decile_losses")[:, 8:]).all()
    assert log.table("train", "deciles") is None
    assert np.isnan(log.column("evaluation", "hr@10")).all()
    assert log.columns("train", "objective/weight_") == [
        f"objective/weight_{p}" for p in ("05", "25", "50", "75", "95")
    ]
    assert log.describe() == (
        "SASRec, Popularity, Linear pacing, Prefix sampler, order anti, unit target, SuperLoss weighting"
    )


def test_a_row_that_is_being_written_is_passed_over(tmp_path):
    rows = list(rows_of_a_run())
    log = write_run(tmp_path / "run", rows, end='\n{"event": "tra')
    assert sum(map(len, log.events.values())) == len(rows)


def test_what_is_no_log_is_named(tmp_path):
    with pytest.raises(RunError, match="line 2 is no row of a log"):
        write_run(tmp_path / "damaged", [{"event": "train", "step": 1}, ["event"]])
    with pytest.raises(RunError, match="has trained nothing yet"):
        write_run(tmp_path / "begun", [{"event": "stage", "step": 0}])
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=r"no metrics\.jsonl"):
        RunLog.read(RunDirectory(tmp_path / "empty"), CONFIG)


@pytest.fixture
def logs(tmp_path):
    pytest.importorskip("matplotlib", reason="the extra 'figures' is not installed")
    summary = {"best_step": 240, "validation": {"ndcg@10": 0.1}, "test": {"ndcg@10": 0.0765}}
    whole = write_run(tmp_path / "whole", rows_of_a_run(), summary=summary)
    bare = write_run(tmp_path / "bare", rows_of_a_run(told=False, weights=False, n_chunks=20))
    return whole, bare


def words_of(svg):
    return "".join(ET.fromstring(svg).itertext())


def test_a_picture_has_the_panels_that_any_run_has(logs):
    from curriculum_rec.reports.figures import to_svg
    from curriculum_rec.reports.inspection import draw_inspection

    bare = logs[1]
    both, alone = to_svg(draw_inspection(logs)), to_svg(draw_inspection([bare]))
    assert to_svg(draw_inspection(logs)) == both  # the same picture is the same file
    panels = {"difficulty trained", "available share", "loss by difficulty", "weights", "hardness"}
    for word in ("training loss", "validation", "blocks", "step", "bare"):
        assert word in words_of(both)
        assert word in words_of(alone)
    for word in panels:
        assert word in words_of(both)
        assert word not in words_of(alone)
    assert words_of(both).count("none in this run") == 6
    assert "none in this run" not in words_of(alone)


def test_the_heat_map_is_what_was_trained(logs):
    from curriculum_rec.reports.inspection import draw_inspection

    (mesh,) = draw_inspection(logs[:1]).axes[0].collections
    np.testing.assert_allclose(mesh.get_array(), np.repeat([1 / 8, 0], [8, 2])[:, None] * np.ones(9))
    np.testing.assert_array_equal(mesh.get_coordinates()[0, :, 0], 40 * np.arange(10))


def test_too_many_runs_are_refused(logs):
    from curriculum_rec.reports.inspection import draw_inspection

    with pytest.raises(OptionError, match="7 runs: between 1 and 6"):
        draw_inspection(logs[:1] * 7)


def test_a_page_has_the_picture_and_the_results_inside(logs):
    from curriculum_rec.reports.inspection import inspection_page

    page = inspection_page(logs)
    assert page.startswith("<!doctype html>")
    assert page.count("<svg") == 1
    assert "ndcg@10 0.0765" in page
    assert not [word for word in ("<script", "<link", " src=", 'href="http', "url(http") if word in page]
