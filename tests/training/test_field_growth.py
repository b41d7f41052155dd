"""Whole runs whose fields get more dimensions one by one: what is decided, where it stands, resuming, devices."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import polars as pl
import pytest
import runs
from hydra import compose, initialize_config_module

from curriculum_rec import config
from curriculum_rec.cli import main
from curriculum_rec.errors import OptionError
from curriculum_rec.files import write_text
from curriculum_rec.training.growth_task import RunTask
from curriculum_rec.training.interrupt import Interrupted
from curriculum_rec.training.progress import RunProgress
from curriculum_rec.training.record import RunRecord
from curriculum_rec.training.restore import load_snapshot
from curriculum_rec.training.run_directory import RunDirectory
from curriculum_rec.training.runner import Runner
from curriculum_rec.training.stage_plans import CheckedStages

FEATURES = [f"+features/feature@features.interaction.features.{name}=categorical" for name in ("shape", "noise")]
PLAIN = [
    "task=pointwise",
    "data=rows",
    "examples.batch_size=64",
    "+features/feature@features.interaction.features.x=numeric",
    *FEATURES,
    "model=mlp_classifier",
    "model.hidden=[8]",
    "model.embedding_width=3",
    "objective=logistic",
    "optimizer.learning_rate=0.05",
    "curriculum=none",
    "placement=jit",
    "progress=none",
    "compilation_cache=null",
    "steps_per_dispatch=2",
]
WORDS = [
    *PLAIN,
    "growth=per_field",
    "growth.checks=1",
    "growth.threshold=0.02",
    "growth.batches=2",
    "stages=grow_fields",
    "stages.n_checks=2",
    "stages.epochs=null",
    "stages.steps=24",
    "stages.share=0.667",
]
"""Checks after 8 and 16 steps."""


def write_rows(path, n=400, seed=0):
    """A label that a shape decides with noise, and a column that says nothing."""
    rng = np.random.default_rng(seed)
    shape, noise = rng.integers(0, 6, n), rng.integers(0, 3, n)
    label = (rng.random(n) < np.where(np.isin(shape, [1, 2, 4]), 0.9, 0.1)).astype(int)
    columns = {"x": rng.normal(size=n), "shape": shape, "noise": noise, "label": label}
    pl.DataFrame(columns).write_csv(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fields")
    write_rows(folder / "rows.csv")
    return folder


def compose_data(folder, *words):
    config.register()
    with initialize_config_module("curriculum_rec.conf", version_base="1.3"):
        return config.to_data(compose("train", [*words, f"data.path={folder / 'rows.csv'}"]))


def make_runner(folder, name, *overrides, base=WORDS):
    """Make a runner in a directory of its own; call it again to go on with the same run."""
    data = compose_data(folder, *base, *overrides)
    experiment, directory = config.build_experiment(data, trusted=()), RunDirectory(folder / name)
    if not directory.config.exists():
        directory.create("refuse")
        write_text(directory.config, config.config_text(data))
        directory.unlock()
    opened = partial(config.experiment_of_run, trusted=())
    return Runner(
        experiment, experiment.read(), directory, config.config_hash(data), progress="none",
        open_run=lambda other: opened(other)[0],
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished(folder):
    runner = make_runner(folder, "whole")
    return folder / "whole", runner, runner.run()


def newest(path):
    return load_snapshot(RunDirectory(path), "newest")


def stages_of(path):
    return RunRecord.from_json(newest(path).meta["record"]).stages


def short(widths):
    return {name.rpartition(".")[2]: width for name, width in widths.items()}


def test_what_is_of_use_grows_and_what_says_nothing_stays_narrow(finished):
    path, _, summary = finished
    widths = [short(stage.sizes["embedding_width"]) for stage in stages_of(path)]
    assert widths[0] == {"shape": 1, "noise": 1}
    assert widths[1] == {"shape": 2, "noise": 1}
    assert widths[-1]["noise"] == 1
    arrays = newest(path).arrays
    tables = {array.shape for name, array in arrays.items() if name.startswith("params.fields.")}
    assert tables == {(7, widths[-1]["shape"]), (4, 1)}  # six shapes, three kinds of noise, and what is unknown
    # Numbers 1, the vectors, 8 hidden units, 1 logit.
    size = 7 * widths[-1]["shape"] + 4 + (1 + widths[-1]["shape"] + 1 + 1) * 8 + 9
    assert summary["parameters"] == size
    assert summary["test"]["auc"] > 0.8


def test_the_log_and_the_summary_say_what_was_decided_and_why(finished):
    path, _, summary = finished
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["event"] == "stage"]
    first, second = (row["decision"] for row in rows[:2])
    assert first["importance"] == {}
    worth = short(second["importance"])
    assert worth["shape"] > 0.02 > worth["noise"]
    assert rows[1]["preserves_function"] is True and rows[1]["parameters"] == rows[0]["parameters"] + 7 + 8
    for row, stage, record in zip(rows, summary["stages"], stages_of(path), strict=True):
        assert row["sizes"] == stage["sizes"] == record.sizes
        assert row["decision"] == record.decision


def test_a_stage_begins_with_what_the_one_before_computed(folder):
    """With hardly any learning the second stage evaluates as the first did, two dimensions or one."""
    summary = make_runner(folder, "still", "growth.threshold=0.0", "optimizer.learning_rate=1e-9").run()
    losses = [stage["quality"]["log_loss"] for stage in summary["stages"]]
    assert losses == pytest.approx([losses[0]] * 3, abs=1e-6)


def test_commands_build_the_model_that_was_grown(finished, monkeypatch, capsys):
    path, _, summary = finished
    monkeypatch.chdir(path.parent)
    assert main(["evaluate", "run=whole", "output=again.parquet", "compilation_cache=null"]) == 0
    assert f"{summary['test']['auc']:.4f}" in capsys.readouterr().out
    assert pl.read_parquet("again.parquet").equals(pl.read_parquet("whole/evaluation/test.parquet"))
    assert main(["show", "run=whole"]) == 0
    widths = summary["stages"][-1]["sizes"]["embedding_width"]
    said = ", ".join(f"{name} {width}" for name, width in widths.items())
    assert f"embedding_width of the last stage, as growth decided: {said}" in " ".join(capsys.readouterr().out.split())


def stop_at(monkeypatch, runner, stop):
    def requested(self, step, loss, share):
        runner._guard.requested = step >= stop

    monkeypatch.setattr(RunProgress, "chunk", requested)
    with pytest.raises(Interrupted):
        runner.run()
    monkeypatch.undo()


def kill_in_a_check(monkeypatch, runner, number):
    class Killed(BaseException):
        pass

    draw = RunTask.batch

    def batch(self, step):
        if step == number:
            raise Killed
        return draw(self, step)

    monkeypatch.setattr(RunTask, "batch", batch)
    with pytest.raises(Killed):
        runner.run()
    monkeypatch.undo()


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "where", [pytest.param("before", marks=SLOW), "at", "in a check", pytest.param("after", marks=SLOW)]
)
def test_a_run_that_ends_around_a_border_goes_on_to_the_same_bits(finished, tmp_path, monkeypatch, where):
    whole, _, _ = finished
    write_rows(tmp_path / "rows.csv")
    first = make_runner(tmp_path, "parts")
    if where == "in a check":
        kill_in_a_check(monkeypatch, first, 3)  # the second batch of the second check
    else:
        stop_at(monkeypatch, first, {"before": 6, "at": 8, "after": 10}[where])
    make_runner(tmp_path, "parts").run()
    one, other = newest(whole), newest(tmp_path / "parts")
    assert one.arrays.keys() == other.arrays.keys()
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(other.arrays[name], array, err_msg=name)
    records = [RunRecord.from_json(each.meta["record"]).stages for each in (one, other)]
    assert [(s.sizes, s.decision) for s in records[0]] == [(s.sizes, s.decision) for s in records[1]]
    rows = [
        [row for row in map(json.loads, runs.lasting_rows(path / "metrics.jsonl")) if row["event"] == "stage"]
        for path in (whole, tmp_path / "parts")
    ]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("placement", [pytest.param("pmap", marks=SLOW), "shard_map"])
def test_devices_agree_across_borders(finished, tmp_path, placement):
    whole, _, _ = finished
    write_rows(tmp_path / "rows.csv")
    make_runner(tmp_path, "run", f"placement={placement}").run()
    one, other = stages_of(whole), stages_of(tmp_path / "run")
    assert [stage.sizes for stage in one] == [stage.sizes for stage in other]
    for a, b in zip(one, other, strict=True):
        assert b.decision["importance"] == pytest.approx(a.decision["importance"], abs=1e-4)
    arrays = [newest(path).arrays for path in (whole, tmp_path / "run")]
    for name, array in arrays[0].items():
        if name.startswith("params."):
            np.testing.assert_allclose(arrays[1][name], array, atol=1e-3, err_msg=name)


def test_another_run_takes_the_grown_weights(finished, tmp_path):
    whole, _, summary = finished
    widths = RunRecord.from_json(load_snapshot(RunDirectory(whole)).meta["record"]).stage.sizes["embedding_width"]
    write_rows(tmp_path / "rows.csv")
    given = ",".join(f"{name}:{width}" for name, width in short(widths).items())
    words = [f"model.embedding_width={{{given}}}", "stages=single", "stages.train.epochs=1"]
    words += [f"stages.train.warm_start={whole}", "optimizer.learning_rate=1e-9"]
    found = make_runner(tmp_path, "next", *words, base=PLAIN).run()
    assert found["test"]["auc"] == pytest.approx(summary["test"]["auc"])


DEEPFM = [word for word in PLAIN if not word.startswith("model")]


@pytest.mark.parametrize(
    ("base", "words", "sentence"),
    [
        (PLAIN, ["growth=per_field", "growth.checks=2"], "growth.checks=2: this run has 0 borders between stages"),
        (WORDS, ["model.embedding_width=1"], "model.embedding_width lets no field have more"),
        (WORDS, ["growth.checks=3"], "growth.checks=3: this run has 2 borders between stages"),
        (DEEPFM, ["model=deepfm", "growth=per_field", "stages=grow_fields"], "DeepFMModel has none whose widths may"),
        (DEEPFM, ["model=deepfm", "model.embedding_width={shape:1,noise:2}"], "multiplies the vectors of features"),
        (PLAIN, ["model.embedding_width={shape:1,noises:2}"], "model.embedding_width.noises must name one field"),
    ],
)
def test_what_has_no_effect_is_refused_before_anything_is_written(tmp_path, base, words, sentence):
    write_rows(tmp_path / "rows.csv")
    data = compose_data(tmp_path, *base, *words)
    with pytest.raises(OptionError, match=sentence):
        experiment = config.build_experiment(data, trusted=())
        Runner(experiment, experiment.read(), RunDirectory(tmp_path / "run"), "x", progress="none").check()


def test_models_of_items_are_refused(tmp_path):
    words = ["growth=per_field", "stages=grow_fields"]
    base = [word for word in runs.CHEAP if not word.startswith("growth")]
    with pytest.raises(OptionError, match="DNNModel has none whose widths may differ"):
        runs.make_runner(tmp_path, "run", *words, base=base).check()


@pytest.mark.parametrize(
    ("stage", "sentence"),
    [
        ({"warm_start": "elsewhere"}, "stages.rest: FieldGrowth decides sizes by what this run has trained"),
        ({"begin": "random"}, "leave out warm_start and begin=random"),
        (
            {"model": {"embedding_width": 4}},
            "stages.rest.model changes model.embedding_width, which FieldGrowth decides",
        ),
    ],
)
def test_stages_have_no_say_in_what_growth_decides(folder, stage, sentence):
    experiment = make_runner(folder, "whole").experiment
    stages = {**experiment.stages, "rest": replace(experiment.stages["rest"], **stage)}
    with pytest.raises(OptionError, match=sentence):
        replace(experiment, stages=stages)


def test_checked_stages_add_up():
    stages = CheckedStages(n_checks=3, share=0.5, epochs=None, steps=100).stages()
    assert {name: stage.steps for name, stage in stages.items()} == {
        "check_1": 17,
        "check_2": 17,
        "check_3": 17,
        "rest": 49,
    }
    stages = CheckedStages(n_checks=2, share=0.5, epochs=10.0).stages()
    assert [stage.epochs for stage in stages.values()] == [2.5, 2.5, 5.0]
    for options, sentence in (
        ({"epochs": None, "steps": 3, "n_checks": 12}, "stages.steps=3: too few for 12 checks"),
        ({"steps": 3}, "give exactly one"),
        ({"n_checks": 0}, "stages.n_checks=0"),
        ({"share": 1.0}, "stages.share=1.0"),
    ):
        with pytest.raises(OptionError, match=sentence):
            CheckedStages(**options)
