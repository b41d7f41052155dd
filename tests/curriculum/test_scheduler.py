import math

import numpy as np
import pytest

from curriculum_rec.curriculum.difficulty import Length, Loss, Popularity
from curriculum_rec.curriculum.options import Curriculum
from curriculum_rec.curriculum.ordered_sampling import (
    Boltzmann,
    ImportanceCorrected,
    PrefixWithReplacement,
    Replay,
    SoftPrefix,
    Stratified,
)
from curriculum_rec.curriculum.pacing import Clock, Constant, Linear, OnePass, Plateau
from curriculum_rec.curriculum.quantile import apply_order, quantiles
from curriculum_rec.curriculum.sampling import PADDING, Prefix
from curriculum_rec.curriculum.scheduler import Scheduler
from curriculum_rec.curriculum.state import CurriculumState, Draw
from curriculum_rec.errors import OptionError

TOTAL = 60
ORDERS = ["curriculum", "anti", "random", "standard"]
GROWING = {"pacing": Linear(start=0.1, full_at=0.8), "sampler": Prefix(min_examples=4)}


def make_scheduler(examples, *, order="curriculum", unit="sequence", difficulty=None, seed=3, **options):
    difficulty = None if order == "standard" else (difficulty or Popularity())
    return Scheduler(Curriculum(difficulty, order=order, unit=unit, **(GROWING | options)), examples, seed, TOTAL)


def losses_of(scheduler, draw):
    """Losses that depend on the draw alone."""
    shape = draw.rows.shape if scheduler.curriculum.unit == "sequence" else (*draw.rows.shape, 12)
    return np.random.default_rng(int(draw.rows.sum()) + 10_000).random(shape).astype(np.float32)


def run(scheduler, state, *, step=0, until=TOTAL, at_most=3):
    """Draw until a step; gives (state before, draw, state after) of every draw."""
    history = []
    while step < until:
        draw, after = scheduler.draw(state, step=step, at_most=min(at_most, until - step))
        scheduler.observe(after, draw, losses_of(scheduler, draw))
        history.append((state, draw, after))
        state, step = after, step + len(draw)
    return history


def drawn_examples(scheduler, draw):
    buckets = scheduler.examples.buckets
    return np.concatenate(
        [buckets[b].example[rows[rows != PADDING]] for b, rows in zip(draw.bucket, draw.rows, strict=True)]
    )


def epochs_of(scheduler, history):
    """The examples of every epoch, in order, and the state of its draws; the last epoch may not be complete."""
    epochs = {}
    for _, draw, after in history:
        epochs.setdefault(after.epoch, (after, []))[1].append(drawn_examples(scheduler, draw))
    return [(state, np.concatenate(parts)) for state, parts in epochs.values()]


@pytest.mark.parametrize("order", ORDERS)
def test_an_epoch_is_one_pass_over_the_easiest_that_were_available_when_it_began(tiny_examples, order):
    scheduler = make_scheduler(tiny_examples, order=order)
    history = run(scheduler, scheduler.begin())
    score = Popularity()(tiny_examples, "sequence")
    quantile = apply_order(quantiles(score, seed=3), order, seed=3)
    epochs = epochs_of(scheduler, history)
    assert len(epochs) > 5
    for state, examples in epochs[:-1]:
        expected = np.argsort(quantile)[: state.available] if order != "standard" else np.arange(len(tiny_examples))
        np.testing.assert_array_equal(np.sort(examples), np.sort(expected))
    counts = [state.available for state, _ in epochs]
    assert (np.diff(counts) >= 0).all()
    assert counts[-1] == len(tiny_examples)
    assert order == "standard" or counts[0] == math.ceil(0.1 * len(tiny_examples))


def test_the_share_is_that_of_the_step_at_which_the_epoch_began(tiny_examples):
    scheduler = make_scheduler(tiny_examples)
    step = 0
    for before, draw, after in run(scheduler, scheduler.begin()):
        if after.epoch > before.epoch or step == 0:
            assert draw.share == pytest.approx(
                float(GROWING["pacing"](step, Clock(TOTAL, tiny_examples.batches_per_epoch)))
            )
            assert draw.available == Prefix(min_examples=4).count(draw.share, len(tiny_examples))
        step += len(draw)


@pytest.mark.parametrize("at_most", [1, 2, 5, 100])
def test_a_draw_never_crosses_an_epoch_and_its_size_changes_nothing(tiny_examples, at_most):
    scheduler = make_scheduler(tiny_examples)
    one_by_one = run(scheduler, scheduler.begin(), at_most=1)
    history = run(scheduler, scheduler.begin(), at_most=at_most)
    for before, draw, after in history:
        assert 1 <= len(draw) <= at_most
        begun_at = 0 if after.epoch > before.epoch else before.cursor
        assert after.cursor == begun_at + len(draw)
        assert after.cursor <= len(scheduler.plan(after))
    for name in ("bucket", "rows"):
        pieces = [np.concatenate([getattr(d, name) for _, d, _ in h]) for h in (history, one_by_one)]
        np.testing.assert_array_equal(*pieces)


