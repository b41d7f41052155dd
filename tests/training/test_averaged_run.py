"""A run with averaged weights that grows, halves its learning rate and warms up again: what it leaves, and resumes."""

import json
from itertools import pairwise

import numpy as np
import pytest
from runs import lasting_rows, make_runner

from curriculum_rec import config
from curriculum_rec.data.splits import Part
from curriculum_rec.errors import RunError
from curriculum_rec.evaluation.curves import Curve
from curriculum_rec.evaluation.metrics import mean_metrics
from curriculum_rec.reports.run_log import RunLog
from curriculum_rec.training.borrow import Borrower
from curriculum_rec.training.progress import RunProgress
from curriculum_rec.training.restore import AVERAGE, PARAMS, load_snapshot, snapshot_parameters
from curriculum_rec.training.run_directory import RunDirectory
from curriculum_rec.training.stages import WarmStart

WARMUP, FACTOR, RATE = 6, 0.5, 0.02
OPTIONS = [
    "model=dnn", "examples.bucket_lengths=[]",
    "stages.shallow.epochs=1", "stages.deep.epochs=2", f"stages.deep.warmup_steps={WARMUP}",
    f"stages.deep.learning_rate_factor={FACTOR}", f"optimizer.learning_rate={RATE}", "optimizer.schedule=cosine",
    "optimizer.weight_average=0.9", "steps_per_dispatch=1", "checkpoint_every_steps=3", "growth.moments=fresh",
]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    runner = make_runner(folder, "run", *OPTIONS)
    return folder, runner, runner.run()


@pytest.fixture(scope="module")
def rows(whole):
    return [json.loads(line) for line in (whole[0] / "run" / "metrics.jsonl").read_text().splitlines()]


def of(rows, event):
    return [row for row in rows if row["event"] == event]


def test_the_average_is_what_is_evaluated_and_grows_with_the_weights(whole, rows):
    folder, runner, _ = whole
    snapshot = load_snapshot(RunDirectory(folder / "run"), "newest")
    names = {name.removeprefix(f"{PARAMS}.") for name in snapshot.arrays if name.startswith(f"{PARAMS}.")}
    assert names == {name.removeprefix(f"{AVERAGE}.") for name in snapshot.arrays if name.startswith(f"{AVERAGE}.")}
    assert all(snapshot.arrays[f"{AVERAGE}.{n}"].shape == snapshot.arrays[f"{PARAMS}.{n}"].shape for n in names)
    structure, params = snapshot_parameters(snapshot, runner.experiment, inputs=runner.dataset.inputs)
    np.testing.assert_array_equal(params["norm"]["scale"], snapshot.arrays[f"{AVERAGE}.norm.scale"])
    assert not np.array_equal(params["norm"]["scale"], snapshot.arrays[f"{PARAMS}.norm.scale"])
    ranks = runner._evaluators[Part.VALIDATION].answers(structure, runner.placed.replicate(params))
    quality = mean_metrics(ranks, runner.experiment.evaluation.metric_names)
    logged = of(rows, "evaluation")[-1]
    assert logged["step"] == snapshot.step
    assert {name: logged[name] for name in quality} == quality


def test_a_warm_start_takes_the_average(whole):
    folder, runner, _ = whole
    borrower = Borrower(runner.experiment, runner.dataset)
    borrowed = borrower.borrow(WarmStart(run=str(folder / "run"), checkpoint="newest"), stage="deep")
    arrays = load_snapshot(RunDirectory(folder / "run"), "newest").arrays
    np.testing.assert_array_equal(borrowed.params["norm"]["scale"], arrays[f"{AVERAGE}.norm.scale"])


