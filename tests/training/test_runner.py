"""Whole runs: what they leave, stages, warm starts, plateaus, interruption."""

import itertools
import json

import numpy as np
import polars as pl
import pytest
from runs import compose_data, make_runner, write_sequences

from curriculum_rec.curriculum.difficulty import RunningLoss
from curriculum_rec.errors import CheckpointError, OptionError, RunError
from curriculum_rec.training.interrupt import Interrupted
from curriculum_rec.training.progress import RunProgress
from curriculum_rec.training.record import RunRecord
from curriculum_rec.training.restore import load_snapshot
from curriculum_rec.training.run_directory import RunDirectory

SHORT = ["stages.shallow.epochs=2", "stages.deep.epochs=2"]
TINY_RATE = "optimizer.learning_rate=1e-9"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return folder, make_runner(folder, "run", "curriculum=length", "curriculum.sampler.min_examples=8", *SHORT).run()


def test_the_summary_has_what_is_promised(finished):
    folder, summary = finished
    assert json.loads((folder / "run" / "summary.json").read_text()) == summary
    assert {
        "test", "validation", "train_seconds", "compile_seconds", "positions_per_second", "steps", "best_step",
        "parameters", "reference", "split_hash", "config_hash", "versions", "seed", "stages",
    } <= set(summary)  # fmt: skip
    assert {"ndcg@10", "hr@10"} <= set(summary["test"]) & set(summary["validation"]) & set(summary["reference"])
    assert [stage["depth"] for stage in summary["stages"]] == [1, 2]
    assert sum(stage["steps"] for stage in summary["stages"]) == summary["steps"]
    assert 0 < summary["compile_seconds"] < summary["train_seconds"]


def test_metrics_rows_are_one_an_event_in_step_order(finished):
    folder, summary = finished
    rows = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {row["event"] for row in rows} == {"stage", "train", "curriculum", "evaluation", "speed", "test"}
    speed = [row for row in rows if row["event"] == "speed"]
    assert {row["recompilations"] for row in speed} == {0}
    assert min(row["peak_memory_mib"] for row in speed) > 50
    assert min(row["positions_per_second"] for row in speed) > 0
    assert 0 < min(row["share_of_peak"] for row in speed) < 1
    train = [row for row in rows if row["event"] == "train"]
    assert train[-1]["step"] == summary["steps"]
    assert [row["step"] for row in train] == sorted({row["step"] for row in train})
    shares = [row["share"] for row in train]
    assert shares == sorted(shares)
    assert shares[0] < 1 and shares[-1] == 1
    best = max((row for row in rows if row["event"] == "evaluation"), key=lambda row: row["ndcg@10"])
    assert best["step"] == summary["best_step"]


def test_user_results_average_to_the_summary(finished):
    folder, summary = finished
    for split in ("test", "validation"):
        frame = pl.read_parquet(folder / "run" / "evaluation" / f"{split}.parquet")
        assert frame["ndcg@10"].mean() == pytest.approx(summary[split]["ndcg@10"])
        assert frame["user"].str.starts_with("u").all() and frame["item"].str.starts_with("i").all()
        assert frame["user"].n_unique() == len(frame) == 60


@pytest.mark.slow
def test_growth_does_not_change_the_function(tmp_path):
    runner = make_runner(
        tmp_path, "run", *SHORT, "stages.deep.steps=1", "stages.deep.epochs=null", "optimizer.learning_rate=1e-9"
    )
    summary = runner.run()
    shallow, deep = (stage["quality"] for stage in summary["stages"])
    assert deep == pytest.approx(shallow)


def test_a_plateau_ends_a_stage(tmp_path):
    summary = make_runner(tmp_path, "run", "stages.shallow.epochs=30", "stages/until@stages.shallow.until=plateau",
                          "stages.deep.epochs=1", "optimizer.learning_rate=1e-9").run()  # fmt: skip
    per_epoch = make_runner(tmp_path, "other").steps_per_epoch
    assert summary["stages"][0]["steps"] == 3 * per_epoch  # the first is the best, then two that are no better


