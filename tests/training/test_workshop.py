"""Teachers: trained on what they are to see and nothing else, once, and to the same bits after an interruption."""

import json
from dataclasses import replace

import jax
import numpy as np
import optax
import pytest
from flax import nnx
from runs import compose_data, lasting_rows, make_runner
from sklearn.metrics import roc_auc_score

from curriculum_rec import config
from curriculum_rec.curriculum.difficulty import (
    CrossValidated,
    ErrorNorm,
    FirstLearnt,
    Lesson,
    PredictionDepth,
    TransferTeacher,
)
from curriculum_rec.curriculum.difficulty.workshop import STATISTICS
from curriculum_rec.curriculum.options import Curriculum
from curriculum_rec.curriculum.pacing import Linear
from curriculum_rec.data.examples import Bucket, Examples, SequenceExamples
from curriculum_rec.data.splits import Part, Split
from curriculum_rec.errors import OptionError
from curriculum_rec.models import DNN
from curriculum_rec.objectives import Softmax
from curriculum_rec.training.engine import Engine
from curriculum_rec.training.fit import fit
from curriculum_rec.training.interrupt import Interrupted
from curriculum_rec.training.placement import Placement
from curriculum_rec.training.progress import RunProgress
from curriculum_rec.training.score_store import ScoreStore
from curriculum_rec.training.workshop import Bench, TeacherWorkshop, describe, digest_of, first_blocks

N_ITEMS = 40
MODEL = DNN(width=8, depth=1, dropout=0.1)
BENCH = Bench()
"""Teachers of all tests share one program where they are trained for as many steps."""

CUT = SequenceExamples(max_length=12, bucket_lengths=(), positions_per_batch=192)


def build(seed, model=MODEL):
    return model(n_items=N_ITEMS, max_length=12, rngs=nnx.Rngs(seed))


def make_workshop(**options):
    placed = Placement("jit").place()
    options = {"bench": BENCH} | options
    return TeacherWorkshop(build, lambda steps: optax.adam(1e-2), Softmax(64), placed, **options)


@pytest.fixture(scope="module")
def examples(tiny_split):
    """The training examples in one bucket, which takes less compilation than three."""
    return CUT(tiny_split)


@pytest.fixture
def trained_steps(monkeypatch):
    """Count the steps that any engine trains."""
    steps, train = [], Engine.train

    def counted(self, state, position, *, stop_at, **options):
        steps.append(stop_at - int(state.step))
        return train(self, state, position, stop_at=stop_at, **options)

    monkeypatch.setattr(Engine, "train", counted)
    return steps


def test_teachers_share_a_program_and_a_lesson_is_learnt_once(examples, trained_steps):
    workshop = make_workshop(bench=Bench())
    half = np.arange(len(examples)) % 2 == 0
    said = [
        workshop.teach(examples, Lesson(number, 2, taught, 0.5, "epochs"), STATISTICS)
        for number, taught in ((0, half), (1, ~half))
    ]
    assert workshop.bench.engine.traces == 1
    per_epoch = round(examples.batches_per_epoch / 2)
    assert trained_steps == [per_epoch] * 4
    for name in STATISTICS:
        assert said[0][name].shape == (2, len(examples.targets))
        assert said[0][name].dtype == np.float32
        assert (said[0][name] != said[1][name]).any()
    again = workshop.teach(examples, Lesson(0, 2, half.copy(), 0.5, "epochs"), ("rank",))
    np.testing.assert_array_equal(again["rank"], said[0]["rank"])
    assert len(trained_steps) == 4
    workshop.teach(examples, Lesson(0, 2, ~half, 0.5, "epochs"), ("rank",))
    assert len(trained_steps) == 6


def test_a_teacher_depends_on_seed_number_and_nothing_else(examples):
    def loss(seed=0, number=0, other=0):
        workshop = make_workshop(seed=seed).other(other)
        return workshop.teach(examples, Lesson(number, 2), ("loss",))["loss"]

    np.testing.assert_array_equal(loss(), loss())
    losses = [loss(), loss(seed=1), loss(number=1), loss(other=1)]
    for i, first in enumerate(losses):
        assert not any(np.array_equal(first, second) for second in losses[:i])


