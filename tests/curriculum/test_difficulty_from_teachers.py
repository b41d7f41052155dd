"""Difficulties by what teachers say, the teachers being told what to say."""

import numpy as np
import pytest
from workshops import ToldWorkshop

from curriculum_rec.curriculum import difficulty as difficulties
from curriculum_rec.curriculum.difficulty import (
    AreaUnderMargin,
    Correctness,
    CrossReview,
    CrossValidated,
    DataMap,
    Difficulty,
    ErrorNorm,
    FirstLearnt,
    Forgetting,
    GradientNorm,
    Popularity,
    PredictionDepth,
    ReducibleLoss,
    RunningLoss,
    TransferTeacher,
    Workshop,
)
from curriculum_rec.curriculum.difficulty.workshop import folds
from curriculum_rec.curriculum.options import Curriculum
from curriculum_rec.curriculum.pacing import Linear
from curriculum_rec.curriculum.sampling import PADDING, Prefix
from curriculum_rec.curriculum.scheduler import Scheduler
from curriculum_rec.data.examples import Examples
from curriculum_rec.errors import OptionError

TAUGHT = [
    TransferTeacher(), PredictionDepth(), ErrorNorm(), GradientNorm(), FirstLearnt(), Correctness(), Forgetting(),
    DataMap(), AreaUnderMargin(), CrossValidated(), CrossReview(),
]  # fmt: skip


def saying(**answers):
    """A workshop whose teachers all say the same; an answer is ``[times, n_targets]``, or a row of it for all."""
    return ToldWorkshop(lambda workshop, lesson, name, n: np.broadcast_to(answers[name], (len(answers[name]), n)))


def column(*values):
    return np.array(values)[:, None]


@pytest.mark.parametrize("difficulty", TAUGHT, ids=lambda d: type(d).__name__)
def test_without_a_workshop_they_say_what_they_need(difficulty, tiny_examples):
    assert isinstance(difficulty, Difficulty)
    assert difficulty.decay is None
    with pytest.raises(OptionError, match=f"{type(difficulty).__name__} asks teachers.*workshop="):
        difficulty(tiny_examples, "target", None)
    with pytest.raises(OptionError, match="needs sequences"):
        difficulty(Examples.from_arrays({"x": np.ones(4)}, batch_size=8), "target", None, saying())
    assert isinstance(saying(), Workshop)


def test_a_teacher_is_trained_once_on_everything_and_gives_loss_rank_or_confidence(tiny_examples):
    n_items = len(tiny_examples.item_counts) - 1
    workshop = saying(loss=column(2.5), rank=column(n_items), probability=column(1 / 4))
    for score, expected in (("loss", 5 / 2), ("rank", 1), ("confidence", 3 / 4)):
        got = TransferTeacher(score, epochs=3)(tiny_examples, "target", None, workshop)
        np.testing.assert_allclose(got, expected)
        _, lesson = workshop.lessons[-1]
        assert (lesson.taught, lesson.share, lesson.epochs, lesson.asked) == (None, 1, 3, "end")
    TransferTeacher(run="there")(tiny_examples, "sequence", None, workshop)
    assert workshop.lessons[-1] == ("there", "end")


@pytest.mark.parametrize(
    ("difficulty", "ranks", "expected"),
    [
        (FirstLearnt(epochs=4), (1, 10, 1, 1), 0),
        (FirstLearnt(epochs=4), (11, 11, 11, 11), 1),
        (FirstLearnt(epochs=4), (1, 11, 1, 1), 2 / 4),
        (Correctness(epochs=4), (1, 11, 1, 1), 1 / 4),
        (Correctness(k=11, epochs=4), (1, 11, 1, 1), 0),
        (Forgetting(epochs=5), (11, 10, 11, 9, 12), 2),
        (Forgetting(epochs=2), (11, 12), np.inf),
        (PredictionDepth(), (1, 99, 3), 2),
        (PredictionDepth(), (1, 3, 99), 3),
    ],
)
def test_ranks_over_epochs_or_layers(tiny_examples, difficulty, ranks, expected):
    workshop = saying(rank=column(*ranks))
    assert set(difficulty(tiny_examples, "target", None, workshop)) == {expected}
    lesson = workshop.lessons[0][1]
    assert lesson.asked == ("layers" if isinstance(difficulty, PredictionDepth) else "epochs")
    assert np.isfinite(difficulty(tiny_examples, "sequence", None, workshop)).all()


