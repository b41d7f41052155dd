from pathlib import Path

import numpy as np
import pytest
from finished import N_USERS, finished_run

from curriculum_rec.errors import RunError
from curriculum_rec.studies.grid import Place
from curriculum_rec.studies.planned import results_of_study
from curriculum_rec.studies.results import row_values, user_differences
from curriculum_rec.studies.study import study_of


def study(**changes):
    arms = {"plain": [], "loss": {"options": ["curriculum=loss"], "controls": ["random"]}}
    return study_of({"question": "Does it?", "arms": arms, "data": {"d": []}, **changes}, "study")


@pytest.fixture
def root(tmp_path) -> Path:
    for arm, quality in (("plain", 0.2), ("loss", 0.3)):
        for seed in range(3):
            finished_run(tmp_path / "d" / "all" / arm / f"seed-{seed}", seed=seed, quality=quality)
    (tmp_path / "d" / "all" / "loss-random" / "seed-0").mkdir(parents=True)  # begun, not finished
    return tmp_path


def test_finished_runs_are_read_and_others_left_out(root):
    results = results_of_study(root, study())
    cell = results.cells[Place("d", "all")]
    assert {arm: list(seeds) for arm, seeds in cell.items()} == {"plain": [0, 1, 2], "loss": [0, 1, 2]}
    assert results.n_finished == 6
    assert results.options.controls == {"loss": "loss-random"}


def test_differences_are_of_the_same_users_and_seeds(root):
    cell = results_of_study(root, study()).cells[Place("d", "all")]
    differences = user_differences(cell["loss"], cell["plain"], "ndcg@10")
    assert differences.shape == (3, N_USERS)
    expected = cell["loss"][1].users["ndcg@10"].to_numpy() - cell["plain"][1].users["ndcg@10"].to_numpy()
    np.testing.assert_array_equal(differences[1], expected)
    assert abs(differences.mean() - 0.1) < 0.02


def test_runs_on_other_data_are_not_pooled(root):
    finished_run(root / "d" / "all" / "loss-random" / "seed-1", seed=1, split_hash="other")
    with pytest.raises(RunError, match="had different data"):
        results_of_study(root, study())


def test_runs_with_other_targets_are_not_compared(root):
    cell = results_of_study(root, study()).cells[Place("d", "all")]
    run = cell["loss"][0]
    run.users[0, "item"] = "another"
    with pytest.raises(RunError, match="have other test targets"):
        row_values([cell["plain"][0], run], "ndcg@10")


def test_an_unknown_metric_is_named(root):
    cell = results_of_study(root, study()).cells[Place("d", "all")]
    with pytest.raises(RunError, match="has no auc; it has: hr@10, ndcg@10"):
        cell["plain"][0].test("auc")


def test_a_study_without_a_finished_run_has_no_report(tmp_path):
    with pytest.raises(RunError, match="nothing to report"):
        results_of_study(tmp_path, study())
