"""list, show, compare and track, over run directories as training leaves them, written by hand."""

import csv
import fcntl
import io
import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from event_files import read_events
from runs import OVERRIDES, compose_data, run_in
from scipy import stats

from curriculum_rec import config
from curriculum_rec.cli import main
from curriculum_rec.evaluation.statistics import sign_flip_test
from curriculum_rec.reports.run_comparison import differing_options, paired_differences
from curriculum_rec.reports.run_overview import age, find_runs
from curriculum_rec.training.interrupt import InterruptGuard
from curriculum_rec.training.progress import RunProgress

USERS = 40


def log_rows(*, values=(0.1, 0.3, 0.2)):
    rows = [{"event": "stage", "step": 0, "stage": "shallow", "depth": 1, "parameters": 100}]
    for number, value in enumerate(values, 1):
        rows.append({"event": "train", "step": 10 * number, "loss": 5.0 - number, "share": 1.0})
        rows.append({"event": "evaluation", "step": 10 * number, "split": "validation", "ndcg@10": value, "hr@10": 0.5})
    return rows


def summary_of(data, *, test, split_hash):
    stage = {"name": "shallow", "depth": 1, "parameters": 100, "steps": 30, "seconds": 2.0, "operations": 1e6}
    return {
        "test": {"ndcg@10": test, "hr@10": 0.4},
        "validation": {"ndcg@10": 0.3, "hr@10": 0.5},
        "reference": {"model": "mostpop", "ndcg@10": 0.05, "hr@10": 0.1},
        "metric": "ndcg@10",
        "train_seconds": 2.5,
        "compile_seconds": 1.0,
        "positions_per_second": 1234.0,
        "steps": 30,
        "best_step": 20,
        "operations": 1e6,
        "parameters": 100,
        "stages": [stage | {"quality": {"ndcg@10": 0.2, "hr@10": 0.5}}],
        "data": {"users": USERS, "items": 30, "interactions": 300, "planted": 0, "examples": 50, "ledger": []},
        "seed": data["seed"],
        "split_hash": split_hash,
        "config_hash": config.config_hash(data),
        "placement": {"kind": "jit", "devices": 1, "table": 1, "hosts": 1},
        "versions": {"python": "3.11", "jax": "0.10"},
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    base = rng.random(USERS)
    better = np.clip(base + rng.normal(0.05, 0.1, USERS), 0, 1)
    cases = {
        "base": ([], base, "split"),
        "better": (["model.width=16", "seed=1"], better, "split"),
        "elsewhere": (["seed=2"], base, "another split"),
        "cut": (["seed=3"], None, None),
    }
    for name, (overrides, values, split_hash) in cases.items():
        data = compose_data(folder, *overrides)
        run = folder / "runs" / name
        (run / "checkpoints" / "20").mkdir(parents=True)
        (run / "config.yaml").write_text(config.config_text(data))
        (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log_rows()))
        (run / ".lock").touch()
        if values is not None:
            (run / "summary.json").write_text(json.dumps(summary_of(data, test=values.mean(), split_hash=split_hash)))
            (run / "evaluation").mkdir()
            order = rng.permutation(USERS)  # files of two runs need not have their users in one order
            frame = pl.DataFrame({"user": [f"u{user}" for user in order], "ndcg@10": values[order]})
            frame.write_parquet(run / "evaluation" / "test.parquet")
    broken = folder / "runs" / "broken"
    broken.mkdir()
    (broken / "config.yaml").write_text("{")
    (broken / "metrics.jsonl").write_text("")
    return folder, base, better


@pytest.fixture(autouse=True)
def _inside(made, monkeypatch):
    monkeypatch.chdir(made[0])


def listed(capsys, *words):
    assert main(["list", *words, "output=json"]) == 0
    return {row["run"].rpartition("/")[2]: row for row in json.loads(capsys.readouterr().out)}


def test_list_tells_the_state_and_the_numbers_of_every_run(made, capsys):
    rows = listed(capsys)
    assert {name: row["state"] for name, row in rows.items()} == {
        "base": "finished",
        "better": "finished",
        "elsewhere": "finished",
        "cut": "interrupted",
        "broken": "broken",
    }
    base, cut = rows["base"], rows["cut"]
    assert base["test"] == pytest.approx(made[1].mean())
    assert (base["validation"], base["steps"], base["stages"], base["depth"]) == (0.3, 30, "shallow", "1")
    # Of a run that has no result yet, its log tells the best evaluation.
    assert (cut["validation"], cut["test"], cut["steps"], cut["seed"], cut["metric"]) == (0.3, None, 30, 3, "ndcg@10")
    assert len({row["config"] for row in rows.values()}) == 5
    assert "broken" in rows["broken"]["problem"]


