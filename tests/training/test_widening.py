"""Whole runs whose model widens between stages."""

import numpy as np
import pytest
from runs import make_runner

from curriculum_rec import config
from curriculum_rec.errors import OptionError
from curriculum_rec.training.restore import load_snapshot
from curriculum_rec.training.run_directory import RunDirectory

SHORT = ["stages.shallow.epochs=1", "stages.deep.epochs=1"]
SMALL = ["model=dnn", "model.width=8", "examples.bucket_lengths=[]"]
WIDER = [*SHORT, *SMALL, "growth=deeper_and_wider", "stages.deep.model={width:16}"]


def stopped_before_training(folder, name, *overrides):
    """A run whose second stage makes one step, by a rate of almost nothing."""
    steps = ["stages.deep.epochs=null", "stages.deep.steps=1", "optimizer.learning_rate=1e-9"]
    return make_runner(folder, name, *WIDER, *overrides, *steps).run()


@pytest.mark.slow
def test_a_stage_that_widens_and_deepens_begins_where_the_one_before_ended(tmp_path):
    stages = stopped_before_training(tmp_path, "run")["stages"]
    assert stages[1]["quality"] == pytest.approx(stages[0]["quality"])
    assert stages[1]["parameters"] > 2 * stages[0]["parameters"]
    arrays = load_snapshot(RunDirectory(tmp_path / "run"), "newest").arrays
    assert arrays["params.blocks.up.kernel"].shape == (2, 16, 64)


@pytest.mark.slow
@pytest.mark.parametrize("placement", ["pmap", "shard_map"])
def test_growth_leaves_arrays_that_any_placement_takes(tmp_path, placement):
    overrides = [
        f"placement={placement}",
        "model=sasrec",
        "model.width=8",
        "growth=padded",
        "model.norm=rms",
        "stages.deep.depth=1",
    ]
    stages = stopped_before_training(tmp_path, "run", *overrides)["stages"]
    assert stages[1]["quality"] == pytest.approx(stages[0]["quality"])


@pytest.mark.slow
def test_a_warm_start_takes_weights_of_a_run_with_shorter_histories(tmp_path):
    words = [
        *SHORT,
        "model=sasrec",
        "model.width=8",
        "examples.bucket_lengths=[]",
        "stages.deep.depth=1",
        "growth=wider",
    ]
    make_runner(tmp_path, "short", *words, "examples.max_length=8").run()
    lent = [f"stages.shallow.warm_start={tmp_path / 'short'}", "optimizer.learning_rate=1e-9"]
    runner = make_runner(tmp_path, "long", *words, *lent)
    runner.open_run = lambda directory: config.experiment_of_run(directory, trusted=())[0]
    runner.run()
    before, after = (
        load_snapshot(RunDirectory(tmp_path / name), which).arrays["params.positions.embedding"]
        for name, which in (("short", "best"), ("long", "newest"))
    )
    np.testing.assert_allclose(after, before[[0, 0, 0, 0, *range(8)]], atol=1e-6)


@pytest.mark.slow
def test_a_run_that_is_killed_while_it_learns_to_grow_ends_alike(tmp_path, monkeypatch):
    words = [*WIDER, "growth=learned", "growth.steps=5", "growth.allow_lossy=true"]
    whole = make_runner(tmp_path, "whole", *words)
    whole.run()
    from curriculum_rec.training.growth_task import RunTask

    class Killed(BaseException):
        pass

    draw = RunTask.batch

    def batch(self, step):
        if step == 3:
            raise Killed
        return draw(self, step)

    monkeypatch.setattr(RunTask, "batch", batch)
    with pytest.raises(Killed):
        make_runner(tmp_path, "killed", *words).run()
    monkeypatch.undo()
    make_runner(tmp_path, "killed", *words).run()
    first, second = (load_snapshot(RunDirectory(tmp_path / name), "newest").arrays for name in ("whole", "killed"))
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(second[name], array, err_msg=name)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["stages.deep.model={width:12}"], "take a multiple of 8"),
        (["growth=padded", "stages.deep.depth=1"], "model.norm=layer subtracts"),
        (["growth=interleave"], "cannot change"),
        (["model=sasrec", "model.width=8", "+stages.deep.model.n_heads=4"], "'head' units would fall from 8 to 4"),
        (["growth=learned"], "growth.allow_lossy=true"),
    ],
)
def test_what_cannot_grow_is_refused_before_anything_is_written(tmp_path, overrides, sentence):
    with pytest.raises(OptionError, match=sentence):
        make_runner(tmp_path, "run", *WIDER, *overrides).check()