def test_the_same_seed_gives_the_same_run_and_another_does_not(tmp_path):
    first, again, other = (
        make_runner(tmp_path, name, *SHORT, f"seed={seed}").run()["test"]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again != other


def test_warm_start_takes_the_best_weights_of_another_run(finished):
    folder, _ = finished
    best = load_snapshot(RunDirectory(folder / "run"), "best")
    depth = RunRecord.from_json(best.meta["record"]).stage.depth
    runner = make_runner(folder, "warm", *SHORT, f"stages.shallow.warm_start={folder / 'run'}",
                         f"stages.shallow.depth={depth}", TINY_RATE, f"stages.deep.depth={depth}")  # fmt: skip
    summary = runner.run()
    own = load_snapshot(RunDirectory(folder / "warm"), "newest")
    for name in (name for name in own.arrays if name.startswith("params.")):
        np.testing.assert_allclose(own.arrays[name], best.arrays[name], atol=1e-6, err_msg=name)
    assert summary["stages"][0]["depth"] == depth


@pytest.mark.slow
def test_warm_start_grows_into_a_deeper_stage(finished):
    folder, _ = finished
    runner = make_runner(folder, "deeper", *SHORT, f"stages.shallow.warm_start={folder / 'run'}",
                         "stages.shallow.depth=4", "stages.deep.depth=4")  # fmt: skip
    assert [stage["depth"] for stage in runner.run()["stages"]] == [4, 4]


def test_warm_start_from_another_catalogue_is_refused(finished, tmp_path):
    folder, _ = finished
    write_sequences(tmp_path / "sequences.txt", n_items=29)
    runner = make_runner(tmp_path, "run", *SHORT, f"stages.shallow.warm_start={folder / 'run'}")
    with pytest.raises(CheckpointError, match="another catalogue"):
        runner.run()


def test_an_interrupted_run_is_saved_and_ends_as_if_it_had_not_been(tmp_path, monkeypatch):
    whole = make_runner(tmp_path, "whole", *SHORT).run()
    runner = make_runner(tmp_path, "stopped", *SHORT)

    def stop(self, step, loss, share):
        runner._guard.requested = step >= 8

    monkeypatch.setattr(RunProgress, "chunk", stop)
    with pytest.raises(Interrupted):
        runner.run()
    monkeypatch.undo()
    assert load_snapshot(RunDirectory(tmp_path / "stopped"), "newest").step < whole["steps"]
    assert make_runner(tmp_path, "stopped", *SHORT).run()["test"] == whole["test"]


def test_two_processes_do_not_share_a_directory(tmp_path):
    first, second = RunDirectory(tmp_path / "run"), RunDirectory(tmp_path / "run")
    first.create("refuse")
    with pytest.raises(RunError, match="another process"):
        second.lock()
    first.unlock()
    second.lock()
    second.unlock()


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["growth=none"], "growth is none"),
        (["stages.deep.depth=1", "stages.shallow.depth=2"], "depth never falls, but with growth=shrink"),
        (["stages.shallow.steps=3"], "exactly one of them"),
        (["checkpoint_every_steps=0"], "checkpoint_every_steps=0"),
    ],
)
def test_stages_that_make_no_sense_are_refused(tmp_path, overrides, sentence):
    with pytest.raises(OptionError, match=sentence):
        make_runner(tmp_path, "run", *overrides)


def test_loss_feeds_the_curriculum(tmp_path, monkeypatch):
    runner = make_runner(tmp_path, "run", *SHORT, "curriculum=loss", "curriculum.sampler.min_examples=8")
    runner.run()
    arrays = load_snapshot(RunDirectory(tmp_path / "run"), "newest").arrays
    losses = RunningLoss(arrays["curriculum.loss_mean"], arrays["curriculum.loss_seen"])
    assert losses.seen.all()
    assert (losses.mean > 0).all() and losses.mean.std() > 0


def test_compose_data_is_plain(tmp_path):
    assert json.dumps(compose_data(tmp_path))


def test_whole_histories_are_laid_out_only_for_objectives_that_ask(tmp_path):
    overrides = ["examples.max_length=4", "examples.bucket_lengths=[]"]
    for objective, wanted in (("bce", True), ("sampled_softmax", False)):
        runner = make_runner(tmp_path, objective, f"objective={objective}", *overrides)
        bucket = runner.engine.scheduler.examples.buckets[0]
        assert ("positives" in bucket.arrays) == wanted
        if wanted:
            items, offsets = runner.dataset.split.training()
            histories = [sorted(items[a:b]) for a, b in itertools.pairwise(offsets) if b - a > 1]
            rows = [row[row < 2**31 - 1].tolist() for row in bucket.arrays["positives"]]
            assert rows == [histories[example] for example in bucket.example]
            assert max(map(len, rows)) > 5


@pytest.mark.slow
def test_a_run_with_planted_noise_tells_what_was_planted(tmp_path):
    summary = make_runner(tmp_path, "run", "noise=planted", "noise.rate=0.4", *SHORT).run()
    planted = pl.read_parquet(tmp_path / "run" / "noise.parquet")
    assert len(planted) == summary["data"]["planted"] > 0
    real = {
        (words[0], item)
        for words in map(str.split, (tmp_path / "sequences.txt").read_text().splitlines())
        for item in words[1:]
    }
    assert not real & set(zip(planted["user"], planted["item"], strict=True))
    users = pl.read_parquet(tmp_path / "run" / "evaluation" / "test.parquet")
    assert set(zip(users["user"], users["item"], strict=True)) <= real
