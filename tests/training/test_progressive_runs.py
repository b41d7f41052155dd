"""Whole runs that grow, freeze, shrink, and end their stages by rules."""

import json

import numpy as np
import pytest
import runs
from runs import OVERRIDES, lasting_rows, make_runner

from curriculum_rec.errors import OptionError
from curriculum_rec.training.interrupt import Interrupted
from curriculum_rec.training.progress import RunProgress
from curriculum_rec.training.record import RunRecord
from curriculum_rec.training.restore import load_snapshot
from curriculum_rec.training.run_directory import RunDirectory
from curriculum_rec.training.transitions import Transitions

DNN = ["model=dnn", "model.width=8", "model.feed_forward_factor=1", "objective.n_negatives=4"]
FREEZING = [
    *DNN,
    "examples.bucket_lengths=[]",
    "growth=stack",
    "stages.shallow.depth=2",
    "stages.shallow.epochs=2",
    "stages.deep.depth=4",
    "stages.deep.epochs=4",
    "stages/freeze@stages.shallow.freeze=gradual_unfreezing",
    "stages/freeze@stages.deep.freeze=new_blocks_first",
    "stages.deep.freeze.until=0.5",
    "stages/until@stages.deep.until=operation_share",
    "stages.deep.until.at=0.8",
]


STEPS = ["stages.shallow.epochs=null", "stages.shallow.steps=2", "stages.deep.epochs=null", "stages.deep.steps=6"]
MASKED = [
    *DNN,
    *STEPS,
    "examples.bucket_lengths=[]",
    "growth=masked",
    "growth.steps=3",
    "stages.deep.model={width:12}",
    "evaluation.every_epochs=9",
]
PREFIXES = [
    *(word for word in OVERRIDES if not word.startswith(("stages", "growth"))),
    *DNN,
    "examples.bucket_lengths=[]",
    "growth=prefix",
    "growth.allow_lossy=true",
    "stages=prefixes",
    "stages.depth=2",
    "stages.n_stages=2",
    "stages.epochs=null",
    "stages.steps=8",
    "stages.new_alone=1.0",
]
STOPPED = {
    "freezing": (OVERRIDES, FREEZING, (3, 9, 14)),
    "masked": (OVERRIDES, MASKED, (3, 4)),
    "prefixes": (PREFIXES, [], (3, 5)),
}


def snapshot_of(folder):
    return load_snapshot(RunDirectory(folder), "newest")


def rows_of(folder, event):
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [row for row in rows if row["event"] == event]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    runner = make_runner(folder, "run", *FREEZING, "checkpoint_every_steps=1", "keep_checkpoints=1000")
    return folder / "run", runner, runner.run()


def test_what_is_frozen_does_not_move_and_levels_end_where_they_should(finished):
    folder, runner, _ = finished
    per_epoch = runner.steps_per_epoch
    first_of_deep = RunRecord.from_json(snapshot_of(folder).meta["record"]).stage.first_step

    def blocks(step):
        arrays = load_snapshot(RunDirectory(folder), step).arrays
        return {name: np.asarray(array) for name, array in arrays.items() if ".blocks." in name and "curri" not in name}

    def moved(first, last, block):
        before, after = blocks(first), blocks(last)
        return [bool((before[name][block] != after[name][block]).any()) for name in before]

    assert not any(moved(1, per_epoch, 0)) and all(moved(1, per_epoch, 1))
    assert all(moved(per_epoch, 2 * per_epoch, 0))  # gradual unfreezing: one more block after an epoch
    half = first_of_deep + 2 * per_epoch
    for block, learns in enumerate([False, False, True, True]):
        assert moved(first_of_deep + 1, half, block) == [learns] * len(blocks(half))
    assert all(moved(half, half + 1, 0))
    assert {row["recompilations"] for row in rows_of(folder, "speed")} == {0}


def test_a_stage_ends_by_its_rule_and_the_record_says_why(finished):
    folder, runner, summary = finished
    shallow, deep = RunRecord.from_json(snapshot_of(folder).meta["record"]).stages
    assert shallow.steps == 2 * runner.steps_per_epoch
    spent = [standing.operations for standing in deep.evaluations]
    assert spent == sorted(spent)
    assert spent[-2] < 0.8 <= spent[-1] < 1
    assert summary["stages"][1]["steps"] == deep.evaluations[-1].step - deep.first_step < 4 * runner.steps_per_epoch
    losses = [row["loss"] for row in rows_of(folder, "train")]
    assert all(min(losses) <= standing.loss <= max(losses) for standing in shallow.evaluations + deep.evaluations)


def test_all_steps_at_their_greatest_length_are_all_the_planned_operations(finished):
    folder, runner, _ = finished
    shallow = RunRecord.from_json(snapshot_of(folder).meta["record"]).stages[0]
    # Whole passes of a stage take what its plan says: 2 epochs of 2 blocks of 2 and 4 epochs of 4.
    of_pass = [
        runner.transitions.operations(runner.experiment.build_model(runner.dataset.inputs, stage=stage)).of_pass(
            runner.engine.scheduler.examples
        )
        for stage in ("shallow", "deep")
    ]
    assert runner.transitions.planned_operations() == pytest.approx(2 * of_pass[0] + 4 * of_pass[1])
    assert shallow.evaluations[-1].operations == pytest.approx(2 * of_pass[0] / runner.transitions.planned_operations())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "stop"), [(name, stop) for name, each in STOPPED.items() for stop in each[2]])
