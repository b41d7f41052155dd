from pathlib import Path

import pytest
from finished import finished_run

from curriculum_rec.errors import RunError
from curriculum_rec.flat_options import flat
from curriculum_rec.studies.grid import Place
from curriculum_rec.studies.unplanned import differing, results_of_runs, runs_below
from curriculum_rec.training.run_directory import RunDirectory


def config(*, seed=0, width=64, order=None, path="a.txt"):
    curriculum = {"order": "standard"} if order is None else {"_target_": "x.Ordered", "order": order}
    evaluation = {"metric": "ndcg@10"}
    return {
        "seed": seed,
        "data": {"path": path},
        "model": {"width": width},
        "curriculum": curriculum,
        "evaluation": evaluation,
        "run_dir": f"run-{seed}-{width}",
    }


def make(root: Path, configs):
    return [
        RunDirectory(finished_run(root / str(number), seed=c["seed"], split_hash=c["data"]["path"]))
        for number, c in enumerate(configs)
    ]


def test_runs_that_differ_by_their_seed_are_one_arm(tmp_path):
    configs = [config(seed=s, width=w) for w in (64, 8) for s in (0, 1)]
    results = results_of_runs(make(tmp_path, configs), configs)
    assert {arm: list(seeds) for arm, seeds in results.cells[Place("data", "all")].items()} == {
        "model.width=64": [0, 1],
        "model.width=8": [0, 1],
    }
    assert results.options.baseline == "model.width=64"
    assert results.options.metric == "ndcg@10"


def test_runs_on_other_data_are_another_place(tmp_path):
    configs = [config(path="a.txt"), config(path="b.txt")]
    results = results_of_runs(make(tmp_path, configs), configs)
    assert list(results.cells) == [Place("data.path=a.txt", "all"), Place("data.path=b.txt", "all")]


def test_two_runs_of_one_arm_and_seed_are_refused(tmp_path):
    configs = [config(), config()]
    with pytest.raises(RunError, match="are the same arm and seed"):
        results_of_runs(make(tmp_path, configs), configs)


def test_the_outermost_choice_stands_for_what_follows_from_it():
    configs = [flat(config(order=order)) for order in ("anti", None)]
    assert differing(configs) == ["curriculum._target_"]
    assert differing([flat(config(order=order)) for order in ("anti", "random")]) == ["curriculum.order"]


def test_a_sweep_is_read_in_the_order_of_its_runs(tmp_path):
    for number in (10, 9, 1):
        finished_run(tmp_path / str(number))
    assert [run.path.name for run in runs_below(tmp_path)] == ["1", "9", "10"]
    with pytest.raises(RunError, match="holds no study and no finished run"):
        runs_below(tmp_path / "1" / "evaluation")
