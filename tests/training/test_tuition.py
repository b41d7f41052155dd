"""Stages under a teacher: what they train, keep and refuse, and that they go on to the same bits."""

import json

import numpy as np
import pytest
from runs import OVERRIDES, lasting_rows, make_runner, write_sequences

from curriculum_rec.distillation.contract import Needs, Sizes
from curriculum_rec.distillation.distilled import make_parts
from curriculum_rec.errors import CheckpointError, OptionError, RunError
from curriculum_rec.models.structure import split_model
from curriculum_rec.training import score_store
from curriculum_rec.training.progress import RunProgress
from curriculum_rec.training.restore import load_snapshot, snapshot_parameters
from curriculum_rec.training.run_directory import RunDirectory
from curriculum_rec.training.teacher_lists import Frozen, TeacherLists

BASE = [word for word in OVERRIDES if not word.startswith(("stages", "growth", "examples.bucket_lengths"))]
BASE += ["examples.bucket_lengths=[]", "model=dnn", "model.depth=1", "placement=jit"]
STEPS = 8
DISTIL = ["stages=distil", "stages.student.model.width=4", "evaluation.every_epochs=10", "steps_per_dispatch=2"]
DISTIL += [f"stages.{name}.{word}" for name in ("teacher", "student") for word in ("epochs=null", f"steps={STEPS}")]
TERMS, TEACHER = "distillation/term@stages.student.distil.terms", "stages.student.distil.teacher"
LISTS = [
    f"{TERMS}.first=relaxed_ranking",
    "stages.student.distil.terms.first.k=5",
    "stages.student.distil.terms.first.weight=1.0",
    f"+{TERMS}.second=candidate_divergence",
    "stages.student.distil.terms.second.k=4",
    "stages.student.distil.terms.second.n_uniform=6",
]
FEATURES = [f"{TERMS}.first=hidden_state", f"+{TERMS}.second=experts", "stages.student.distil.terms.second.n_experts=3"]
FEATURES += ["checkpoint_every_steps=3"]


def runner(folder, name, *overrides):
    return make_runner(folder, name, *DISTIL, *overrides, base=BASE)


def rows_of(folder, name, event):
    rows = map(json.loads, (folder / name / "metrics.jsonl").read_text().splitlines())
    return [row for row in rows if row["event"] == event]


def newest(folder, name):
    return load_snapshot(RunDirectory(folder / name), "newest").arrays


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tuition")


@pytest.fixture(scope="module")
def features(folder):
    made = runner(folder, "features", *FEATURES)
    made.check()
    return made, made.run()


def test_a_student_learns_from_an_earlier_stage_by_parts_of_its_own(folder, features):
    _, summary = features
    assert [stage["parameters"] for stage in summary["stages"]] == [1609, 677]
    arrays = newest(folder, "features")
    parts = {name for name in arrays if name.startswith("params.distillation.")}
    assert {name.split(".")[2] for name in parts} == {"first", "second"}
    assert not {name for name in arrays if "teacher" in name}
    mine = [row for row in rows_of(folder, "features", "train") if row["step"] > STEPS]
    names = {name for row in mine for name in row if name.startswith("objective/distillation")}
    assert names == {"objective/distillation", *(f"objective/distillation/{n}" for n in ("first", "second"))}
    assert mine[0]["objective/distillation"] == pytest.approx(0.5)
    assert mine[-1]["objective/distillation"] < 0.5


def test_what_teaches_stays_out_of_the_exported_model(folder, features):
    made, _ = features
    snapshot = load_snapshot(RunDirectory(folder / "features"), "newest")
    _, params = snapshot_parameters(snapshot, made.experiment, inputs=made.dataset.inputs)
    assert "distillation" not in params
    assert params["items"]["embedding"].shape[1] == 4


def test_parts_are_trained(folder, features):
    parts = make_parts(features[0].experiment.stages["student"].distil.terms, Sizes(4, 8), seed=0)
    before = split_model(parts)[1]["second"]["up"]["kernel"]
    after = newest(folder, "features")["params.distillation.second.up.kernel"]
    assert np.abs(after - np.asarray(before)).max() > 1e-4