def test_scores_of_probabilities_and_margins(tiny_examples):
    workshop = saying(probability=column(1 / 4, 3 / 4), margin=column(1.0, -3.0))
    for difficulty, expected in (
        (DataMap(), 1 / 2),
        (DataMap("variability"), 1 / 4),
        (DataMap("ambiguity"), 1 / 4),
        (AreaUnderMargin(), 1),
    ):
        assert set(difficulty(tiny_examples, "target", None, workshop)) == {expected}


def test_norms_are_means_over_teachers(tiny_examples):
    workshop = ToldWorkshop(lambda w, lesson, name, n: np.full((1, n), lesson.number + (name == "hidden_norm")))
    assert set(ErrorNorm(teachers=3)(tiny_examples, "target", None, workshop)) == {1}  # (0 + 1 + 2) / 3
    assert set(GradientNorm(teachers=3)(tiny_examples, "target", None, workshop)) == {8 / 3}  # (0 1 + 1 2 + 2 3) / 3


def of_targets(values, examples):
    return np.repeat(values, np.diff(examples.target_offsets))


def test_a_held_out_loss_is_that_of_a_teacher_who_never_saw_the_sequence(tiny_examples):
    # Teachers say 100 of what they saw and their number of what they did not.
    workshop = ToldWorkshop(
        lambda w, lesson, name, n: np.where(of_targets(lesson.taught, tiny_examples), 100, lesson.number)[None]
    )
    score = CrossValidated(repeats=2, folds=3)(tiny_examples, "target", None, workshop)
    first, second = (folds(len(tiny_examples), 3, seed=0, repeat=repeat) for repeat in (0, 1))
    np.testing.assert_array_equal(score, of_targets((first + 3 + second) / 2, tiny_examples))
    lessons = [lesson for _, lesson in workshop.lessons]
    assert [lesson.number for lesson in lessons] == list(range(6))
    assert {lesson.share for lesson in lessons} == {2 / 3}
    assert (sum(lesson.taught.astype(int) for lesson in lessons) == 4).all()
    assert (first != second).any()


def test_reviewers_are_the_teachers_of_the_other_parts(tiny_examples):
    # A teacher is right of what it saw and wrong of all else, but for teacher 0, who is always right.
    def answer(workshop, lesson, name, n):
        return np.where(of_targets(lesson.taught, tiny_examples) | (lesson.number == 0), 1, 11)[None]

    workshop = ToldWorkshop(answer)
    score = CrossReview(parts=4)(tiny_examples, "target", None, workshop)
    part = folds(len(tiny_examples), 4, seed=0)
    np.testing.assert_array_equal(score, of_targets(np.where(part == 0, 3, 2), tiny_examples))
    assert {lesson.share for _, lesson in workshop.lessons} == {1 / 4}


def test_the_reducible_loss_is_the_students_own_less_what_others_leave(tiny_examples):
    n = len(tiny_examples)
    workshop = ToldWorkshop(lambda w, lesson, name, n: np.full((1, n), 1.0))
    student = RunningLoss(np.arange(n, dtype=np.float32), np.arange(n) != 3)
    score = ReducibleLoss()(tiny_examples, "sequence", student, workshop)
    expected = np.arange(n) - 1.0
    expected[3] = np.delete(expected, 3).mean()
    np.testing.assert_allclose(score, expected)
    with pytest.raises(OptionError, match="running losses"):
        ReducibleLoss()(tiny_examples, "sequence", None, workshop)


def scheduler_of(examples, difficulty, workshop, unit="sequence"):
    curriculum = Curriculum(difficulty, Linear(start=0.3, full_at=1.0), Prefix(4), "curriculum", unit)
    return Scheduler(curriculum, examples, 3, 60, workshop)