def test_what_was_said_lies_in_files_that_any_workshop_finds(tmp_path, examples, trained_steps):
    folders = (tmp_path / "run", tmp_path / "common")
    difficulty = ErrorNorm(teachers=2, epochs=2)
    first = difficulty(examples, "target", None, make_workshop(store=ScoreStore(folders)))
    assert len(trained_steps) == 4
    assert len(list(folders[0].glob("*.npz"))) == len(list(folders[1].glob("*.npz"))) == 2
    another_run = ScoreStore((tmp_path / "another", folders[1]))
    second = difficulty(examples, "target", None, make_workshop(store=another_run))
    np.testing.assert_array_equal(first, second)
    assert len(trained_steps) == 4
    assert len(list((tmp_path / "another").glob("*.npz"))) == 2
    for changed in ({"identity": "another model"}, {"seed": 1}, {"precision": "bfloat16"}):
        before = len(trained_steps)
        make_workshop(store=ScoreStore(folders), **changed).teach(examples, Lesson(0, 2), ("error_norm",))
        assert len(trained_steps) == before + 2


def test_a_damaged_file_is_named_and_its_teacher_trained_again(tmp_path, examples, trained_steps):
    store = ScoreStore((tmp_path,))
    first = make_workshop(store=store).teach(examples, Lesson(0, 2), ("loss",))
    (path,) = tmp_path.glob("*.npz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.warns(RuntimeWarning, match="is damaged and not used"):
        second = make_workshop(store=store).teach(examples, Lesson(0, 2), ("loss",))
    np.testing.assert_array_equal(first["loss"], second["loss"])
    assert len(trained_steps) == 4
    assert make_workshop(store=store).teach(examples, Lesson(0, 2), ("loss",))
    assert len(trained_steps) == 4


def test_neither_validation_nor_test_rows_reach_a_teacher(tiny_split, examples):
    data, rng = tiny_split.interactions, np.random.default_rng(0)
    item = data.item.copy()
    later = tiny_split.part != Part.TRAIN
    item[later] = rng.permutation(item[later])
    other = Split(replace(data, item=item), tiny_split.part)
    assert other.hash != tiny_split.hash
    same = CUT(other)
    assert digest_of(same) == digest_of(examples)
    difficulty = TransferTeacher(epochs=2)
    score = difficulty(examples, "target", None, make_workshop())
    np.testing.assert_array_equal(score, difficulty(same, "target", None, make_workshop(bench=Bench())))
    item = data.item.copy()
    item[np.flatnonzero(~later)[5]] = item[np.flatnonzero(~later)[5]] % N_ITEMS + 1
    assert digest_of(CUT(Split(replace(data, item=item), tiny_split.part))) != digest_of(examples)


def test_layers_are_the_model_with_its_first_blocks(examples):
    workshop = make_workshop()
    said = workshop.teach(examples, Lesson(0, 2, asked="layers"), ("rank", "loss"))
    assert said["rank"].shape == (MODEL.depth + 1, len(examples.targets))
    end = workshop.teach(examples, Lesson(0, 2), ("loss",))
    np.testing.assert_array_equal(said["loss"][-1], end["loss"][0])
    assert (said["loss"][0] != said["loss"][1]).any()
    depth = PredictionDepth(epochs=2)(examples, "target", None, workshop)
    first, last = said["rank"] <= 10
    np.testing.assert_array_equal(depth, np.where(last, np.where(first, 0, 1), 2))


def test_first_blocks_touch_blocks_alone():
    params = {"blocks": {"w": np.ones((4, 3))}, "items": {"embedding": np.ones((4, 3))}}
    shapes = jax.tree.map(np.shape, first_blocks(params, 2))
    assert shapes == {"blocks": {"w": (2, 3)}, "items": {"embedding": (4, 3)}}


def test_fit_takes_a_workshop(examples):
    curriculum = Curriculum(FirstLearnt(epochs=2), Linear(start=0.5), order="curriculum")
    options = {"optimizer": optax.sgd(0.1), "steps": 2, "curriculum": curriculum, "placement": "jit"}
    with pytest.raises(OptionError, match="workshop="):
        fit(build(0), Softmax(64), examples, **options)
    assert np.isfinite(fit(build(0), Softmax(64), examples, workshop=make_workshop(), **options).loss).all()


def test_an_interrupted_lesson_leaves_nothing(tmp_path, examples, trained_steps):
    workshop = make_workshop(store=ScoreStore((tmp_path,)), interrupted=lambda: True, run="there")
    with pytest.raises(Interrupted, match="there"):
        workshop.teach(examples, Lesson(0, 2), ("loss",))
    assert len(trained_steps) == 1  # of two epochs
    assert not list(tmp_path.iterdir())


class Killed(BaseException):
    pass


def killed_after(teachers):
    """Die when so many teachers are about to be ready."""
    ready = 0

    def teacher(self, step, total, loss):
        nonlocal ready
        ready += step == total
        if ready == teachers:
            raise Killed

    return teacher


def test_what_died_among_its_teachers_goes_on_with_those_that_were_ready(
    tmp_path, examples, monkeypatch, trained_steps
):
    difficulty, shown = ErrorNorm(teachers=3, epochs=2), RunProgress(0, "none")
    whole = difficulty(examples, "target", None, make_workshop(shown=shown))
    store = ScoreStore((tmp_path,))
    with monkeypatch.context() as patch:
        patch.setattr(RunProgress, "teacher", killed_after(2))
        with pytest.raises(Killed):
            difficulty(examples, "target", None, make_workshop(store=store, shown=shown))
    assert len(list(tmp_path.iterdir())) == 1
    trained_steps.clear()
    np.testing.assert_array_equal(whole, difficulty(examples, "target", None, make_workshop(store=store, shown=shown)))
    assert len(trained_steps) == 2 * 2


def test_options_are_described_as_far_as_they_are_known():
    assert describe(MODEL, otherwise="?") != describe(replace(MODEL, width=16), otherwise="?")
    assert describe(optax.sgd(0.1), otherwise="hash of the configuration") == "hash of the configuration"


TAUGHT = [
    "curriculum=error_norm",
    "curriculum.difficulty.teachers=3",
    "curriculum.sampler.min_examples=8",
    "stages.shallow.epochs=2",
    "stages.deep.epochs=1",
    "evaluation.every_epochs=2",
]


@pytest.mark.slow
def test_a_run_that_dies_among_its_teachers_goes_on_to_the_same_bits(tmp_path, monkeypatch, trained_steps):
    make_runner(tmp_path, "whole", *TAUGHT).run()
    of_whole = len(trained_steps)
    with monkeypatch.context() as patch:
        patch.setattr(RunProgress, "teacher", killed_after(2))
        with pytest.raises(Killed):
            make_runner(tmp_path, "broken", *TAUGHT).run()
    trained_steps.clear()
    make_runner(tmp_path, "broken", *TAUGHT).run()
    assert len(trained_steps) == of_whole - 1  # one teacher was known
    whole, broken = (tmp_path / name / "scores" for name in ("whole", "broken"))
    names = sorted(path.name for path in whole.iterdir())
    assert names == sorted(path.name for path in broken.iterdir())
    assert len(names) == 3
    for name in names:
        assert np.load(whole / name)["values"].tobytes() == np.load(broken / name)["values"].tobytes()
    assert lasting_rows(tmp_path / "whole" / "metrics.jsonl") == lasting_rows(tmp_path / "broken" / "metrics.jsonl")


def test_runs_can_be_asked_by_an_experiment_alone(examples):
    with pytest.raises(OptionError, match="only be asked by an experiment"):
        TransferTeacher(run="there")(examples, "target", None, make_workshop())


def test_the_cache_is_no_part_of_what_an_experiment_is(tmp_path):
    data = compose_data(tmp_path)
    assert config.config_hash(data) == config.config_hash(data | {"score_cache": "elsewhere"})


def noisy_examples(share):
    """Sequences in which each item has one successor, and a mask of the targets that were replaced by random ones."""
    rng = np.random.default_rng(0)
    length, n = 8, 200
    history = (rng.integers(N_ITEMS, size=(n, 1)) + np.arange(length)) % N_ITEMS + 1
    target = history % N_ITEMS + 1
    is_noise = rng.random(target.shape) < share
    wrong = (target + rng.integers(1, N_ITEMS, size=target.shape) - 1) % N_ITEMS + 1
    arrays = {"history": history.astype(np.int32), "target": np.where(is_noise, wrong, target).astype(np.int32)}
    return Examples((Bucket(arrays, np.arange(n, dtype=np.int32), 40),)), is_noise.reshape(-1)


def test_a_cross_validated_loss_finds_planted_noise():
    examples, is_noise = noisy_examples(0.2)
    workshop = make_workshop(bench=Bench())
    workshop.build_model = lambda seed: build(seed, DNN(width=16, depth=1, dropout=0.1))
    score = CrossValidated(repeats=1, folds=2, epochs=30)(examples, "target", None, workshop)
    assert roc_auc_score(is_noise, score) >= 0.8


def test_what_is_kept_is_json_and_arrays(tmp_path):
    store = ScoreStore((tmp_path,))
    description = {"a": [1, None]}
    json.dumps(description)
    store.write(description, {"loss": np.ones((1, 3), np.float32)})
    assert store.read(description, ("loss", "rank")) is None
    np.testing.assert_array_equal(store.read(description, ("loss",))["loss"], np.ones((1, 3)))
    assert not list(tmp_path.glob("*.tmp"))