def test_a_run_that_was_stopped_inside_a_level_ends_as_if_it_had_not_been(tmp_path, monkeypatch, name, stop):
    base, words, _ = STOPPED[name]
    make_runner(tmp_path, "whole", *words, base=base).run()
    runner = make_runner(tmp_path, "stopped", *words, "steps_per_dispatch=1", base=base)
    runner.config_hash = make_runner(tmp_path, "whole", *words, base=base).config_hash

    def requested(self, step, loss, share):
        runner._guard.requested = step >= stop

    monkeypatch.setattr(RunProgress, "chunk", requested)
    with pytest.raises(Interrupted):
        runner.run()
    monkeypatch.undo()
    make_runner(tmp_path, "stopped", *words, base=base).run()
    whole, again = (snapshot_of(tmp_path / name) for name in ("whole", "stopped"))
    assert whole.arrays.keys() == again.arrays.keys()
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(array, again.arrays[name], err_msg=name)
    standings = [
        [stage.evaluations for stage in RunRecord.from_json(each.meta["record"]).stages] for each in (whole, again)
    ]
    assert len(standings[0]) == len(standings[1])
    for one, other in zip(*standings, strict=True):
        assert [(s.step, s.metric, s.operations) for s in one] == [(s.step, s.metric, s.operations) for s in other]


@pytest.mark.slow
@pytest.mark.parametrize("placement", ["jit", "pmap", "shard_map"])
def test_masks_rise_in_a_run_and_leave_nothing_behind(tmp_path, placement):
    words = [*MASKED, f"placement={placement}", "checkpoint_every_steps=1", "keep_checkpoints=100"]
    summary = make_runner(tmp_path, "run", *words, "optimizer.weight_decay=0.0").run()
    assert [stage["depth"] for stage in summary["stages"]] == [1, 2]
    at = {step: load_snapshot(RunDirectory(tmp_path / "run"), step).arrays for step in (2, 3, 4, 8)}
    names = {name for name in at[8] if name.startswith("params.")}
    assert names == {name for name in at[2] if name.startswith("params.")}
    # The mask is 0 in the first step of the stage, so that nothing new gets a gradient; afterwards it does.
    gate = "params.blocks.residual.gate"
    assert at[3][gate][0] != at[4][gate][0] and at[3][gate][1] != at[4][gate][1]
    assert at[8]["params.items.embedding"].shape[1] == 12
    (row,) = (row for row in rows_of(tmp_path / "run", "stage") if row["stage"] == "deep")
    assert row["preserves_function"] is True


@pytest.mark.slow
def test_a_run_may_shrink_and_end_with_its_curriculum(tmp_path):
    words = [*DNN, "growth=shrink", "stages.shallow.depth=3", "stages.deep.depth=1", "stages.deep.epochs=1"]
    rule = ["stages/until@stages.shallow.until=curriculum_share", "stages.shallow.until.at=1.0"]
    summary = make_runner(tmp_path, "run", *words, *rule, "curriculum=length", "stages.shallow.epochs=8").run()
    assert [stage["depth"] for stage in summary["stages"]] == [3, 1]
    shallow = RunRecord.from_json(snapshot_of(tmp_path / "run").meta["record"]).stages[0]
    shares = [standing.share for standing in shallow.evaluations]
    assert shares[-1] == 1 and max(shares[:-1]) < 1
    assert len(lasting_rows(tmp_path / "run" / "metrics.jsonl")) > 10


@pytest.mark.slow
def test_blocks_are_dropped_in_a_planned_run(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "OVERRIDES", [word for word in OVERRIDES if not word.startswith("stages")])
    words = ["model/drop=progressive", "model.norm_position=post", "growth.allow_lossy=true", "stages=proportional"]
    plan = ["stages.depths=[1,2]", "stages.epochs=null", "stages.steps=12"]
    summary = make_runner(tmp_path, "run", *DNN, *words, *plan).run()
    assert [(stage["name"], stage["steps"]) for stage in summary["stages"]] == [("depth_1", 4), ("depth_2", 8)]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["growth=copy"], "changes the function of this model.*growth.allow_lossy=true"),
        (["model.norm_position=post"], "post-norm blocks"),
        (["growth=shrink"], "growth=shrink cannot lead from depth 1 to 2"),
        (["growth=partial_stack"], "only 1 blocks"),
        (["growth=prefix"], "growth=prefix begins blocks and head anew"),
        (["growth=masked", "growth.steps=999"], "masks must have risen by the first evaluation of stage 'deep'"),
        (["growth=masked", "model.norm_position=post"], "model.norm_position=pre"),
        (["growth=masked", "optimizer=lazy_adam"], "growth=masked masks columns of the item table"),
        (["stages/freeze@stages.deep.freeze=parts", "stages.deep.freeze.blocks=3"], "only 2 blocks"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(tmp_path, words, sentence):
    with pytest.raises(OptionError, match=sentence):
        make_runner(tmp_path, "run", *DNN, *words).check()


def test_a_rule_that_counts_operations_needs_a_model_that_can(tmp_path, monkeypatch):
    runner = make_runner(tmp_path, "run", *DNN, "stages/until@stages.shallow.until=loss_slope")
    runner.check()
    monkeypatch.setattr(Transitions, "operations", lambda self, model: None)
    with pytest.raises(OptionError, match=r"stages\.shallow\.until counts operations"):
        runner.check()