def test_the_current_difficulty_comes_from_the_student_and_not_from_a_teacher(tiny_examples):
    workshop = ToldWorkshop(lambda w, lesson, name, n: np.linspace(9, 0, n)[None])
    scheduler = scheduler_of(tiny_examples, ReducibleLoss(decay=0.0), workshop)
    state, step, own = scheduler.begin(), 0, np.random.default_rng(0).permutation(len(tiny_examples)) * 100.0
    for _ in range(40):
        draw, state = scheduler.draw(state, step=step, at_most=1)
        example = tiny_examples.buckets[draw.bucket[0]].example[np.maximum(draw.rows[0], 0)]
        scheduler.observe(state, draw, np.where(draw.rows[0] == PADDING, 0, own[example])[None].astype(np.float32))
        step += 1
    _, state = scheduler.draw(replace_cursor(state), step=step, at_most=1)
    seen = np.flatnonzero(state.losses.seen)
    np.testing.assert_array_equal(np.argsort(state.quantile[seen]), np.argsort(own[seen]))


def replace_cursor(state):
    """End the dynamic epoch at once."""
    from dataclasses import replace

    return replace(state, cursor=10**6)


@pytest.mark.parametrize("unit", ["sequence", "target"])
def test_scores_belong_to_examples_by_number_although_batches_are_shuffled(tiny_examples, unit):
    score = np.random.default_rng(1).permutation(len(tiny_examples.targets)).astype(float)
    workshop = ToldWorkshop(lambda w, lesson, name, n: score[None])
    scheduler = scheduler_of(tiny_examples, TransferTeacher(), workshop, unit)
    state = scheduler.begin()
    if unit == "target":
        ranks = tiny_examples.collect_targets(scheduler.target_ranks(state))
        np.testing.assert_array_equal(ranks, score)
        return
    mean = [part.mean() for part in np.split(score, tiny_examples.target_offsets[1:-1])]
    drawn, step = [], 0
    while not drawn or not scheduler.epoch_ended(state, step=step):
        draw, state = scheduler.draw(state, step=step, at_most=1)
        rows = draw.rows[0][draw.rows[0] != PADDING]
        drawn += tiny_examples.buckets[draw.bucket[0]].example[rows].tolist()
        step += 1
    assert sorted(drawn) == sorted(np.argsort(mean)[: state.available].tolist())


def test_only_some_examples_are_drawn_at_all(tiny_examples):
    only = np.arange(len(tiny_examples)) % 3 == 0
    scheduler = Scheduler(Curriculum(), tiny_examples, 0, 60, only=only)
    plan, drawn = scheduler.plan(scheduler.begin()), []
    for bucket, rows in zip(*plan.take(0, len(plan)), strict=True):
        drawn += tiny_examples.buckets[bucket].example[rows[rows != PADDING]].tolist()
    assert sorted(drawn) == np.flatnonzero(only).tolist()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("TransferTeacher", {"score": "beauty"}),
        ("TransferTeacher", {"epochs": 0}),
        ("FirstLearnt", {"epochs": 1}),
        ("Forgetting", {"k": 0}),
        ("DataMap", {"score": "x"}),
        ("DataMap", {"epochs": 1}),
        ("AreaUnderMargin", {"epochs": 1}),
        ("ErrorNorm", {"teachers": 0}),
        ("PredictionDepth", {"k": 0}),
        ("CrossValidated", {"folds": 1}),
        ("CrossValidated", {"repeats": 0}),
        ("CrossReview", {"parts": 1}),
        ("ReducibleLoss", {"decay": 1.0}),
        ("ReducibleLoss", {"epochs": 0}),
    ],
)
def test_options_out_of_range_are_refused_by_name(name, options):
    with pytest.raises(OptionError, match=f"curriculum.difficulty.{next(iter(options))}="):
        getattr(difficulties, name)(**options)


def test_more_parts_than_sequences_are_refused(tiny_examples):
    with pytest.raises(OptionError, match="56 examples cannot be shared out to 61"):
        CrossReview(parts=61)(tiny_examples, "target", None, saying(rank=column(1)))


def test_data_difficulties_do_not_mind_a_workshop(tiny_examples):
    workshop = saying()
    with_one = Popularity()(tiny_examples, "target", None, workshop)
    np.testing.assert_array_equal(with_one, Popularity()(tiny_examples, "target", None))
    assert not workshop.lessons
