import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from curriculum_rec import fit
from curriculum_rec.curriculum.difficulty import Length, Loss
from curriculum_rec.curriculum.options import Curriculum
from curriculum_rec.curriculum.pacing import Linear
from curriculum_rec.curriculum.sampling import PADDING, Pool
from curriculum_rec.curriculum.scheduler import Scheduler
from curriculum_rec.curriculum.state import CurriculumState
from curriculum_rec.curriculum.taught import Classroom, Taught
from curriculum_rec.curriculum.teachers import OnlineTeacher
from curriculum_rec.errors import OptionError
from curriculum_rec.models import DNN, SASRec
from curriculum_rec.models.batch import Batch
from curriculum_rec.objectives import Softmax
from curriculum_rec.training.placement import Placement
from curriculum_rec.training.probe import Probe
from curriculum_rec.training.state import TrainState

TAUGHT = Taught(arms=4, held_out=3, every=2)
QUANTILE = (np.random.default_rng(1).permutation(56) + 0.5) / 56


def test_arms_are_slices_of_equal_size_and_some_of_each_are_kept_apart():
    assert np.bincount(TAUGHT.arm_of(QUANTILE)).tolist() == [14] * 4
    apart = TAUGHT.kept_apart(QUANTILE)
    assert apart.shape == (4, 3)
    np.testing.assert_array_equal(TAUGHT.arm_of(QUANTILE[apart]), np.arange(4)[:, None] * np.ones(3, int))
    np.testing.assert_allclose(QUANTILE[apart[0]] * 56 - 0.5, [2, 7, 11])  # about the middles of thirds of fourteen


def test_an_arm_s_examples_are_drawn_once_without_those_kept_apart(tiny_examples):
    pool = Pool(tiny_examples, np.ones(56, bool), 1.0, QUANTILE, arm=2)
    counts = TAUGHT.choose(pool, np.random.default_rng(0)).counts
    expected = set(np.flatnonzero(TAUGHT.arm_of(QUANTILE) == 2)) - set(TAUGHT.kept_apart(QUANTILE)[2])
    assert set(np.flatnonzero(counts)) == expected
    assert counts.max() == 1


def test_a_classroom_goes_through_an_array():
    room = Classroom(3, np.arange(4.0), np.arange(4.0) / 7, np.arange(9.0))
    again = Classroom.from_array(room.to_array())
    assert again.arm == 3
    for name in ("probability", "score", "memory"):
        np.testing.assert_array_equal(getattr(again, name), getattr(room, name))


def test_the_first_look_has_nothing_to_compare_with():
    room = TAUGHT.looked(TAUGHT.begin(), np.arange(4.0))
    assert np.isnan(room.memory).all()
    room = TAUGHT.looked(Classroom(1, np.ones(4) / 4, room.score, room.memory), np.array([0.0, 3, 2, 3]))
    assert room.memory[1] == 2
    assert np.isnan(room.memory).sum() == 3


def teach(scheduler, state, *, step, until):
    """Draw with losses that depend on the step alone."""
    history = []
    while step < until:
        if scheduler.epoch_ended(state, step=step):
            state = scheduler.looked(state, np.random.default_rng(step).random(4))
        draw, state = scheduler.draw(state, step=step, at_most=3)
        history.append((state, draw))
        step += len(draw)
    return history


@pytest.mark.parametrize("order", ["curriculum", "random"])
def test_an_interval_trains_one_arm_and_a_restored_state_goes_on_alike(tiny_examples, order):
    scheduler = Scheduler(Curriculum(Length(), sampler=TAUGHT, order=order), tiny_examples, 3, 60)
    history = teach(scheduler, scheduler.begin(), step=0, until=40)
    arms = set()
    for state, draw in history:
        arm = Classroom.from_array(state.room).arm
        arms.add(arm)
        for number, rows in zip(draw.bucket, draw.rows, strict=True):
            example = tiny_examples.buckets[number].example[rows[rows != PADDING]]
            np.testing.assert_array_equal(TAUGHT.arm_of(state.quantile[example]), arm)
        assert len(draw) <= 2
    assert arms == {0, 1, 2, 3}
    middle = len(history) // 2
    step = sum(len(draw) for _, draw in history[: middle + 1])
    restored = CurriculumState.from_arrays({k: v.copy() for k, v in history[middle][0].arrays().items()})
    again = teach(Scheduler(scheduler.curriculum, tiny_examples, 3, 60), restored, step=step, until=40)
    for (_, first), (_, second) in zip(history[middle + 1 :], again, strict=True):
        np.testing.assert_array_equal(first.rows, second.rows)


