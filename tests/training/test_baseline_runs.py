"""Baselines through the same door: run directory, evaluation, recommendations, comparison, resume."""

import json
import warnings

import numpy as np
import polars as pl
import pytest
from runs import make_runner, write_sequences

from curriculum_rec.cli import main
from curriculum_rec.training.progress import RunProgress
from curriculum_rec.training.restore import load_snapshot
from curriculum_rec.training.run_directory import RunDirectory

DATA = ["data=sequences", "examples.max_length=12", "examples.bucket_lengths=[]", "evaluation.k=[10]", "progress=none"]


@pytest.fixture(scope="module", autouse=True)
def own_warnings():
    """Put back what the program does about warnings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warnings, "showwarning", warnings.showwarning)
        yield


@pytest.fixture(scope="module")
def sequences(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "sequences.txt"
    write_sequences(path)
    return path


def train(sequences, folder, *words):
    return main(["train", *DATA, f"data.path={sequences}", f"run_dir={folder}", *words])


@pytest.fixture(scope="module")
def runs(sequences, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name in ("mostpop", "itemknn", "ease"):
        assert train(sequences, folder / name, f"model={name}") == 0
    return folder


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def test_mostpop_is_the_reference_row(runs):
    found = summary(runs / "mostpop")
    assert {name: found["reference"][name] for name in found["test"]} == pytest.approx(found["test"], abs=1e-12)
    assert found["steps"] == 0
    for name in ("itemknn", "ease"):  # successors are predictable, so neighbours know more than popularity
        assert summary(runs / name)["test"]["hr@10"] > found["test"]["hr@10"]


def test_evaluation_repeats_what_the_run_said(runs, capsys):
    for name in ("itemknn", "ease"):
        output = runs / f"{name}.parquet"
        assert main(["evaluate", f"run={runs / name}", f"output={output}"]) == 0
        saved = pl.read_parquet(RunDirectory(runs / name).evaluation / "test.parquet")
        assert pl.read_parquet(output).equals(saved)
        assert main(["evaluate", f"run={runs / name}", "split=validation"]) == 0
    assert main(["evaluate", f"run={runs / 'mostpop'}", "split=validation"]) != 0
    assert "was fitted to the validation items, too" in capsys.readouterr().err


def test_recommendations_are_the_highest_scores_that_the_user_has_not_seen(runs, capsys):
    output = runs / "top.csv"
    assert main(["recommend", f"run={runs / 'ease'}", "k=3", "users=[u1,u2]", f"output={output}"]) == 0
    top = pl.read_csv(output)
    assert top["user"].to_list() == ["u1"] * 3 + ["u2"] * 3
    assert (np.diff(top["score"].to_numpy().reshape(2, 3), axis=1) <= 0).all()


def test_runs_are_compared_listed_shown_and_resumed(runs, capsys):
    assert main(["compare", f"runs=[{runs / 'ease'},{runs / 'mostpop'}]"]) == 0
    assert main(["show", f"run={runs / 'ease'}"]) == 0
    assert main(["resume", f"run={runs / 'ease'}"]) == 0
    assert "is finished" in capsys.readouterr().out
    before = summary(runs / "ease")
    (runs / "ease" / "summary.json").unlink()  # as if it had been cut short
    assert main(["resume", f"run={runs / 'ease'}"]) == 0
    assert summary(runs / "ease")["test"] == before["test"]


def test_a_report_and_a_list_take_them(runs, capsys):
    folders = ",".join(str(runs / name) for name in ("mostpop", "ease", "itemknn"))
    assert main(["report", f"runs=[{folders}]", f"output={runs / 'report'}"]) == 0
    assert "ease" in (runs / "report" / "report.md").read_text()
    assert main(["list", f"folders=[{runs}]", "output=json"]) == 0
    assert "itemknn" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["curriculum=ordered"], "curriculum has no effect on EASE, which is fitted at once"),
        (["weighting=focal"], "weighting has no effect on EASE"),
        (["profile=true"], "profile=true has no effect"),
    ],
)
def test_what_only_training_follows_is_refused(sequences, tmp_path, capsys, words, message):
    assert train(sequences, tmp_path / "run", "model=ease", *words) != 0
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_commands_that_look_at_weights_refuse(runs, capsys):
    assert main(["compress", f"run={runs / 'ease'}"]) != 0
    assert "compress is for trained models, and EASE is fitted at once" in capsys.readouterr().err


def test_matrix_factorisation_trains_by_touched_rows_and_knows_its_users(sequences, tmp_path):
    words = ["model=bprmf", "model.width=8", "objective=bpr", "optimizer=lazy_adam", "stages.train.epochs=2"]
    assert train(sequences, tmp_path / "run", *words) == 0
    assert summary(tmp_path / "run")["parameters"] == (61 + 128) * 8
    saved = pl.read_parquet(RunDirectory(tmp_path / "run").evaluation / "test.parquet")
    assert main(["evaluate", f"run={tmp_path / 'run'}", f"output={tmp_path / 'again.parquet'}"]) == 0
    assert pl.read_parquet(tmp_path / "again.parquet").equals(saved)
    assert main(["recommend", f"run={tmp_path / 'run'}", "k=2", "users=[u1]", f"output={tmp_path / 'top.csv'}"]) == 0


class Killed(BaseException):
    """Stands for a process that dies between two chunks."""


def test_lazy_adam_grows_and_resumes_exactly(tmp_path, monkeypatch):
    words = ["model=gru4rec", "model.hidden=8", "objective=bpr", "optimizer=lazy_adam"]
    words += ["stages.shallow.epochs=null", "stages.shallow.steps=8", "stages.deep.epochs=null", "stages.deep.steps=8"]
    words += ["checkpoint_every_steps=3"]
    write_sequences(tmp_path / "sequences.txt")
    make_runner(tmp_path, "whole", *words).run()
    seen = []

    def chunk(self, *args, **kwargs):
        seen.append(args)
        if len(seen) == 5:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(RunProgress, "chunk", chunk)
        with pytest.raises(Killed):
            make_runner(tmp_path, "cut", *words).run()
    make_runner(tmp_path, "cut", *words).run()
    whole, cut = (load_snapshot(RunDirectory(tmp_path / name), "newest").arrays for name in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    for name, array in whole.items():
        np.testing.assert_array_equal(array, cut[name], err_msg=name)
    assert whole["params.blocks.out.kernel"].shape[0] == 2