def test_a_run_whose_lock_is_held_is_running(made, capsys):
    with (made[0] / "runs" / "cut" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert listed(capsys)["cut"]["state"] == "running"
    assert listed(capsys)["cut"]["state"] == "interrupted"


def test_list_sorts_takes_another_metric_and_writes_tables(made, capsys):
    assert main(["list", "runs", "sort=-test", "output=csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    tests = [float(row["test"]) for row in rows if row["test"]]
    assert tests == sorted(tests, reverse=True)
    assert len(tests) == 3
    assert [row["test"] for row in rows[3:]] == ["", ""]  # what is not known comes last
    assert listed(capsys, "metric=hr@10")["base"]["test"] == 0.4
    assert main(["list", "output=all.csv"]) == 0
    assert "5 runs: all.csv" in capsys.readouterr().out
    assert main(["list"]) == 0
    table = capsys.readouterr().out
    assert "test ndcg@10" in table
    assert "runs/broken" in table


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["list", "nowhere"], "nowhere is no folder"),
        (["list", "sort=quality"], "sort=quality: it must be one of"),
        (["list", "metric=mrr@3"], "metric=mrr@3: none of the runs has it"),
        (["list", "output=all.txt"], "output=all.txt"),
        (["show", "run=nowhere"], "nowhere holds no run"),
        (["show", "run=runs/broken"], "runs/broken/config.yaml"),
        (["compare", "runs=[runs/base]"], "two runs or more"),
        (["track", "run=runs/base"], "tracking=none sends nothing"),
        (["track", "run=runs/base", "tracking=mlfow"], "there is no tracking 'mlfow'"),
    ],
)
def test_mistakes_are_one_sentence(capsys, words, sentence):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_show_tells_all_of_a_finished_run(capsys):
    assert main(["show", "run=runs/base"]) == 0
    output = capsys.readouterr().out
    for word in ("finished", "40 users", "SASRec, no curriculum", "MostPop", "0.0500", "1,234 positions/s", "jax 0.10"):
        assert word in output
    assert "curriculum-rec evaluate run=runs/base" in output


def test_show_says_how_to_go_on_with_an_interrupted_run(capsys):
    assert main(["show", "run=runs/cut"]) == 0
    output = capsys.readouterr().out
    assert "best validation ndcg@10: 0.3000 at step 20" in output
    assert "curriculum-rec resume run=runs/cut" in output


def test_compare_prints_differing_options_only_and_the_paired_difference(made, capsys):
    assert main(["compare", "runs=[runs/base,runs/better,runs/elsewhere,runs/cut]"]) == 0
    output = capsys.readouterr().out
    assert "model.width" in output
    assert "model.depth" not in output
    assert "B - A" in output
    assert f"{(made[2] - made[1]).mean():+.4f}" in output
    assert "C is not compared by user: runs/elsewhere has another split" in output
    assert "D is not compared by user: the run in runs/cut is not finished" in output


def test_paired_differences_are_those_of_another_program(made):
    runs = made[0] / "runs"
    found, reasons = paired_differences(runs / "base", [runs / "better"], "ndcg@10")
    [each], difference = found.values(), made[2] - made[1]
    assert not reasons
    assert each.difference == pytest.approx(difference.mean())
    assert each.p == pytest.approx(float(sign_flip_test(difference)[0]), abs=0.02)
    scipys = stats.permutation_test(
        (difference,), np.mean, permutation_type="samples", n_resamples=5000, rng=np.random.default_rng(0)
    )
    assert each.p == pytest.approx(scipys.pvalue, abs=0.02)
    assert each.low < each.difference < each.high


def test_options_that_only_one_has_count():
    rows = differing_options([{"a": {"b": 1}, "name": "x"}, {"a": {"c": 1}, "name": "y"}], without=("name",))
    assert rows == {"a.b": ["1", "-"], "a.c": ["-", "1"]}


def test_runs_inside_runs_are_not_runs(tmp_path):
    for path in ("a/config.yaml", "a/metrics.jsonl", "a/profile/summary.json", "b/c/checkpoints/1", "d/config.yaml"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert [str(path.relative_to(tmp_path)) for path in find_runs(tmp_path)] == ["a", "b/c"]
    assert age(-5) == "0 s"


def test_track_sends_a_run_and_does_not_double_it(made, capsys):
    pytest.importorskip("tensorboardX", reason="the extra 'tensorboard' is not installed")
    for _ in range(2):
        assert main(["track", "run=runs/base", "tracking=tensorboard"]) == 0
        assert capsys.readouterr().out == "runs/base: its rows are in tensorboard\n"
        assert len(list((made[0] / "runs" / "base" / "tracking" / "tensorboard").iterdir())) == 1


@pytest.mark.parametrize("command", ["list", "show", "compare"])
def test_light_commands_load_no_jax(command):
    words = {"list": [], "show": ["run=runs/base"], "compare": ["runs=[runs/base,runs/better]"]}[command]
    code = (
        f"import sys; from curriculum_rec.cli import main; code = main({[command, *words]}); "
        "sys.exit(code or bool({'jax', 'flax', 'optax'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.slow
def test_a_run_that_is_stopped_and_goes_on_is_tracked_once(tmp_path, capsys, monkeypatch):
    pytest.importorskip("tensorboardX", reason="the extra 'tensorboard' is not installed")
    words = [*OVERRIDES, "stages.shallow.epochs=1", "stages.deep.epochs=1", "data.path=sequences.txt"]
    guards, enter = [], InterruptGuard.__enter__
    monkeypatch.chdir(tmp_path)

    def remember(self):
        guards.append(self)
        return enter(self)

    def stop(self, step, loss, share):
        guards[-1].requested = step >= 4

    run_in(tmp_path, "train", *words, "run_dir=whole", "tracking=tensorboard")
    with monkeypatch.context() as patch:
        patch.setattr(InterruptGuard, "__enter__", remember)
        patch.setattr(RunProgress, "chunk", stop)
        assert main(["train", *words, "run_dir=cut", "tracking=tensorboard"]) == 130
    assert main(["resume", "run=cut", "progress=none"]) == 0
    files = [list((tmp_path / run / "tracking" / "tensorboard").iterdir()) for run in ("whole", "cut")]
    assert [len(each) for each in files] == [1, 1]
    points = [{(tag, step): value for tag, step, value in read_events(each[0])[0]} for each in files]
    assert points[0].keys() == points[1].keys()
    assert {key: value for key, value in points[0].items() if "speed" not in key[0]} == {
        key: value for key, value in points[1].items() if "speed" not in key[0]
    }
    capsys.readouterr()