def test_lists_that_are_read_train_as_the_teacher_itself(folder):
    """Uniform items are drawn in the step either way, so that losses are the same up to rounding."""
    for cache in ("always", "never"):
        made = runner(folder, cache, *LISTS, f"stages.student.distil.cache={cache}")
        made.check()
        made.run()
    read, asked = (rows_of(folder, cache, "train") for cache in ("always", "never"))
    for mine, other in zip(read, asked, strict=True):
        for name in ("loss", "gradient_norm"):
            assert mine[name] == pytest.approx(other[name], rel=1e-3)
    assert list((folder / "always" / "scores").glob("*.npz"))
    assert not (folder / "never" / "scores").exists()


@pytest.mark.slow
def test_the_choice_is_made_once(folder, monkeypatch):
    made = runner(folder, "auto", *LISTS)
    made.run()
    record = json.loads((folder / "auto" / "scores" / "distillation_student.json").read_text())
    assert set(record["seconds_a_batch"]) == {"asked", "read"}
    # A run that goes on takes what was decided, whatever it would measure.
    path = folder / "auto" / "scores" / "distillation_student.json"
    monkeypatch.setattr(TeacherLists, "seconds", None)
    lists = TeacherLists(Frozen((), [], []), Needs(best=1), made.dataset.examples, None, made.placed)
    for cached in (True, False):
        path.write_text(json.dumps(record | {"cached": cached}))
        distil = made.experiment.stages["student"].distil
        assert made.tutor._decision(distil, "student", lists, STEPS)[0] == cached


def test_a_teacher_that_weighs_nothing_changes_no_bit(folder):
    plain = runner(folder, "plain", "~stages.student.distil", "+stages.student.distil=null")
    plain.run()
    runner(folder, "weightless", "stages.student.distil.schedule.weight=0.0").run()
    assert_same_run(folder, "weightless", "plain")


class Killed(BaseException):
    """Stands for a process that dies."""


def killed_once(folder, name, words, monkeypatch, *, after):
    seen = 0

    def chunk(self, *args, **kwargs):
        nonlocal seen
        seen += 1
        if seen == after:
            raise Killed

    monkeypatch.setattr(RunProgress, "chunk", chunk)
    with pytest.raises(Killed):
        runner(folder, name, *words).run()
    monkeypatch.undo()


def assert_same_run(folder, a, b):
    assert lasting_rows(folder / a / "metrics.jsonl") == lasting_rows(folder / b / "metrics.jsonl")
    first, second = newest(folder, a), newest(folder, b)
    assert set(first) == set(second)
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


def test_a_student_goes_on_to_the_same_bits(folder, features, monkeypatch):
    killed_once(folder, "features broken", FEATURES, monkeypatch, after=7)
    killed = load_snapshot(RunDirectory(folder / "features broken"), "newest").step
    assert STEPS < killed < 2 * STEPS
    runner(folder, "features broken", *FEATURES).run()
    assert_same_run(folder, "features broken", "features")


@pytest.mark.slow
def test_a_run_that_dies_while_lists_are_written_goes_on_to_the_same_bits(folder, monkeypatch):
    words = [*LISTS, "stages.student.distil.cache=always"]
    written = []

    def die(path, array):
        written.append(path)
        if len(written) == 2:
            raise Killed
        write(path, array)

    write = score_store.write_array
    monkeypatch.setattr(score_store, "write_array", die)
    with pytest.raises(Killed):
        runner(folder, "lists broken", *words).run()
    monkeypatch.undo()
    assert load_snapshot(RunDirectory(folder / "lists broken"), "newest").step == STEPS
    runner(folder, "lists broken", *words).run()
    runner(folder, "lists whole", *words).run()
    assert_same_run(folder, "lists broken", "lists whole")