@pytest.mark.parametrize("unit", ["sequence", "target"])
def test_with_everything_available_all_orders_draw_the_same_batches(tiny_examples, unit):
    orders = ORDERS if unit == "sequence" else ORDERS[:3]
    histories = []
    for order in orders:
        scheduler = make_scheduler(tiny_examples, order=order, unit=unit, pacing=Constant())
        histories.append(run(scheduler, scheduler.begin(), until=20))
    for history in histories[1:]:
        for (_, first, _), (_, other, _) in zip(histories[0], history, strict=True):
            np.testing.assert_array_equal(first.bucket, other.bucket)
            np.testing.assert_array_equal(first.rows, other.rows)


def test_seeds_and_epochs_draw_differently(tiny_examples):
    def rows(seed):
        scheduler = make_scheduler(tiny_examples, order="standard", seed=seed)
        return [examples.tolist() for _, examples in epochs_of(scheduler, run(scheduler, scheduler.begin(), until=16))]

    first, other = rows(1), rows(2)
    assert first == rows(1)
    assert first[0] != other[0]
    assert first[0] != first[1]


@pytest.mark.parametrize("unit", ["sequence", "target"])
@pytest.mark.parametrize("difficulty", [Popularity(), Loss(decay=0.5)])
@pytest.mark.parametrize("stop", [7, 8, 20])
def test_a_restored_state_goes_on_with_the_same_draws(tiny_examples, unit, difficulty, stop):
    scheduler = make_scheduler(tiny_examples, unit=unit, difficulty=difficulty)
    first = run(scheduler, scheduler.begin(), until=stop, at_most=2)
    arrays = {name: array.copy() for name, array in first[-1][-1].arrays().items()}
    went_on = run(scheduler, first[-1][-1], step=stop, at_most=2)

    fresh = make_scheduler(tiny_examples, unit=unit, difficulty=difficulty)
    resumed = run(fresh, CurriculumState.from_arrays(arrays), step=stop, at_most=2)
    for (_, expected, _), (_, got, _) in zip(went_on, resumed, strict=True):
        np.testing.assert_array_equal(got.bucket, expected.bucket)
        np.testing.assert_array_equal(got.rows, expected.rows)
        assert (got.share, got.available) == (expected.share, expected.available)
    assert all(array.size for array in arrays.values())


def test_plain_training_has_no_empty_array_to_store(tiny_examples):
    state = make_scheduler(tiny_examples, order="standard").begin()
    restored = CurriculumState.from_arrays(state.arrays())
    assert set(state.arrays()) == {"position", "share"}
    assert len(restored.quantile) == 0
    assert restored.losses is None


def test_running_loss_of_sequences_by_hand(tiny_examples):
    scheduler = make_scheduler(tiny_examples, difficulty=Loss(decay=3 / 4))
    state = scheduler.begin()
    rows = np.full((2, scheduler.max_batch_size), PADDING, np.int32)
    rows[0, :2], rows[1, :2] = [4, 1], [1, 5]
    losses = np.full(rows.shape, 99, np.float32)
    losses[0, :2], losses[1, :2] = [2, 8], [4, 16]
    scheduler.observe(state, Draw(np.array([2, 2], np.int32), rows, 1.0, state.available), losses)
    units = tiny_examples.buckets[2].example[[4, 1, 5]]
    # A first loss is taken whole, a second one by a quarter.
    assert state.losses.mean[units].tolist() == [2, 3 / 4 * 8 + 1 / 4 * 4, 16]
    assert np.flatnonzero(state.losses.seen).tolist() == sorted(units.tolist())


def test_running_loss_of_targets_knows_only_those_that_were_available(tiny_examples):
    scheduler = make_scheduler(tiny_examples, unit="target", difficulty=Length())
    feeding = make_scheduler(tiny_examples, unit="target", difficulty=Loss(decay=0.0))
    state = scheduler.begin()
    draw, after = scheduler.draw(state, step=0, at_most=1)
    losses = losses_of(scheduler, draw)
    observed = CurriculumState(**{**vars(after), "losses": feeding.begin().losses})
    feeding.observe(observed, draw, losses)

    expected = {}
    bucket = tiny_examples.buckets[draw.bucket[0]]
    for place, row in enumerate(draw.rows[0][draw.rows[0] != PADDING]):
        begin = tiny_examples.target_offsets[bucket.example[row]]
        for position in range(int((bucket.arrays["target"][row] > 0).sum())):
            if after.quantile[begin + position] <= after.available / scheduler.n_units:
                expected[begin + position] = losses[0, place, position]
    assert 0 < len(expected) < (bucket.arrays["target"][draw.rows[0][draw.rows[0] != PADDING]] > 0).sum()
    assert np.flatnonzero(observed.losses.seen).tolist() == sorted(expected)
    for unit, loss in expected.items():
        assert observed.losses.mean[unit] == loss


