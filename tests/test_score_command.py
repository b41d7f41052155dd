"""``curriculum-rec score``: from a run or an experiment to a file of scores, and from there back into a training."""

import re

import numpy as np
import polars as pl
import pytest
from runs import OVERRIDES, make_runner, run_in, write_sequences

from curriculum_rec import config
from curriculum_rec.cli import main
from curriculum_rec.training.run_directory import RunDirectory

SHORT = ["model=dnn", "stages.shallow.epochs=1", "stages.deep.epochs=1", "stages.deep.depth=1"]
SHORT += ["examples.bucket_lengths=[]", "data.path=sequences.txt"]
TAUGHT = ["curriculum=forgetting", "curriculum.difficulty.epochs=2", "curriculum.unit=target"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("score")
    run_in(folder, "train", *OVERRIDES, *SHORT, *TAUGHT, "run_dir=run", "score_cache=cache")
    return folder


@pytest.fixture(autouse=True)
def _inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


def test_a_run_is_scored_by_its_own_difficulty_from_what_its_teachers_said(folder, capsys, monkeypatch):
    monkeypatch.setattr("curriculum_rec.training.engine.Engine.train", None)  # nothing may be trained
    for number, words in enumerate((["score_cache=null"], ["score_cache=cache"])):
        assert main(["score", "run=run", f"output=own{number}.csv", *words]) == 0
    assert capsys.readouterr().out.count("scores of targets by Forgetting: own") == 2
    frame = pl.read_csv(folder / "own0.csv")
    assert frame.columns == ["user", "item", "position", "score", "quantile"]
    assert frame.equals(pl.read_csv(folder / "own1.csv"))
    examples = config.experiment_of_run(RunDirectory(folder / "run"), trusted=())[0].read().examples
    assert len(frame) == len(examples.targets)
    assert (np.sort(frame["quantile"]) == (np.arange(len(frame)) + 0.5) / len(frame)).all()
    assert set(frame["score"]) <= {0, 1, np.inf}


def test_another_difficulty_and_a_file_as_a_curriculum(folder, capsys):
    assert main(["score", "run=run", "curriculum=popularity", "output=popularity.parquet"]) == 0
    frame = pl.read_parquet(folder / "popularity.parquet")
    assert frame.columns == ["user", "score", "quantile"]
    words = [*SHORT[:-1], "curriculum=file"]
    runner = make_runner(folder, "by_file", *words, f"curriculum.difficulty.path={folder / 'popularity.parquet'}")
    runner.check()
    by_popularity = make_runner(folder, "by_popularity", *words[:-1], "curriculum=popularity")
    quantiles = [r.engine.scheduler.begin().quantile for r in (runner, by_popularity)]
    np.testing.assert_array_equal(*quantiles)
    capsys.readouterr()


def test_a_training_by_what_is_not_there_leaves_nothing_behind(folder, capsys):
    for words, sentence in (
        (["curriculum=file", "curriculum.difficulty.path=no.csv"], f"path={folder}/no.csv does not exist"),
        (["curriculum=transfer_teacher", "curriculum.difficulty.run=nowhere"], f"{folder}/nowhere holds no run"),
    ):
        assert main(["train", *OVERRIDES, *SHORT, *words, "run_dir=none"]) == 2
        assert sentence in capsys.readouterr().err
    assert not (folder / "none").exists()


def test_a_finished_run_is_the_teacher_on_the_same_data_only(folder, capsys, monkeypatch):
    monkeypatch.setattr("curriculum_rec.training.engine.Engine.train", None)  # nothing may be trained
    teacher = ["curriculum=transfer_teacher", "curriculum.difficulty.run=run", "score_cache=null"]
    wider = ["score", *OVERRIDES, *SHORT, "model.width=16"]
    assert main([*wider, *teacher, "curriculum.unit=target", "output=taught.parquet"]) == 0
    assert pl.read_parquet(folder / "taught.parquet")["score"].n_unique() > 100
    write_sequences(folder / "others.txt", seed=1)
    longer = ["examples.max_length=14", "examples.positions_per_batch=112"]
    for words, sentence in (
        (["data.path=others.txt"], "on other data or another split"),
        (longer, "max_length=12 is below"),
    ):
        assert main([*wider, *teacher, *words, "output=none.csv"]) == 2
        assert sentence in capsys.readouterr().err
    assert not (folder / "none.csv").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["curriculum=none", *OVERRIDES, "data.path=sequences.txt"], "no difficulty to score by"),
        (["run=run", "model.width=4"], "model.width=4: with run=.* its own configuration counts"),
        (["run=nowhere"], "nowhere holds no run"),
        (["run=run", "output=scores.txt"], "ending must be one of"),
        (["run=run", "curriculum=loss"], "needs the running losses"),
        (["run=run", "curriculum=file"], "curriculum.difficulty.path is not set"),
        (["run=run", "curriculum=file", "curriculum.difficulty.path=no.csv"], "no.csv does not exist"),
        (["run=run", "curriculum=transfer_teacher", "curriculum.difficulty.run=nowhere"], "nowhere holds no run"),
    ],
)
def test_mistakes_are_one_sentence(folder, capsys, words, sentence):
    before = {path.name for path in folder.iterdir()}
    assert main(["score", *words]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert re.search(sentence, error), error
    assert {path.name for path in folder.iterdir()} == before