def test_examples_of_all_buckets_come_in_one_shape(tiny_examples):
    numbers = np.array([3, 0, 55, 3])
    arrays = {name: array[numbers] for name, array in tiny_examples.in_one_shape().items()}
    assert arrays["target"].shape == (4, 12)
    for number, row in zip(numbers, arrays["target"], strict=True):
        offsets = tiny_examples.target_offsets[number : number + 2]
        np.testing.assert_array_equal(row[row > 0], tiny_examples.targets[slice(*offsets)])


def test_a_look_is_the_mean_loss_of_each_group_and_always_the_same(tiny_examples, tiny_split):
    model = SASRec(width=8, depth=1, dropout=0.0)(n_items=40, max_length=12, rngs=nnx.Rngs(0))
    state, placed = TrainState.create(model, optax.sgd(0.1)), Placement("jit").place()
    groups = np.array([[0, 1, 2], [3, 4, 5]])
    looks = [Probe(Softmax(), tiny_examples, groups, placed, 0)(state) for _ in range(2)]
    np.testing.assert_array_equal(*looks)
    arrays = {name: array[groups.reshape(-1)] for name, array in tiny_examples.in_one_shape().items()}
    logits = np.asarray(model.item_vectors())[1:41]
    for group, value in enumerate(looks[0]):
        means = []
        for row in range(3 * group, 3 * group + 3):
            history, target = arrays["history"][row], arrays["target"][row]
            hidden = np.asarray(model(Batch({"history": jnp.asarray(history[None])}, jnp.ones(1))))[0][target > 0]
            scores = hidden @ logits.T
            scores -= scores.max(axis=1, keepdims=True)
            log_p = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
            means.append(-log_p[np.arange(len(log_p)), target[target > 0] - 1].mean())
        assert value == pytest.approx(np.mean(means), rel=1e-5)


def test_a_look_does_not_carry_on_what_was_seen_before(tiny_examples):
    """CurBench's teacher never resets its count of right answers, so that its reward is an average over all looks."""
    states = []
    for seed in (0, 1):
        model = SASRec(width=8, depth=1, dropout=0.0)(n_items=40, max_length=12, rngs=nnx.Rngs(seed))
        states.append(TrainState.create(model, optax.sgd(0.1)))
    groups, placed = np.array([[0, 1], [2, 3]]), Placement("jit").place()
    probe = Probe(Softmax(), tiny_examples, groups, placed, 0)
    probe(states[0])
    np.testing.assert_array_equal(probe(states[1]), Probe(Softmax(), tiny_examples, groups, placed, 0)(states[1]))


@pytest.mark.slow
def test_training_with_a_teacher_learns(tiny_examples):
    model = DNN(width=8, depth=1)(n_items=40, max_length=12, rngs=nnx.Rngs(0))
    curriculum = Curriculum(Length(), sampler=TAUGHT, order="curriculum")
    options = {"optimizer": optax.adam(0.02), "steps": 30, "placement": "jit", "curriculum": curriculum}
    loss = fit(model, Softmax(), tiny_examples, **options).loss
    assert loss[-5:].mean() < loss[:5].mean()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Taught(arms=1), "arms=1"),
        (lambda: Taught(held_out=0), "held_out=0"),
        (lambda: Taught(every=0), "every=0"),
        (lambda: Taught(arms=40).kept_apart(QUANTILE), "too few"),
        (lambda: Curriculum(Length(), Linear(), TAUGHT, "curriculum"), "Linear has no effect"),
        (
            lambda: Curriculum(Length(), sampler=TAUGHT, order="curriculum", refresh="step"),
            "refresh=step has no effect",
        ),
        (lambda: Curriculum(Loss(), sampler=TAUGHT, order="curriculum"), "must not"),
        (lambda: Curriculum(Length(), sampler=TAUGHT, order="curriculum", unit="target"), "whole sequences"),
        (lambda: OnlineTeacher(rate=2.0), "rate=2"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
