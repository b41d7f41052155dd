"""The study in experiments/curricula: its arms compose and have controls, its report tells all that was tried."""

import importlib.machinery
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curriculum_rec import config
from curriculum_rec.errors import RunError

STUDY = Path(__file__).parents[1] / "experiments" / "curricula"


def load(name):
    """Import a script that has no ending."""
    loader = importlib.machinery.SourceFileLoader(f"study_{name}", str(STUDY / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    sys.modules[loader.name] = module
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)
        loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def grid():
    sys.path.insert(0, str(STUDY))
    import grid

    yield grid
    sys.path.remove(str(STUDY))


@pytest.fixture(scope="module")
def report(grid):
    return load("report")


def all_runs(grid, **changes):
    options = {"root": Path("runs"), "folder": Path("data"), "data": ["ml100k"], "noise": [0.4], "seeds": [3]}
    return list(grid.runs(arms=list(grid.read_arms().values()), **options | changes))


def test_every_arm_composes_and_builds_and_is_an_experiment_of_its_own(grid):
    hashes = set()
    for run in all_runs(grid):
        data = run.composed()
        experiment = config.build_experiment(data, trusted=())
        assert (experiment.seed, experiment.noise.rate) == (3, 0.4)
        assert run.config_hash() == config.config_hash(data)
        hashes.add(config.config_hash(data))
    assert len(hashes) == len(grid.read_arms())


def test_every_arm_has_a_control_that_is_an_arm(grid):
    arms = grid.read_arms()
    assert {name for name, arm in arms.items() if arm.control is None and not name.endswith("-random")} == {"plain"}
    assert {arm.control for arm in arms.values()} - {None} <= set(arms)
    for name, arm in arms.items():
        if name.endswith("-random"):
            ours = arms[name.removesuffix("-random")]
            assert ours.control == name
            assert arm.options == (*ours.options, "curriculum.order=random")


def test_runs_have_folders_of_their_own(grid):
    runs = all_runs(grid, data=["ml100k", "beauty"], noise=[0.0, 0.4], seeds=[0, 1])
    assert len({run.directory for run in runs}) == len(runs) == 8 * len(grid.read_arms())
    assert [run.seed for run in runs] == sorted(run.seed for run in runs)


def fake_run(folder, *, value, seed, split_hash="same", n_users=40):
    """Write what the report reads of a finished run, whose users' NDCG is about a value."""
    (folder / "evaluation").mkdir(parents=True)
    users = value + np.random.default_rng(seed).normal(0, 0.01, n_users)
    frame = pl.DataFrame({"user": np.arange(n_users), "item": np.arange(n_users), "ndcg@10": users})
    frame.write_parquet(folder / "evaluation" / "test.parquet")
    metrics = {"ndcg@10": float(users.mean()), "hr@10": 2 * value}
    summary = {"test": metrics, "reference": {"ndcg@10": 0.01, "hr@10": 0.02}, "steps": 100, "split_hash": split_hash}
    (folder / "summary.json").write_text(json.dumps(summary))
    rows = []
    for step in (50, 100):
        rows.append({"event": "speed", "step": step, "seconds": 2.0, "compile_seconds": 1.0})
        rows.append({"event": "evaluation", "step": step, "ndcg@10": value * step / 100, "operations": 1e12 * step})
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))


@pytest.fixture
def study(tmp_path, report, monkeypatch):
    """Ten seeds: length beats its control by a little, popularity is below it, loss is level with it."""
    monkeypatch.setattr(report, "scorer_table", lambda cell: [])
    gains = {"plain": 0, "length": 0.02, "popularity": -0.02, "loss": 0.0}
    for seed in range(10):
        for name, gain in gains.items():
            place = tmp_path / "ml100k" / "noise-0"
            bend = 0.001 * (-1) ** seed if name == "loss" else 0
            fake_run(place / name / f"seed-{seed}", value=0.1 + gain + bend, seed=seed)
            if name != "plain":
                fake_run(place / f"{name}-random" / f"seed-{seed}", value=0.1, seed=seed)
    return tmp_path


def rows_of(text, name):
    return [line for line in text.splitlines() if line.startswith(f"| {name} |")]


def test_the_report_claims_over_seeds_and_prints_what_failed(study, grid, report):
    text = "\n".join(report.sections(study, grid.read_arms(), "ndcg@10", report.Baseline()))
    claims = {name: rows_of(text, name)[2].split("|")[-2].strip() for name in ("length", "popularity", "loss")}
    assert claims == {"length": "helps", "popularity": "harms", "loss": "not shown"}
    assert "over the 3 comparisons of the table" in text
    assert "over the 6 comparisons of the table" in text  # against plain: the controls were tried, too
    assert "-0.0200" in rows_of(text, "popularity")[2]
    assert "| length | 10 | 0.2400 |" in text
    assert "| popularity | 0.0800 | 0.0800 | 0.0800 | never | never | never | 0 of 10 |" in text
    assert "| length | 0.1200 | 0.1200 | 0.1200 | 100 | 100 | 2 | 10 of 10 |" in text


def test_five_seeds_claim_nothing(study, grid, report):
    for folder in study.glob("*/*/*/seed-[5-9]"):
        (folder / "summary.json").unlink()
    text = "\n".join(report.sections(study, grid.read_arms(), "ndcg@10", report.Baseline()))
    assert "helps" not in text and "harms" not in text
    assert "No p over seeds can be below 0.062" in text


def test_runs_on_other_data_are_not_compared(study, grid, report):
    fake_run(study / "ml100k" / "noise-0" / "length-anti" / "seed-0", value=0.1, seed=0, split_hash="other")
    with pytest.raises(RunError, match="was trained on other data"):
        list(report.sections(study, grid.read_arms(), "ndcg@10", report.Baseline()))


def test_the_tables_stand_between_the_markers(study, report, monkeypatch, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    table = tmp_path / "arms.yaml"
    table.write_text(report.TABLE.read_text())
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", ["report", "--root", str(study), "--table", str(table)])
        assert report.main() == 0
        text = readme.read_text()
        assert text.startswith("before\n") and text.endswith("after\n")
        assert text.count("### ml100k, noise 0") == 1 and "old" not in text


def test_a_finished_run_is_left_alone_and_one_of_another_configuration_refused(grid, tmp_path):
    script = load("run")
    first = all_runs(grid, root=tmp_path)[0]
    assert not script.is_finished(first)
    first.directory.mkdir(parents=True)
    (first.directory / "summary.json").write_text(json.dumps({"config_hash": first.config_hash()}))
    assert script.is_finished(first)
    (first.directory / "summary.json").write_text(json.dumps({"config_hash": "other"}))
    with pytest.raises(RunError, match="holds a run of another configuration"):
        script.is_finished(first)