def test_losses_reorder_the_next_epoch(tiny_examples):
    scheduler = make_scheduler(tiny_examples, difficulty=Loss(decay=0.0), pacing=Linear(start=0.5, full_at=10.0))
    state = scheduler.begin()
    state.losses.mean[:] = np.arange(len(tiny_examples))[::-1]
    state.losses.seen[:] = True
    while not scheduler.epoch_ended(state, step=0):
        _, state = scheduler.draw(state, step=0, at_most=8)
    _, state = scheduler.draw(state, step=0, at_most=1)
    easiest = np.flatnonzero(state.quantile <= 0.5)
    half = len(tiny_examples) // 2
    assert easiest.tolist() == list(range(half, len(tiny_examples)))


def test_targets_are_drawn_with_their_sequences(tiny_examples):
    scheduler = make_scheduler(tiny_examples, unit="target", difficulty=Length())
    state, examples = epochs_of(scheduler, run(scheduler, scheduler.begin()))[0]
    easy = np.argsort(state.quantile)[: state.available]
    owner = np.repeat(np.arange(len(tiny_examples)), np.diff(tiny_examples.target_offsets))
    assert scheduler.n_units == len(owner)
    np.testing.assert_array_equal(np.sort(examples), np.unique(owner[easy]))


def test_target_ranks_lie_in_the_shape_of_the_buckets(tiny_examples):
    scheduler = make_scheduler(tiny_examples, unit="target", difficulty=Length())
    state = scheduler.begin()
    ranks = scheduler.target_ranks(state)
    assert sorted(np.concatenate([grid[grid < 10**6] for grid in ranks]).tolist()) == list(range(scheduler.n_units))
    for grid, bucket in zip(ranks, tiny_examples.buckets, strict=True):
        target = bucket.arrays["target"]
        np.testing.assert_array_equal(grid < 10**6, target > 0)
        # A target with fewer items before it is easier.
        assert grid[:, 0].max() < grid[:, 1][target[:, 1] > 0].min()
    assert make_scheduler(tiny_examples).target_ranks(make_scheduler(tiny_examples).begin()) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": "target"}, "unit=target has no effect"),
        ({"refresh": "step"}, "refresh=step has no effect"),
        ({"refresh": "day"}, "refresh=day"),
        ({"sampler": Boltzmann()}, "sampler=Boltzmann has no effect"),
        ({"order": "curriculum"}, "needs a difficulty"),
        ({"order": "hard"}, "order=hard"),
        ({"unit": "item"}, "unit=item"),
    ],
)
def test_contradictions_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        Curriculum(**options)


@pytest.mark.parametrize("order", ["anti-curr", "anti_curr", "Anti"])
def test_an_order_that_is_none_is_refused(order):
    """understanding-curricula documents "anti-curr", tests for "anti_curr", and trains the easy ones first."""
    with pytest.raises(OptionError, match="must be one of curriculum, anti, random, standard"):
        Curriculum(Length(), order=order)


@pytest.mark.parametrize(
    "sampler",
    [
        PrefixWithReplacement(min_examples=4),
        SoftPrefix(min_examples=4),
        Boltzmann(min_examples=4),
        Replay(min_examples=4),
        Stratified(min_examples=4, strata=3),
        ImportanceCorrected(Boltzmann(min_examples=4)),
    ],
    ids=lambda sampler: type(sampler).__name__,
)
def test_every_sampler_resumes_to_the_same_batches_and_weights(tiny_examples, sampler):
    scheduler = make_scheduler(tiny_examples, sampler=sampler)
    history = run(scheduler, scheduler.begin())
    state, drawn, _ = history[5]
    step = sum(len(draw) for _, draw, _ in history[:5])
    resumed, weighs = make_scheduler(tiny_examples, sampler=sampler), isinstance(sampler, ImportanceCorrected)
    again, _ = resumed.draw(CurriculumState.from_arrays(state.arrays()), step=step, at_most=3)
    np.testing.assert_array_equal(again.rows, drawn.rows)
    np.testing.assert_array_equal(again.bucket, drawn.bucket)
    assert (again.weight is None) == (drawn.weight is None) == (not weighs)
    if weighs:
        np.testing.assert_array_equal(again.weight, drawn.weight)
        assert drawn.weight[drawn.rows != PADDING].min() > 0


