"""The command tune end to end: trials are ordinary runs, the best one is an experiment, mistakes are sentences."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import polars as pl
import pytest
import yaml
from hydra import compose, initialize_config_module
from runs import CHEAP, lasting_rows, write_sequences

pytest.importorskip("optuna", reason="the extra 'tune' is not installed")
pytest.importorskip("matplotlib", reason="the extra 'figures' is not installed")

from curriculum_rec import config, help_texts
from curriculum_rec.cli import main
from curriculum_rec.errors import OptionError
from curriculum_rec.training.interrupt import InterruptGuard
from curriculum_rec.training.run_directory import RunDirectory
from curriculum_rec.training.runner import Runner
from curriculum_rec.tuning.search import read_search

BASE = [
    *CHEAP,
    "data.path=sequences.txt",
    "model.depth=1",
    "stages.train.epochs=2",
    "evaluation.every_epochs=1",
    "placement=jit",
]
SPACE = {
    "curriculum": {"choice": ["length", "popularity"]},
    "curriculum/pacing": {"choice": ["linear", "root"], "when": {"curriculum": "length"}},
    "curriculum.pacing.start": {"float": [0.2, 0.6]},
}
"""Nothing in it changes the program, so that it is compiled once."""
QUIET = ["progress=none", "compilation_cache=null"]


def write_space(folder, **changes):
    content = {"base": BASE, "space": SPACE, "sampler": "random", "pruner": "none", "n_trials": 2, **changes}
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished study of two trials."""
    folder = tmp_path_factory.mktemp("tune")
    write_sequences(folder / "sequences.txt")
    write_space(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(warnings, "showwarning", warnings.showwarning)
        assert main(["tune", "space=small.yaml", "study_dir=study", *QUIET]) == 0
    return folder


@pytest.fixture(autouse=True)
def _inside(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)


def trials_of(study):
    return pl.read_csv(f"{study}/trials.csv")


def test_trials_are_ordinary_runs_and_the_table_says_what_they_came_to(folder):
    table = trials_of("study")
    assert table["trial"].to_list() == [0, 1]
    assert table["state"].to_list() == ["done", "done"]
    for row in table.iter_rows(named=True):
        run = RunDirectory.existing(f"study/trials/{row['trial']:04}")
        summary, data = run.read_summary(), config.config_of_run(run)
        assert row["ndcg@10"] == summary["validation"]["ndcg@10"]
        assert row["reported"] == 2
        assert data["curriculum"]["pacing"]["start"] == row["curriculum.pacing.start"]
        difficulty = data["curriculum"]["difficulty"]["_target_"].rpartition(".")[2].lower()
        assert difficulty == row["curriculum"]
    assert main(["inspect", "run=[study/trials/0000,study/trials/0001]", "output=both.svg"]) == 0


def test_the_best_trial_is_an_experiment_of_the_same_configuration(folder):
    best = trials_of("study").sort("ndcg@10", descending=True)["trial"][0]
    text = (folder / "study" / "experiment" / "best.yaml").read_text()
    assert text.startswith("# @package _global_\n# The best trial of a search.\n")
    assert "curriculum-rec train --config-dir=study experiment=best" in text
    config.register()
    with initialize_config_module("curriculum_rec.conf", version_base="1.3"):
        place = f"hydra.searchpath=['file://{folder / 'study'}']"
        data = config.absolute_paths(config.to_data(compose("train", [place, "experiment=best"])))
    of_trial = RunDirectory.existing(f"study/trials/{best:04}").read_summary()["config_hash"]
    assert config.config_hash(data) == of_trial


def test_page_and_text_show_validation_of_all_and_test_of_the_best_alone(folder):
    table = trials_of("study").sort("ndcg@10", descending=True)
    runs = [RunDirectory.existing(f"study/trials/{trial:04}").read_summary() for trial in table["trial"]]
    text, page = (folder / "study" / "tuning.md").read_text(), (folder / "study" / "tuning.html").read_text()
    for content in (text, page):
        assert f"{runs[0]['test']['ndcg@10']:.4f}" in content
        assert all(f"{value:.4g}" in content for value in table["ndcg@10"])
    assert text.count("test metric") == page.count("test metric") == 1
    assert page.count("<svg") == 3  # importances need four trials


def test_the_same_command_has_nothing_to_do_and_a_longer_one_goes_on(folder, capsys):
    before = [path.stat().st_mtime_ns for path in sorted(Path("study/trials").rglob("summary.json"))]
    assert main(["tune", "space=small.yaml", "study_dir=study", *QUIET]) == 0
    assert "2 trials (2 done) by the random sampler, none pruner, seed 0" in capsys.readouterr().out
    shutil.copytree("study", "longer")
    assert main(["tune", "space=small.yaml", "study_dir=longer", "n_trials=3", "compilation_cache=null"]) == 0
    assert [path.stat().st_mtime_ns for path in sorted(Path("study/trials").rglob("summary.json"))] == before
    output = capsys.readouterr()
    assert "3 trials (3 done)" in output.out
    assert "trial 2 done: ndcg@10" in output.err
    assert "trial 1 done" not in output.err
    assert trials_of("longer").head(2).equals(trials_of("study"))


@pytest.mark.slow
def test_an_interrupted_search_says_how_to_go_on_and_its_trial_is_the_same_run(folder, capsys, monkeypatch):
    evaluate, guards, enter = Runner._evaluate, [], InterruptGuard.__enter__

    def remember(self):
        guards.append(self)
        return enter(self)

    def stop(self, state, position):
        guards[-1].requested = True
        return evaluate(self, state, position)

    words = ["tune", "space=small.yaml", "study_dir=stopped", *QUIET]
    with monkeypatch.context() as patch:
        patch.setattr(InterruptGuard, "__enter__", remember)
        patch.setattr(Runner, "_evaluate", stop)
        assert main(words) == 130
    assert "go on with: curriculum-rec tune space=small.yaml study_dir=stopped" in capsys.readouterr().err
    assert trials_of("stopped")["state"].to_list() == ["running"]
    assert main(words) == 0
    assert trials_of("stopped").drop("seconds").equals(trials_of("study").drop("seconds"))
    for number in ("0000", "0001"):
        ours, whole = (Path(study) / "trials" / number / "metrics.jsonl" for study in ("stopped", "study"))
        assert lasting_rows(ours) == lasting_rows(whole)


def test_broken_trials_are_recorded_with_their_sentence(folder, capsys, monkeypatch):
    write_space(folder, max_failures=2)
    words = ["tune", "space=small.yaml", "study_dir=broken", *QUIET]
    with monkeypatch.context() as patch:

        def fail(self):
            raise OptionError("it does not fit")

        patch.setattr(Runner, "check", fail)
        assert main(words) == 2
    sentence = "2 trials failed one after the other, the last one, 1, because: it does not fit"
    assert capsys.readouterr().err == f"curriculum-rec: {sentence}\n"
    assert trials_of("broken")["reason"].to_list() == ["it does not fit"] * 2
    assert "No trial is finished" in Path("broken/tuning.md").read_text()
    write_space(folder)


@pytest.mark.parametrize(
    ("content", "words", "sentence"),
    [
        ({}, ["space=nowhere.yaml"], "space=nowhere.yaml does not exist"),
        ({}, ["space=nowhere"], "there is no experiments/tuning/nowhere.yaml; there are: beauty, ml100k"),
        ({}, [], "space is not set: give it as space=VALUE"),
        ({}, ["-m", "space=small.yaml", "seed=0,1"], "leave -m out"),
        ({}, ["space=small.yaml", "jobs=0"], "jobs=0: it must be at least 1"),
        ({}, ["space=small.yaml", "n_trials=0"], "n_trials=0: it must be at least 1"),
        ({}, ["space=small.yaml", "study_dir=study/trials"], "study_dir=study/trials holds other files"),
        ({}, ["space=small.yaml", "study_dir=study", "seed=4"], "study holds a study with another seed"),
        ({}, ["space=small.yaml", "study_dir=x", "overrides=['data.path=no.txt']"], "no.txt does not exist"),
        ({}, ["space=small.yaml", "study_dir=x", "--", "data.path=other.txt"], "other.txt does not exist"),
        ({}, ["space=small.yaml", "study_dir=x", "overrides=['run_dir=y']"], "run_dir=y: the search decides that"),
        ({"base": ["modl=dnn"]}, ["space=small.yaml", "study_dir=x"], "option 'modl' does not exist"),
        ({"space": {"model.widht": {"int": [4, 8]}}}, ["space=small.yaml", "study_dir=x"], "is 'width' meant"),
        (
            {"space": {"curriculum": {"choice": ["length", "lengthy"]}}},
            ["space=small.yaml", "study_dir=x"],
            "the space has a point that cannot be trained, curriculum=lengthy: there is no curriculum 'lengthy'",
        ),
        ({"space": {"a": {"float": [2, 1]}}}, ["space=small.yaml", "study_dir=x"], "space.a: the first end must be"),
    ],
)
def test_mistakes_are_sentences_before_anything_is_written(folder, capsys, content, words, sentence):
    write_space(folder, **content)
    assert main(["tune", *words]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("curriculum-rec: ")
    assert sentence in output.err
    assert len(output.err.splitlines()) == 1
    assert not Path("x").exists()
    write_space(folder)


def test_help_names_every_option():
    config.register()
    with initialize_config_module("curriculum_rec.conf", version_base="1.3"):
        data = config.to_data(compose("tune", ["space=x"]))
    assert "hydra" not in data
    for name in data:
        assert f"  {name}=" in help_texts.COMMANDS["tune"]


def test_without_optuna_the_extra_is_named(capsys, monkeypatch):
    monkeypatch.setattr("curriculum_rec.tuning.optuna_study.find_spec", lambda name: None)
    assert main(["tune", "space=small.yaml", "study_dir=x"]) == 2
    assert "pip install 'curriculum-rec[tune]'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["ml100k", "beauty"])
def test_every_point_of_the_shipped_spaces_composes(name):
    experiments = Path(__file__).parents[2] / "experiments"
    search = read_search(experiments / "tuning" / f"{name}.yaml")
    config.register()
    from curriculum_rec.tuning.worker import trial_words

    hashes = set()
    points = search.space.cover()
    for point in points:
        place = f"hydra.searchpath=['file://{experiments}']"
        with initialize_config_module("curriculum_rec.conf", version_base="1.3"):
            words = [place, *trial_words(search, point), "data.path=x"]
            data = config.to_data(compose("train", words))
        config.build_experiment(data, trusted=())
        hashes.add(config.config_hash(data))
    assert len(hashes) == len(points)


def start(study, log, *words):
    command = [sys.executable, "-m", "curriculum_rec", "tune", "space=small.yaml", f"study_dir={study}", *words]
    return subprocess.Popen([*command, "progress=none"], stdout=log, stderr=log)


@pytest.mark.slow
def test_two_processes_go_on_after_kill_9(folder):
    n_trials, base = 5, [*(word for word in BASE if "epochs" not in word), "evaluation.every_epochs=1"]
    write_space(folder, base=[*base, "stages.train.epochs=12"], n_trials=n_trials)
    with (folder / "whole.log").open("wb") as log:
        assert start("undisturbed", log).wait(900) == 0
    with (folder / "killed.log").open("wb") as log:
        first = start("killed", log)
        trial = folder / "killed" / "trials" / "0001" / "metrics.jsonl"
        deadline = time.monotonic() + 900
        while not trial.exists() or trial.read_text().count('"evaluation"') < 3:
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        evaluated = trial.read_text().count('"evaluation"')
        checkpoints = sorted(path.name for path in (trial.parent / "checkpoints").iterdir())
        assert evaluated < 12 and checkpoints
        others = [start("killed", log) for _ in range(2)]
        assert [process.wait(900) for process in others] == [0, 0], (folder / "killed.log").read_text()
    rows = trials_of("killed")
    assert rows["state"].to_list() == ["done"] * n_trials
    assert rows.drop("seconds").equals(trials_of("undisturbed").drop("seconds"))
    for number in range(n_trials):
        ours, whole = (folder / study / "trials" / f"{number:04}" for study in ("killed", "undisturbed"))
        assert lasting_rows(ours / "metrics.jsonl") == lasting_rows(whole / "metrics.jsonl")
        ours, whole = (json.loads((run / "summary.json").read_text()) for run in (ours, whole))
        assert ours["test"] == whole["test"]
        assert ours["config_hash"] == whole["config_hash"]
    write_space(folder)


@pytest.mark.slow
def test_jobs_share_the_work_of_one_command(folder, capsys):
    assert main(["tune", "space=small.yaml", "study_dir=jobs", "n_trials=4", "jobs=2", *QUIET]) == 0
    assert trials_of("jobs")["state"].to_list() == ["done"] * 4
    assert trials_of("jobs").head(2).drop("seconds").equals(trials_of("study").drop("seconds"))
    assert (folder / "jobs" / "process-1.log").exists()
    capsys.readouterr()


def is_alive(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_helpers_do_not_outlive_a_command_that_is_killed(folder):
    with (folder / "jobs.log").open("wb") as log:
        command = start("orphans", log, "n_trials=50", "jobs=2")
        children, deadline = Path(f"/proc/{command.pid}/task/{command.pid}/children"), time.monotonic() + 300
        while not any(run.exists() for run in (folder / "orphans" / "trials").glob("*/metrics.jsonl")):
            assert command.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        helpers = [int(word) for word in children.read_text().split()]
        assert len(helpers) == 1 and is_alive(helpers[0])
        os.kill(command.pid, signal.SIGKILL)
        command.wait()
    while is_alive(helpers[0]):
        assert time.monotonic() < deadline, (folder / "orphans" / "process-1.log").read_text()
        time.sleep(0.2)
