"""What a window changes in an experiment, and what is made of the windows' results."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from runs import compose_data

from curriculum_rec import config
from curriculum_rec.errors import OptionError
from curriculum_rec.training.prequential import (
    Window,
    check_starts_fresh,
    overall,
    update_stages,
    window_nodes,
    window_table,
    windows_between,
)

HOW = {"tested": "all", "validation": 0.1, "update_epochs": None}


def composed(tmp_path, *words):
    data = compose_data(tmp_path, *words)
    return data, config.build_experiment(data, trusted=())


def test_the_first_window_is_the_experiment_until_then(tmp_path):
    data, experiment = composed(tmp_path)
    found = config.build_experiment(
        data | window_nodes(data, Window(1, 5, 9), experiment.stages, previous=None, **HOW), trusted=()
    )
    assert (found.data.begin, found.data.end, found.split.begin, found.split.validation) == (5, 9, 5, 0.1)
    assert found.data.source == experiment.data and found.data.rules == experiment.cleaning and found.cleaning == {}
    assert (found.stages, found.model) == (experiment.stages, experiment.model)


def test_later_windows_go_on_with_the_last_stage(tmp_path):
    words = ["stages.shallow.model={width:16}", "stages.deep.model={dropout:0.3}", "growth=wider"]
    data, experiment = composed(tmp_path, *words)
    nodes = window_nodes(data, Window(2, 9, None), experiment.stages, previous=Path("/runs/window-01"), **HOW)
    found = config.build_experiment(data | nodes, trusted=())
    [(name, stage)] = found.stages.items()
    assert (name, stage.depth, stage.epochs) == ("deep", 2, experiment.stages["deep"].epochs)
    assert (stage.warm_start.run, stage.warm_start.items) == ("/runs/window-01", "by_id")
    assert found.model_of("deep")[0] == experiment.model_of("deep")[0]
    shorter = update_stages(data["stages"], experiment.stages, Path("x"), 0.5)
    assert (shorter["deep"]["epochs"], shorter["deep"]["steps"]) == (0.5, None)


def test_a_plan_goes_on_with_its_last_stage(tmp_path):
    data, experiment = composed(tmp_path)
    plan = {"_target_": "curriculum_rec.training.stage_plans.ProportionalStages", "depths": [1, 2], "epochs": 4.0}
    data["stages"] = plan
    experiment = config.build_experiment(data, trusted=())
    nodes = window_nodes(data, Window(2, 9, None), experiment.stages, previous=Path("x"), **HOW)
    [(name, stage)] = config.build_experiment(data | nodes, trusted=()).stages.items()
    assert (name, stage.depth, stage.epochs) == ("depth_2", 2, experiment.stages["depth_2"].epochs)


def test_where_data_lie_is_no_part_of_a_windows_identity(tmp_path):
    data, experiment = composed(tmp_path)
    hashes = set()
    for folder in ("/a", "/b"):
        moved = data | {"data": data["data"] | {"path": f"{folder}/x.txt"}}
        nodes = window_nodes(moved, Window(1, 5, 9), experiment.stages, previous=None, **HOW)
        hashes.add(config.config_hash(moved | nodes))
    assert len(hashes) == 1
    relative = config.absolute_paths(data | {"data": {"source": {"path": "x.txt"}}})
    assert Path(relative["data"]["source"]["path"]).is_absolute()


def test_weights_from_elsewhere_are_refused(tmp_path):
    _, experiment = composed(tmp_path, "stages.shallow.warm_start=runs/x")
    with pytest.raises(OptionError, match=r"stages\.shallow\.warm_start: a prequential evaluation begins with random"):
        check_starts_fresh(experiment.stages)


def results():
    frame = pl.DataFrame(
        {
            "window": [1, 1, 1, 2],
            "user": ["a", "a", "b", "b"],
            "new_item": [False, True, False, False],
            "hr@5": [1.0, 0.0, 1.0, 0.0],
            "mostpop hr@5": [0.0, 0.0, 1.0, 1.0],
        }
    )
    return frame.with_columns(pl.col("window").cast(pl.Int32))


def test_the_table_by_hand():
    table = window_table(results(), windows_between([5, 9.5]), ["hr@5"])
    assert table.rows() == [
        (1, 5, 9.5, 3, 2, pytest.approx(1 / 3), pytest.approx(2 / 3), pytest.approx(1 / 3)),
        (2, 9.5, None, 1, 1, 0, 0, 1),
    ]
    assert table.columns == ["window", "begin", "end", "tested", "users", "new_items", "hr@5", "mostpop hr@5"]


def test_the_mean_counts_interactions_and_resamples_users():
    found = overall(results(), ["hr@5"])["hr@5"]
    assert (found["model"]["value"], found["mostpop"]["value"], found["difference"]["value"]) == (0.5, 0.5, 0.0)
    assert found["model"]["interval"] == (0.5, 0.5)  # either user's mean is a half
    assert found["difference"]["interval"] == (-0.5, 0.5)
    rng = np.random.default_rng(0)
    user = rng.integers(0, 50, 400)
    many = pl.DataFrame({"user": user.astype(str), "hr@5": rng.random(400), "mostpop hr@5": np.zeros(400)})
    interval = overall(many, ["hr@5"])["hr@5"]["difference"]["interval"]
    assert interval[0] < many["hr@5"].mean() < interval[1]