def test_one_pass_draws_each_slice_alone_then_everything(tiny_examples):
    scheduler = make_scheduler(tiny_examples, pacing=OnePass(slices=4, full_at=0.5), sampler=Prefix(min_examples=1))
    epochs = epochs_of(scheduler, run(scheduler, scheduler.begin(), at_most=1))
    quantile = quantiles(Popularity()(tiny_examples, "sequence"), seed=3)
    seen = []
    for state, drawn in epochs[:-1]:
        inside = (quantile * len(quantile) > state.skipped) & (quantile * len(quantile) <= state.available)
        np.testing.assert_array_equal(np.sort(drawn), np.flatnonzero(inside))
        seen.append((state.skipped, state.available))
    assert seen[0][0] == 0
    assert {end - begin for begin, end in seen} <= {len(quantile) // 4, len(quantile) // 4 + 1, len(quantile)}
    assert seen[-1] == (0, len(quantile))


def test_a_pacing_by_evaluations_remembers_them_across_a_checkpoint(tiny_examples):
    pacing = Plateau(start=0.25, factor=2.0, patience=1)
    scheduler = make_scheduler(tiny_examples, pacing=pacing, sampler=Prefix(min_examples=1))
    state = scheduler.begin()
    shares = [state.share]
    for value in (0.5, 0.4, 0.3):
        state = scheduler.evaluated(CurriculumState.from_arrays(state.arrays()), value)
        while not scheduler.epoch_ended(state, step=0):
            _, state = scheduler.draw(state, step=0, at_most=10)
        _, state = scheduler.draw(state, step=0, at_most=1)
        shares.append(state.share)
    assert shares == [0.25, 0.25, 0.5, 1.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": "target", "sampler": Replay()}, "Replay does not go with unit=target"),
        ({"pacing": OnePass(), "sampler": SoftPrefix()}, "SoftPrefix does not go with pacing=OnePass"),
    ],
)
def test_combinations_without_meaning_are_refused(tiny_examples, options, message):
    with pytest.raises(OptionError, match=message):
        make_scheduler(tiny_examples, **options)


@pytest.mark.parametrize("unit", ["sequence", "target"])
def test_standard_is_plain_training_whatever_else_says(tiny_examples, unit):
    plain = Scheduler(Curriculum(), tiny_examples, 3, TOTAL)
    sampler = Boltzmann() if unit == "sequence" else Prefix()
    arm = Scheduler(
        Curriculum(Loss(), Linear(start=0.1), sampler, "standard", unit, refresh="step"), tiny_examples, 3, TOTAL
    )
    assert not arm.feeds_on_losses
    for (_, one, _), (_, other, _) in zip(run(plain, plain.begin()), run(arm, arm.begin()), strict=True):
        np.testing.assert_array_equal(one.rows, other.rows)
        assert (one.share, one.available, one.weight) == (other.share, other.available, other.weight)


def test_an_epoch_long_share_lasts_as_long_as_a_pass_over_everything(tiny_examples):
    per_epoch = tiny_examples.batches_per_epoch
    scheduler = make_scheduler(tiny_examples, refresh="epoch", sampler=Prefix(min_examples=1))
    step = 0
    for _, draw, state in run(scheduler, scheduler.begin(), at_most=4):
        begun = step // per_epoch * per_epoch
        assert draw.share == pytest.approx(float(GROWING["pacing"](begun, Clock(TOTAL, per_epoch))))
        assert (step + len(draw) - 1) // per_epoch == step // per_epoch
        step += len(draw)
        assert state.begun >= begun


def test_a_share_by_the_step_is_that_of_the_draw(tiny_examples):
    scheduler = make_scheduler(tiny_examples, refresh="step", sampler=Prefix(min_examples=1))
    step, clock = 0, Clock(TOTAL, tiny_examples.batches_per_epoch)
    for _, draw, after in run(scheduler, scheduler.begin(), at_most=2):
        share = float(GROWING["pacing"](step, clock))
        assert draw.share == pytest.approx(share)
        examples = drawn_examples(scheduler, draw)
        assert (after.quantile[examples] <= draw.available / len(tiny_examples)).all()
        assert len(set(examples)) == len(examples)
        step += len(draw)


@pytest.mark.parametrize("refresh", ["pass", "epoch", "step"])
def test_every_refresh_resumes_to_the_same_batches(tiny_examples, refresh):
    scheduler = make_scheduler(tiny_examples, refresh=refresh)
    history = run(scheduler, scheduler.begin(), at_most=2)
    for number in (3, 9):
        step = sum(len(draw) for _, draw, _ in history[:number])
        restored = CurriculumState.from_arrays(history[number][0].arrays())
        again, _ = make_scheduler(tiny_examples, refresh=refresh).draw(restored, step=step, at_most=2)
        np.testing.assert_array_equal(again.rows, history[number][1].rows)