OTHERS = {
    "average": [f"distillation/teacher@{TEACHER}=average", f"~{TEACHER}.stage", f"{TEACHER}.decay=0.9"],
    "versions": [
        f"distillation/teacher@{TEACHER}=trajectory",
        f"~{TEACHER}.stage",
        f"{TERMS}.first=easy_to_hard",
        "stages.student.distil.terms.first.k=5",
        f"+distillation/teacher@{TEACHER}.versions.weak=stage",
        f"+distillation/teacher@{TEACHER}.versions.strong=stage",
        f"{TEACHER}.versions.weak.stage=teacher",
        f"{TEACHER}.versions.strong.stage=teacher",
        f"{TEACHER}.depth=5",
        f"{TEACHER}.every_epochs=1",
    ],
    "attention": ["model=sasrec", f"{TERMS}.first=attention_maps", "stages.student.distil.terms.first.layers=uniform"],
    "users": [
        "+curriculum/difficulty@stages.student.distil.difficulty=length",
        "+curriculum/pacing@stages.student.distil.pacing=linear",
        "stages.student.distil.schedule.heat=3.0",
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["average", "versions", "users", "attention"])
def test_other_teachers_go_on_to_the_same_bits(folder, monkeypatch, name):
    words = [*OTHERS[name], "checkpoint_every_steps=3"]
    killed_once(folder, f"{name} broken", words, monkeypatch, after=7)
    runner(folder, f"{name} broken", *words).run()
    runner(folder, f"{name} whole", *words).run()
    assert_same_run(folder, f"{name} broken", f"{name} whole")
    rows = [row for row in rows_of(folder, f"{name} whole", "train") if row["step"] > STEPS]
    arrays = newest(folder, f"{name} whole")
    if name == "users":
        shares = [row["objective/distillation/users"] for row in rows]
        assert shares[0] < shares[-1] == 1
    elif name == "attention":
        divergence = [row["objective/distillation/first"] for row in rows]
        assert len(divergence) >= 5
        assert min(divergence) > 0
    elif name == "versions":
        assert arrays["memory.objective.teacher version"].shape == (60,)
        assert (arrays["memory.objective.teacher distance"] >= 0).any()
    else:
        assert int(arrays["memory.objective.teacher steps"]) == STEPS


@pytest.mark.slow
def test_a_finished_run_of_another_model_teaches(folder, features):
    words = [
        "~stages.teacher",
        f"distillation/teacher@{TEACHER}=run",
        f"~{TEACHER}.stage",
        "model=sasrec",
        "model.width=8",
    ]
    words += [f"{TEACHER}.run={folder / 'features'}", *LISTS]
    made = runner(folder, "of a run", *words)
    made.check()
    assert made.run()["stages"][0]["steps"] == STEPS


def test_runs_and_teachers_that_do_not_fit_are_refused(folder, features, tmp_path):
    of_run = ["~stages.teacher", f"distillation/teacher@{TEACHER}=run", f"~{TEACHER}.stage"]
    write_sequences(tmp_path / "sequences.txt", n_items=29)
    with pytest.raises(CheckpointError, match=r"stages\.student\.distil\.teacher\.run=.*another catalogue"):
        runner(tmp_path, "a", *of_run, f"{TEACHER}.run={folder / 'features'}").check()
    (tmp_path / "sequences.txt").unlink()
    write_sequences(tmp_path / "sequences.txt", seed=1)
    with pytest.raises(RunError, match="other data or another split"):
        runner(tmp_path, "b", *of_run, f"{TEACHER}.run={folder / 'features'}").check()
    with pytest.raises(RunError, match="holds no run"):
        runner(tmp_path, "c", *of_run, f"{TEACHER}.run={tmp_path / 'nothing'}").check()
    for words, sentence in (
        (["stages.student.distil.cache=always"], "needs the teacher itself"),
        ([f"{TEACHER}.stage=student"], "it must be an earlier stage; there are: teacher"),
        (["+distillation/term@stages.student.distil.terms.train=soft_binary"], "a plain Python name of its own"),
        (["stages.student.distil.schedule.full_until=2"], "full_until=2"),
    ):
        with pytest.raises(OptionError, match=sentence):
            runner(tmp_path, "d", *words)
    for words, sentence in (
        (["weighting=meta_weight_net"], "does not go with weighting=MetaWeightNet"),
        ([f"+{TERMS}.second=attention_maps"], "DNNModel has none"),
        (["accumulate=2", f"+{TERMS}.second=full_topology"], "set accumulate=1"),
        ([f"+{TERMS}.second=relaxed_ranking"], "asks for 40 items and the catalogue has 30"),
        (
            [f"+{TERMS}.second=hidden_state", "stages.student.distil.terms.second.projection=identity"],
            "the student's vectors have 4 numbers and the teacher's 8",
        ),
    ):
        with pytest.raises(OptionError, match=sentence):
            runner(tmp_path, "d", *words).check()
