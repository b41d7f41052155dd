"""The commands study and report end to end, on runs of seconds."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from runs import CHEAP, run_in, write_sequences

from curriculum_rec.cli import main
from curriculum_rec.config import build_experiment, config_hash, config_of_run, register, to_data
from curriculum_rec.studies.study import read_study
from curriculum_rec.training.run_directory import RunDirectory

STUDY = {
    "question": "Does an order by length help on noise?",
    "options": [*CHEAP, "stages.train.epochs=2", "evaluation.every_epochs=1"],
    "seeds": [0, 1],
    "data": {"tiny": {"path": "sequences.txt"}},
    "arms": {"plain": [], "length": {"options": ["curriculum=length"], "controls": ["random"]}},
}
STUDIES = sorted((Path(__file__).parents[2] / "experiments" / "studies").glob("*.yaml"))


def write_study(folder: Path, **changes) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**STUDY, **changes}, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished study."""
    place = tmp_path_factory.mktemp("study")
    path = write_study(place)
    run_in(place, "study", f"study={path}", "study_dir=out", "folder=.", "jobs=2", "progress=plain", "report=false")
    return place


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


def call(*words):
    where = [] if any(word.startswith("study_dir=") for word in words) else ["study_dir=out"]
    return main(["study", "study=tiny.yaml", *where, "folder=.", "progress=plain", *words])


def test_every_run_is_an_ordinary_run_and_the_ledger_says_so(folder):
    entries = json.loads((folder / "out" / "ledger.json").read_text())["runs"]
    assert len(entries) == 6
    for entry in entries:
        directory = RunDirectory.existing(str(folder / "out" / entry["name"]))
        assert (entry["state"], entry["attempts"]) == ("finished", 1)
        assert directory.read_summary()["config_hash"] == entry["config_hash"] == config_hash(config_of_run(directory))
        assert "run directory" in directory.path.with_name(f"{directory.path.name}.log").read_text()


def test_the_same_command_trains_nothing_again(folder, capsys):
    before = {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("summary.json")}
    assert call("report=false") == 0
    assert "6 of 6 runs finished: out" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("summary.json")} == before


def test_another_configuration_is_refused_before_anything_is_trained(capsys):
    assert call("--", "model.width=4") == 2
    assert "holds a finished run of another configuration" in capsys.readouterr().err


def test_runs_that_fail_are_told_of_and_counted(folder, capsys):
    write_study(folder, arms={"bad": ["model.width=0"], "worse": ["model.width=-1"]}, baseline="bad")
    try:
        assert call("study_dir=bad", "seeds=[0]", "report=false") == 2
    finally:
        write_study(folder)
    captured = capsys.readouterr()
    assert "2 of 2 runs failed, the first of them tiny/all/bad/seed-0: model.width=0" in captured.err
    assert "0 of 2 runs finished" in captured.out


def test_the_report_answers_the_question_and_goes_into_a_file(folder, capsys):
    Path("notes.md").write_text("# Notes\n<!-- report begin -->\n<!-- report end -->\n")
    assert main(["report", "study=out", "into=notes.md"]) == 0
    assert "report: out/report" in capsys.readouterr().out
    for path in ("notes.md", "out/report/report.md"):
        assert STUDY["question"] in Path(path).read_text()
        assert "| length | length-random | 2 |" in Path(path).read_text()
        assert "### Who gains" in Path(path).read_text()
    assert Path("out/report/tables/tiny-all-quality.tex").read_text().startswith("\\begin{table}")


def test_any_runs_can_be_reported(folder, capsys):
    runs = [f"out/tiny/all/{arm}/seed-{seed}" for arm in ("plain", "length") for seed in (0, 1)]
    assert main(["report", f"runs=[{','.join(runs)}]", "output=other"]) == 0
    assert "curriculum.order=curriculum" in (folder / "other" / "report.md").read_text()


