"""The commands end to end, as a person calls them."""

import json
import subprocess
import sys

import polars as pl
import pytest
from runs import OVERRIDES, run_in

from curriculum_rec import __version__
from curriculum_rec.cli import main
from curriculum_rec.training.interrupt import InterruptGuard
from curriculum_rec.training.progress import RunProgress

SHORT = ["stages.shallow.epochs=1", "stages.deep.epochs=1", "data.path=sequences.txt"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    run_in(folder, "train", *OVERRIDES, *SHORT, "run_dir=run", "curriculum=popularity")
    return folder


@pytest.fixture(autouse=True)
def _inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


def test_train_prints_the_quality_beside_the_reference_and_the_path(capsys):
    assert main(["train", *OVERRIDES, *SHORT, "run_dir=other"]) == 0
    output = capsys.readouterr().out
    assert "MostPop" in output
    assert "ndcg@10" in output
    assert "positions/s" in output
    assert output.rstrip().endswith("run directory: other")


@pytest.mark.slow
def test_a_sweep_leaves_one_run_a_combination(folder, capsys):
    words = [
        "train",
        "-m",
        *OVERRIDES,
        *SHORT,
        "curriculum=none,length",
        "seed=0,1",
        "hydra.sweep.dir=sweep",
    ]
    assert main(words) == 0
    summaries = [json.loads(path.read_text()) for path in sorted((folder / "sweep").glob("*/summary.json"))]
    assert len(summaries) == 4
    assert len({summary["config_hash"] for summary in summaries}) == 4
    assert len({summary["split_hash"] for summary in summaries}) == 1
    assert sorted(summary["seed"] for summary in summaries) == [0, 0, 1, 1]
    capsys.readouterr()


def test_evaluate_repeats_the_summary_and_takes_other_cutoffs(folder, capsys):
    assert main(["evaluate", "run=run", "output=users.csv"]) == 0
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert f"{summary['test']['ndcg@10']:.4f}" in capsys.readouterr().out
    users = pl.read_csv(folder / "users.csv")
    assert users["ndcg@10"].mean() == pytest.approx(summary["test"]["ndcg@10"])
    assert main(["evaluate", "run=run", "split=validation", "k=[1,3]", "checkpoint=newest", "filter_seen=false"]) == 0
    output = capsys.readouterr().out
    assert "hr@3" in output
    assert "hr@10" not in output


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_recommend_writes_original_ids_without_seen_items(folder, capsys, ending):
    read = {"parquet": pl.read_parquet, "csv": pl.read_csv, "jsonl": pl.read_ndjson}[ending]
    assert main(["recommend", "run=run", "k=4", "users=[u3,u1]", f"output=top.{ending}"]) == 0
    assert capsys.readouterr().out.startswith("8 recommendations for 2 users")
    frame = read(folder / f"top.{ending}")
    assert frame["user"].to_list() == ["u3"] * 4 + ["u1"] * 4
    assert frame["rank"].to_list() == [1, 2, 3, 4] * 2
    assert frame["score"].head(4).is_sorted(descending=True)
    histories = dict(line.split(" ", 1) for line in (folder / "sequences.txt").read_text().splitlines())
    for user, item in frame.select("user", "item").iter_rows():
        assert item not in histories[user].split()


def test_an_interrupted_run_says_how_to_go_on_and_resume_finishes_it(folder, capsys, monkeypatch):
    guards = []
    enter = InterruptGuard.__enter__

    def remember(self):
        guards.append(self)
        return enter(self)

    def stop(self, step, loss, share):
        guards[-1].requested = step >= 4

    with monkeypatch.context() as patch:
        patch.setattr(InterruptGuard, "__enter__", remember)
        patch.setattr(RunProgress, "chunk", stop)
        assert main(["train", *OVERRIDES, *SHORT, "run_dir=stopped", "curriculum=popularity"]) == 130
    assert "curriculum-rec resume run=stopped" in capsys.readouterr().err
    assert main(["resume", "run=stopped", "progress=none"]) == 0
    whole, resumed = (json.loads((folder / name / "summary.json").read_text()) for name in ("run", "stopped"))
    assert whole["test"] == resumed["test"]
    assert main(["resume", "run=stopped"]) == 0
    assert "nothing to resume" in capsys.readouterr().out


def test_train_can_be_told_to_go_on_or_to_replace(folder, capsys):
    words = ["train", *OVERRIDES, *SHORT, "curriculum=popularity", "run_dir=run"]
    assert main([*words, "on_existing=resume"]) == 0
    assert "nothing to resume" in capsys.readouterr().out
    assert main([*words, "on_existing=resume", "seed=5"]) == 2
    assert "another configuration" in capsys.readouterr().err
    before = (folder / "run" / "metrics.jsonl").read_bytes()
    assert main([*words, "on_existing=replace"]) == 0
    assert len((folder / "run" / "metrics.jsonl").read_bytes()) == pytest.approx(len(before), rel=0.1)


@pytest.mark.parametrize("ending", ["svg", "html"])
def test_inspect_draws_runs(folder, capsys, ending):
    pytest.importorskip("matplotlib", reason="the extra 'figures' is not installed")
    assert main(["inspect", "run=[run,run]", f"output=both.{ending}"]) == 0
    assert capsys.readouterr().out == f"what was trained in run, run: both.{ending}\n"
    assert (folder / f"both.{ending}").read_text().count("difficulty trained") == 1


def test_audit_writes_a_page_and_prints_its_table(folder, capsys):
    pytest.importorskip("matplotlib", reason="the extra 'figures' is not installed")
    words = ["audit", *OVERRIDES, "data.path=sequences.txt", "difficulties=[history_entropy,length]", "seeds=2"]
    assert main([*words, "runs=[run]"]) == 0
    output = capsys.readouterr().out
    assert all(word in output for word in ("history", "popularity", "length", "page: audit.html"))
    page = (folder / "audit.html").read_text()
    assert page.count("<svg") == 2
    assert "known to be wrong" not in page


def test_help_loads_neither_jax_nor_hydra():
    program = (
        "import sys; from curriculum_rec.cli import main; code = main(['--help']); "
        "sys.exit(code or any(name in sys.modules for name in ('jax', 'hydra', 'polars')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, capture_output=True).returncode == 0


def test_the_module_runs_as_a_program():
    words = [sys.executable, "-m", "curriculum_rec", "--version"]
    assert subprocess.run(words, check=True, capture_output=True, text=True).stdout == f"curriculum-rec {__version__}\n"