def test_growth_may_begin_with_a_fresh_optimizer(whole, tmp_path):
    """Counts and the average begin anew; the schedule over the whole run does not."""
    runner = make_runner(tmp_path, "run", *OPTIONS, "growth.moments=reset_all")
    runner.run()
    arrays = load_snapshot(RunDirectory(tmp_path / "run"), "newest").arrays
    kept = load_snapshot(RunDirectory(whole[0] / "run"), "newest").arrays
    counts = [name for name in arrays if ".count." in name]
    total, deep = runner.total_steps, runner.total_steps - runner.steps_per_epoch
    assert {int(n) for name in counts for n in arrays[name].reshape(-1)} == {deep}
    assert {int(n) for name in counts for n in kept[name].reshape(-1)} == {deep, total}  # new blocks, and the others
    assert (arrays["optimizer.steps"], kept["optimizer.steps"]) == (deep, total)
    assert arrays["optimizer.inner.3.count"] == kept["optimizer.inner.3.count"] == total


def test_the_learning_rate_is_continuous_but_for_the_declared_ramp(whole, rows):
    _, runner, _ = whole
    begin, total = runner.steps_per_epoch, runner.total_steps
    series = [row["learning_rate"] for row in of(rows, "train")]
    assert len(series) == total
    for step, rate in enumerate(series):
        cosine = RATE * (1 + np.cos(np.pi * step / total)) / 2
        ramp = 1.0 if step < begin else FACTOR * min(1.0, (step - begin + 1) / WARMUP)
        assert rate == pytest.approx(cosine * ramp, rel=1e-5), step
    jumps = [abs(after - before) for before, after in pairwise(series)]
    assert int(np.argmax(jumps)) == begin - 1
    assert max(jumps[begin + WARMUP :]) < 1.1 * RATE * FACTOR * np.pi / 2 / total


def test_a_run_killed_inside_the_ramp_ends_with_the_same_bits(whole, tmp_path, monkeypatch):
    folder, runner, summary = whole
    killed_after = runner.steps_per_epoch + 4

    def chunk(self, step, loss, share):
        if step == killed_after:
            raise KeyboardInterrupt

    monkeypatch.setattr(RunProgress, "chunk", chunk)
    with pytest.raises(KeyboardInterrupt):
        make_runner(tmp_path, "run", *OPTIONS).run()
    monkeypatch.undo()
    resumed = make_runner(tmp_path, "run", *OPTIONS).run()
    assert resumed["operations"] == summary["operations"]
    assert lasting_rows(tmp_path / "run" / "metrics.jsonl") == lasting_rows(folder / "run" / "metrics.jsonl")
    first, second = (load_snapshot(RunDirectory(path / "run"), "newest").arrays for path in (folder, tmp_path))
    assert set(first) == set(second)
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


def test_operations_add_up_over_chunks_and_stages(whole, rows):
    _, _, summary = whole
    told = [row["operations"] for row in of(rows, "train")]
    assert told[0] > 0 and told == sorted(set(told))
    assert told[-1] == summary["operations"] == sum(stage["operations"] for stage in summary["stages"])
    by_step = {row["step"]: row["operations"] for row in of(rows, "train")}
    assert all(row["operations"] == by_step[row["step"]] for row in of(rows, "evaluation"))
    shallow, deep = (stage["operations"] / stage["steps"] for stage in summary["stages"])
    assert shallow < deep < 2 * shallow  # scores cost the same at any depth


def test_the_curve_of_quality_over_cost(whole, rows):
    folder, _, summary = whole
    directory = RunDirectory(folder / "run")
    curve = RunLog.read(directory, config.config_of_run(directory)).curve()
    evaluations = of(rows, "evaluation")
    assert curve.step.tolist() == [row["step"] for row in evaluations]
    assert curve.operations.tolist() == [row["operations"] for row in evaluations]
    assert curve.value.tolist() == [row["ndcg@10"] for row in evaluations]
    assert (np.diff(curve.seconds) > 0).all()
    assert curve.seconds[-1] < summary["train_seconds"] - summary["compile_seconds"]
    assert curve.best_within(curve.operations[0], "operations") == curve.value[0]
    assert np.isnan(curve.best_within(0.0, "seconds"))


def test_a_run_that_does_not_know_its_operations_is_compared_by_seconds():
    curve = Curve(*(np.array(row, float) for row in ([1, 2], [1, 2], [np.nan, np.nan], [0.1, 0.2])))
    assert curve.best_within(1.5, "seconds") == 0.1
    with pytest.raises(RunError, match="compare by seconds"):
        curve.best_within(1e9, "operations")