def test_a_sweep_is_a_study_too(folder, capsys):
    assert main(["report", "study=out/tiny/all/plain", "output=sweep"]) == 0
    assert "There is nothing to compare" in (folder / "sweep" / "report.md").read_text()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["study", "study=nothing"], "there is no study 'nothing'; there are: "),
        (["study", "study=nothing.yaml"], "cannot be read"),
        (["study", "study=tiny.yaml"], "name the folder that holds it, folder=DIR"),
        (["study", "study=tiny.yaml", "folder=.", "on_failure=no"], "on_failure=no: it must be one of continue, stop"),
        (["study", "study=tiny.yaml", "folder=.", "jobs=0"], "jobs=0"),
        (["train", "--", "model.width=4"], "-- stands before options of the runs that study or tune starts"),
        (["study", "study=tiny.yaml", "folder=.", "arms=[x]"], "arms: the study has no 'x'"),
        (["study", "study=tiny.yaml", "folder=.", "data_sets=[x]"], "data_sets: the study has no 'x'"),
        (["study", "study=tiny.yaml", "folder=.", "--", "model.widht=4"], "model.widht"),
        (["study", "study=tiny.yaml", "folder=.", "jobs=2", "hydra/launcher=joblib_local"], "jobs=2 has no effect"),
        (["report"], "name either study=DIR or runs="),
        (["report", "runs=[out/tiny/all/plain/seed-0]"], "output=DIR is not set"),
        (["report", "study=out", "baseline=x"], "baseline=x is no arm; there are: plain, length, length-random"),
        (["report", "study=out", "metric=auc"], "has no auc"),
        (["report", "study=out", "into=none.md"], "into=none.md"),
        (["report", "study=nowhere"], "holds no study and no finished run"),
    ],
)
def test_a_mistake_is_one_sentence(words, sentence, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_shipped_studies_are_studies(path):
    study = read_study(path)
    assert study.question.endswith("?")
    assert OverridesParser.create().parse_override(f"study={path.stem}").value() == path.stem  # and not a YAML null
    assert study.baseline in study.all_arms()
    assert (path.parents[1] / path.stem / "README.md").is_file()
    assert "<!-- report begin -->" in (path.parents[1] / path.stem / "README.md").read_text()


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_arm_of_a_shipped_study_is_an_experiment_of_its_own(path):
    register()
    study, hashes = read_study(path), {}
    source = next(iter(study.data.values()))
    for name, arm in study.all_arms().items():
        if not name.endswith("-anti"):  # which differ from their arms by a word that -random has as well
            options = [option.replace("{beside}", "runs") for option in (*source.options, *study.options, *arm.options)]
            words = [
                f"hydra.searchpath=['file://{path.parents[1]}']",
                *options,
                f"seed={arm.seed_offset}",
                *([] if source.path is None else ["data.path=x"]),
            ]
            with initialize_config_module("curriculum_rec.conf", version_base="1.3"):
                data = to_data(compose("train", words))
            build_experiment(data, trusted=())
            hashes.setdefault(config_hash(data), []).append(name)
    assert len(hashes) == len([name for name in study.all_arms() if not name.endswith("-anti")]), hashes


@pytest.mark.slow
def test_a_launcher_trains_the_same_runs(folder, tmp_path):
    assert call(f"study_dir={tmp_path}", "seeds=[0]", "report=false", "hydra/launcher=joblib_local") == 0
    runs = list(tmp_path.glob("tiny/all/*/seed-0"))
    assert len(runs) == 3
    for run in runs:
        same = folder / "out" / run.relative_to(tmp_path)
        ours, other = (root / "evaluation" / "test.parquet" for root in (run, same))
        assert ours.read_bytes() == other.read_bytes()


@pytest.mark.slow
def test_a_study_killed_three_times_ends_in_the_same_tables(tmp_path):
    write_sequences(tmp_path / "sequences.txt")
    arms = {"plain": [], "length": {"options": ["curriculum=length"], "controls": ["random", "anti"]}}
    write_study(tmp_path, arms=arms, seeds=[0, 1, 2, 3, 4])
    words = [sys.executable, "-m", "curriculum_rec", "study", "study=tiny.yaml", "folder=.", "jobs=2", "progress=plain"]

    def start(root):
        return subprocess.Popen([*words, f"study_dir={root}"], cwd=tmp_path, stdout=subprocess.DEVNULL)

    for finished, number in ((2, signal.SIGKILL), (6, signal.SIGTERM), (12, signal.SIGKILL)):
        process = start("killed")
        while len(list((tmp_path / "killed").glob("**/summary.json"))) < finished:
            assert process.poll() is None
            time.sleep(0.1)
        os.kill(process.pid, number)
        assert process.wait() != 0
    assert start("killed").wait() == 0
    assert start("undisturbed").wait() == 0
    tables = sorted(path.name for path in (tmp_path / "undisturbed" / "report" / "tables").iterdir())
    assert len(tables) >= 8
    for name in tables:
        if "budgets" not in name and "cost" not in name:  # which count seconds
            killed, undisturbed = (tmp_path / root / "report" / "tables" / name for root in ("killed", "undisturbed"))
            assert killed.read_bytes() == undisturbed.read_bytes(), name
