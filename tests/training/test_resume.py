"""Exact resume: a run that was killed, anywhere, ends with the same bits as one that was not."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from runs import OVERRIDES, compose_data, lasting_rows, make_runner

from curriculum_rec.training.progress import RunProgress
from curriculum_rec.training.restore import load_snapshot
from curriculum_rec.training.run_directory import RunDirectory

STEPS = ["stages.shallow.epochs=null", "stages.shallow.steps=110", "stages.deep.epochs=null", "stages.deep.steps=110"]
OFTEN = ["checkpoint_every_steps=7", "evaluation.every_epochs=3.5"]


class Killed(BaseException):
    """Stands for a process that dies between two chunks."""


def train_with_kills(folder, name, kills, *overrides, monkeypatch):
    """Train, dying after the given numbers of chunks, until the run is finished."""
    for after in [*kills, None]:
        seen = 0

        def chunk(self, *args, **kwargs):
            nonlocal seen
            seen += 1
            if seen == after:  # noqa: B023 - called before the loop goes on
                raise Killed

        monkeypatch.setattr(RunProgress, "chunk", chunk)
        runner = make_runner(folder, name, *overrides)
        if after is None:
            return runner.run()
        with pytest.raises(Killed):
            runner.run()
    raise AssertionError


def final_arrays(path):
    return load_snapshot(RunDirectory(path), "newest").arrays


def assert_same_run(a, b):
    assert lasting_rows(a / "metrics.jsonl") == lasting_rows(b / "metrics.jsonl")
    first, second = final_arrays(a), final_arrays(b)
    assert set(first) == set(second)
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


def assert_rows_tell_what_was_trained(path, overrides):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    train, told = ([row for row in rows if row["event"] == event] for event in ("train", "curriculum"))
    assert [row["epoch"] for row in told] == sorted({row["epoch"] for row in train})
    assert told[-1]["step"] == train[-1]["step"] == 220
    if "curriculum.unit=target" in overrides:
        assert sum(row["drawn"] for row in told) == sum(row["positions"] for row in train)
        assert all(sum(row["deciles"]) == row["drawn"] for row in told)
        mean = sum(loss * n for loss, n in zip(told[-1]["decile_losses"], told[-1]["deciles"], strict=True))
        last = [row for row in train if row["epoch"] == told[-1]["epoch"]]
        assert mean / told[-1]["drawn"] == pytest.approx(np.mean([row["loss"] for row in last]), rel=0.2)
    if any(word.startswith("weighting=") for word in overrides):
        for row in train:
            quantiles = [row[f"objective/weight_{percent}"] for percent in ("05", "25", "50", "75", "95")]
            assert quantiles == sorted(quantiles)
            assert quantiles[0] < row["objective/weight"] < quantiles[-1]


@pytest.mark.parametrize(
    "curriculum",
    [
        pytest.param(["curriculum=none"], marks=pytest.mark.slow),
        pytest.param(["curriculum=loss", "curriculum.sampler.min_examples=8"], marks=pytest.mark.slow),
        [
            "curriculum=loss",
            "curriculum.unit=target",
            "curriculum.sampler.min_examples=8",
            "weighting=super_loss",
            "objective/negatives=in_batch",
            "objective.correct=true",
        ],
        pytest.param(
            [
                "objective=bce",
                "objective/negatives=cached_hard",
                "objective.negatives.size=8",
                "objective.negatives.every_steps=9",
            ],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            [
                "curriculum=popularity",
                "curriculum/pacing=plateau",
                "curriculum/sampler=importance_corrected",
                "curriculum.sampler.sampler.min_examples=8",
                "weighting=truncated",
            ],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            [
                "curriculum=length",
                "curriculum/sampler=pruned",
                "curriculum.sampler.min_examples=8",
                "weighting=meta_weight_net",
            ],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            [
                "curriculum=length",
                "curriculum/sampler=dynamic_hardness",
                "curriculum.sampler.warm_up=0",
                "weighting=group_robust",
            ],
            marks=pytest.mark.slow,
        ),
        pytest.param(["optimizer=schedule_free", "optimizer.warmup_steps=20"], marks=pytest.mark.slow),
        pytest.param(["optimizer=muon", "optimizer.weight_average=0.9"], marks=pytest.mark.slow),
    ],
    ids=["none", "loss", "loss_target", "cached_hard", "plateau", "pruned", "hardness", "schedule_free", "muon"],
)
def test_a_killed_run_ends_with_the_same_bits(tmp_path, monkeypatch, curriculum):
    overrides = [*STEPS, *OFTEN, *curriculum]
    whole = train_with_kills(tmp_path, "whole", [], *overrides, monkeypatch=monkeypatch)
    # 3 chunks: before the first evaluation; 40: around the growth at step 110; 13: inside a dynamic epoch.
    broken = train_with_kills(tmp_path, "broken", [3, 40, 13], *overrides, monkeypatch=monkeypatch)
    assert whole["test"] == broken["test"]
    assert whole["steps"] == broken["steps"] == 220
    assert_same_run(tmp_path / "whole", tmp_path / "broken")
    assert_rows_tell_what_was_trained(tmp_path / "whole" / "metrics.jsonl", overrides)


@pytest.mark.slow
def test_a_resumed_run_keeps_its_clock_running(tmp_path, monkeypatch):
    broken = train_with_kills(tmp_path, "broken", [20], *STEPS, *OFTEN, monkeypatch=monkeypatch)
    stages = sum(stage["seconds"] for stage in broken["stages"])
    assert broken["train_seconds"] == pytest.approx(stages)
    assert 0 < broken["compile_seconds"] < broken["train_seconds"]


def test_another_configuration_is_not_resumed(tmp_path, monkeypatch):
    with pytest.raises(Killed):
        monkeypatch.setattr(RunProgress, "chunk", _die_at_20())
        make_runner(tmp_path, "run", *STEPS, *OFTEN).run()
    with pytest.raises(Exception, match="the configuration of .* changed since its checkpoint"):
        make_runner(tmp_path, "run", *STEPS, *OFTEN, "optimizer.learning_rate=0.1").run()


def test_changed_data_is_not_resumed(tmp_path, monkeypatch):
    with pytest.raises(Killed):
        monkeypatch.setattr(RunProgress, "chunk", _die_at_20())
        make_runner(tmp_path, "run", *STEPS, *OFTEN).run()
    path = tmp_path / "sequences.txt"
    path.write_text(path.read_text().replace("u3 ", "u3 i1 "))
    with pytest.raises(Exception, match="the data of .* changed since its checkpoint"):
        make_runner(tmp_path, "run", *STEPS, *OFTEN).run()


def _die_at_20():
    seen = iter(range(1, 1000))

    def chunk(self, *args, **kwargs):
        if next(seen) == 20:
            raise Killed

    return chunk


@pytest.mark.slow
def test_kill_9_at_ten_random_moments(tmp_path):
    long = [
        "stages.shallow.epochs=null",
        "stages.shallow.steps=2500",
        "stages.deep.epochs=null",
        "stages.deep.steps=2500",
    ]
    long += ["checkpoint_every_steps=20", "evaluation.every_epochs=40"]
    data = compose_data(tmp_path, *long)
    words = ["train", f"data.path={data['data']['path']}", "curriculum=loss", "curriculum.sampler.min_examples=8"]
    words += [*OVERRIDES, *long]
    program = [sys.executable, "-m", "curriculum_rec"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([*program, *words, f"run_dir={tmp_path / 'whole'}"], check=True, env=env, capture_output=True)
    rng = random.Random(0)
    run = tmp_path / "broken"
    kills = 0
    for _ in range(40):
        command = ["resume", f"run={run}"] if (run / "config.yaml").exists() else [*words, f"run_dir={run}"]
        process = subprocess.Popen([*program, *command], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if kills < 10:
            before = _rows(run)
            deadline = time.time() + 120  # let it get some way, or it would never end
            while process.poll() is None and _rows(run) <= before and time.time() < deadline:
                time.sleep(0.05)
            time.sleep(rng.uniform(0, 1.5))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
                continue
        assert process.wait() == 0
        break
    assert kills == 10
    assert (run / "summary.json").exists()
    assert_same_run(tmp_path / "whole", run)


def _rows(run):
    path = run / "metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0
