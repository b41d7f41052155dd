"""The end of a sweep of folds: a table of all of them, or why there is none."""

import pytest
from finished import finished_run
from omegaconf import OmegaConf

from curriculum_rec import config
from curriculum_rec.commands.folding import PooledFolds

EVALUATION = {"metric": "ndcg@10"}


def sweep(folder, folds, word="fold=range(2)"):
    for number, fold in enumerate(folds):
        split = {"_target_": "curriculum_rec.data.splits.UserFolds", "folds": 2, "fold": fold}
        parts = {name: {} for name in config.COMPONENTS} | {"split": split, "evaluation": EVALUATION}
        made = {"seed": 0, "fold": fold, **parts}
        finished_run(folder / str(number), seed=fold, split_hash=f"s{fold}", config=made, first=100 * fold)
    hydra = {"overrides": {"task": ["split=user_folds", word]}, "sweep": {"dir": str(folder)}}
    PooledFolds().on_multirun_end(config=OmegaConf.create({"hydra": hydra}), config_name="train")


def test_it_is_printed_and_left_in_the_folder(tmp_path, capsys):
    sweep(tmp_path, [0, 1])
    printed = capsys.readouterr().out
    assert "all users" in printed and f"curriculum-rec report study={tmp_path}" in printed
    assert (tmp_path / "folds.csv").read_text().startswith("arm,seeds,fold 0,fold 1,all users,sd over folds\nMostPop,")
    assert "| plain | 1 |" in (tmp_path / "folds.md").read_text()


def test_a_fold_that_failed_is_named(tmp_path):
    with pytest.warns(UserWarning, match="nothing to report|holds no study and no finished run"):
        sweep(tmp_path, [])


def test_one_fold_alone_and_other_sweeps_have_no_table(tmp_path, capsys):
    sweep(tmp_path / "a", [1], word="fold=1")
    sweep(tmp_path / "b", [0, 1], word="seed=0,1")
    assert capsys.readouterr().out == ""
    assert not list(tmp_path.glob("*/folds.*"))
