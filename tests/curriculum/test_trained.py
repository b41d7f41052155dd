from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_rec.curriculum.difficulty import Length, Loss, Popularity
from curriculum_rec.curriculum.hardness_sampling import Pruned
from curriculum_rec.curriculum.options import Curriculum
from curriculum_rec.curriculum.ordered_sampling import Boltzmann, ImportanceCorrected, PrefixWithReplacement
from curriculum_rec.curriculum.pacing import Constant, Linear, OnePass
from curriculum_rec.curriculum.quantile import apply_order, quantiles, undo_order
from curriculum_rec.curriculum.sampling import PADDING, Prefix
from curriculum_rec.curriculum.scheduler import Scheduler
from curriculum_rec.curriculum.state import CurriculumState
from curriculum_rec.curriculum.trained import N_DECILES, Hardness, effective_size
from curriculum_rec.data.examples import Bucket, Examples


def growing_sequences(n):
    """One sequence of each length from 1 to n, so that its difficulty by length is its number."""
    target = np.tril(np.ones((n, n), np.int32))
    counts = np.array([0, target.sum()])
    return Examples((Bucket({"history": target, "target": target}, np.arange(n, dtype=np.int32), 8),), counts)


def make_scheduler(examples, *, total=6, order="curriculum", difficulty=None, **options):
    options = {"pacing": Linear(start=0.5, full_at=1.0), "sampler": Prefix(min_examples=1)} | options
    difficulty = None if order == "standard" else difficulty or Length()
    return Scheduler(Curriculum(difficulty, order=order, **options), examples, seed=3, total_steps=total)


def epochs_of(scheduler, *, losses=None):
    """Draw a whole run; give the rows of the epochs that ended, and the state after the last draw."""
    state, step, rows = scheduler.begin(), 0, []
    while step < scheduler.total_steps:
        draw, state = scheduler.draw(state, step=step, at_most=min(3, scheduler.total_steps - step))
        step += len(draw)
        if losses is not None:
            scheduler.observe(state, draw, losses(draw))
        if draw.trained is not None:
            rows.append(draw.trained.row(state.decile_losses))
    return rows, state


def test_the_rows_of_a_run_by_hand():
    # Steps 0, 2 and 4 begin an epoch, with shares 1/2, 2/3 and 5/6 of 20 sequences, in batches of 8.
    scheduler = make_scheduler(growing_sequences(20))
    (first, second), state = epochs_of(scheduler)
    assert first == {
        "epoch": 1,
        "share": 1 / 2,
        "available": 10,
        "drawn": 10,
        "effective_size": 10.0,
        "mean_quantile": 5 / 20,
        "deciles": [2, 2, 2, 2, 2, 0, 0, 0, 0, 0],
    }
    assert second["share"] == pytest.approx(2 / 3)
    assert (second["epoch"], second["available"], second["mean_quantile"]) == (2, 14, 7 / 20)
    assert second["deciles"] == [2] * 7 + [0] * 3
    third = scheduler.trained(state)
    assert not scheduler.epoch_ended(state, step=5)
    assert (third.epoch, third.available) == (3, 17)
    assert third.drawn in (8 + 8, 8 + 1)  # two of the three batches of 17


def test_hard_first_trains_the_hard_deciles():
    rows, _ = epochs_of(make_scheduler(growing_sequences(20), order="anti"))
    assert [row["deciles"] for row in rows] == [[0] * 5 + [2] * 5, [0] * 3 + [2] * 7]
    assert [row["mean_quantile"] for row in rows] == [15 / 20, 13 / 20]


def test_a_random_order_trains_all_deciles_alike(tiny_examples):
    scheduler = make_scheduler(growing_sequences(400), order="random", total=30)
    rows, _ = epochs_of(scheduler)
    deciles = np.array(rows[0]["deciles"])
    assert deciles.sum() == 200
    np.testing.assert_allclose(deciles, 20, atol=9)  # three times the standard deviation, sqrt(200 .1 .9 .5) = 3
    assert rows[0]["mean_quantile"] == pytest.approx(1 / 2, abs=0.05)


@pytest.mark.parametrize("order", ["curriculum", "anti", "random"])
@pytest.mark.parametrize("unit", ["sequence", "target"])
@pytest.mark.parametrize("sampler", [Prefix(3), PrefixWithReplacement(3), None], ids=["once", "again", "window"])
def test_deciles_count_what_was_drawn(tiny_examples, order, unit, sampler):
    pacing = OnePass(slices=3, full_at=0.5) if sampler is None else Linear(start=0.3, full_at=1.0)
    options = {"order": order, "unit": unit, "pacing": pacing, "sampler": sampler or Prefix(3), "total": 40}
    scheduler = make_scheduler(tiny_examples, difficulty=Popularity(), **options)
    rank = np.rint(quantiles(Popularity()(tiny_examples, unit), seed=3) * scheduler.n_units - 0.5)
    state, step, expected = scheduler.begin(), 0, np.zeros(N_DECILES)
    while step < 40:
        draw, state = scheduler.draw(state, step=step, at_most=1)
        ((number, rows),) = zip(draw.bucket, draw.rows, strict=True)
        rows = rows[rows != PADDING]
        if unit == "target":
            ordered = np.rint(state.quantile * scheduler.n_units - 0.5)
            units = tiny_examples.target_index(int(number), rows)[1]
            units = units[(ordered[units] >= draw.skipped) & (ordered[units] < draw.available)]
        else:
            units = tiny_examples.buckets[number].example[rows]
        expected += np.bincount((rank[units] * 10 / scheduler.n_units).astype(int), minlength=N_DECILES)
        if draw.trained is not None:
            np.testing.assert_array_equal(draw.trained.deciles, expected)
            assert draw.trained.drawn == expected.sum() > 0
            expected[:] = 0
        step += 1


def test_without_an_order_there_are_no_deciles(tiny_examples):
    rows, _ = epochs_of(make_scheduler(tiny_examples, order="standard", total=30))
    assert len(rows) >= 2
    for row in rows:
        assert "deciles" not in row
        assert row["share"] == 1
        assert row["drawn"] == row["available"] == row["effective_size"] == len(tiny_examples)


def test_repeated_and_weighted_draws_make_the_effective_size_smaller(tiny_examples):
    sampler = ImportanceCorrected(Boltzmann(beta=3.0), max_weight=5.0)
    scheduler = make_scheduler(tiny_examples, sampler=sampler, total=30)
    state, total = scheduler.begin(), {}
    for step in range(len(scheduler.plan(state))):
        draw, state = scheduler.draw(state, step=step, at_most=1)
        for number, rows, weights in zip(draw.bucket, draw.rows, draw.weight, strict=True):
            for row, weight in zip(rows[rows != PADDING], weights, strict=False):
                example = tiny_examples.buckets[number].example[row]
                total[example] = total.get(example, 0) + float(weight)
    weights = np.array(list(total.values()))
    assert draw.trained.effective_size == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert draw.trained.effective_size < draw.trained.drawn == len(tiny_examples)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=20), st.floats(0.1, 10))
def test_effective_size_lies_between_one_and_the_number_and_has_no_scale(weights, scale):
    weights = np.array([1.0, *weights])
    size = effective_size(weights)
    assert 1 - 1e-9 <= size <= len(weights) + 1e-9
    assert effective_size(scale * weights) == pytest.approx(size)


def test_effective_size_by_hand():
    assert effective_size(np.full(7, 3.0)) == pytest.approx(7)
    assert effective_size(np.array([0.0, 5.0])) == 1
    assert effective_size(np.array([3.0, 1.0])) == pytest.approx(16 / 10)
    assert effective_size(np.zeros(3)) == 0


@pytest.mark.parametrize("order", ["curriculum", "anti", "random"])
@pytest.mark.parametrize("n", [1, 9, 10, 137])
def test_every_order_can_be_undone(order, n):
    quantile = quantiles(np.random.default_rng(0).random(n), seed=1)
    np.testing.assert_allclose(undo_order(apply_order(quantile, order, seed=2), order, seed=2), quantile)
    hardness = Hardness.of(apply_order(quantile, order, seed=2), order, seed=2)
    np.testing.assert_array_equal(hardness.rank, np.argsort(np.argsort(quantile)))
    sizes = np.bincount(hardness.decile, minlength=N_DECILES)
    assert n < N_DECILES or sizes.max() - sizes.min() <= 1
    assert (np.diff(hardness.decile[np.argsort(quantile)]) >= 0).all()


@pytest.mark.parametrize("unit", ["sequence", "target"])
def test_losses_by_difficulty_are_means_over_an_epoch_and_survive_a_checkpoint(tiny_examples, unit):
    """The loss of a unit is its number; checkpoints fall inside epochs."""
    number = np.arange(float(len(tiny_examples) if unit == "sequence" else len(tiny_examples.targets)))

    def losses(draw):
        shape = draw.rows.shape if unit == "sequence" else (*draw.rows.shape, 12)
        result = np.zeros(shape, np.float32)
        for out, bucket, rows in zip(result, draw.bucket, draw.rows, strict=True):
            valid = np.flatnonzero(rows != PADDING)
            if unit == "sequence":
                out[valid] = number[tiny_examples.buckets[bucket].example[rows[valid]]]
            else:
                present, units = tiny_examples.target_index(int(bucket), rows[valid])
                grid = np.zeros(present.shape, np.float32)
                grid[present] = number[units]
                out[valid, : present.shape[1]] = grid
        return result

    options = {"difficulty": Loss(decay=0.5), "unit": unit, "pacing": Constant(), "total": 40}
    scheduler = make_scheduler(tiny_examples, **options)
    state, step, ended = scheduler.begin(), 0, 0
    while step < 40:
        draw, state = scheduler.draw(state, step=step, at_most=1)
        arrays = {name: array.copy() for name, array in state.arrays().items()}
        state, scheduler = CurriculumState.from_arrays(arrays), make_scheduler(tiny_examples, **options)
        scheduler.observe(state, draw, losses(draw))
        step += 1
        if draw.trained is not None:
            decile = Hardness.of(state.quantile, "curriculum", seed=3).decile
            expected = [number[decile == d].mean() for d in range(N_DECILES)]
            np.testing.assert_allclose(draw.trained.row(state.decile_losses)["decile_losses"], expected)
            ended += 1
    assert ended >= 3


def test_a_decile_that_was_not_trained_has_no_loss():
    scheduler = make_scheduler(growing_sequences(20), sampler=Pruned(min_examples=1))
    rows, _ = epochs_of(scheduler, losses=lambda draw: np.ones(draw.rows.shape, np.float32))
    assert rows[0]["decile_losses"] == [1.0] * 5 + [None] * 5
    assert rows[1]["decile_losses"] == [1.0] * 7 + [None] * 3


def test_a_part_of_an_epoch_is_summed_up_as_far_as_it_got():
    scheduler = make_scheduler(growing_sequences(20))
    state = scheduler.begin()
    assert scheduler.trained(state).drawn == 0
    assert scheduler.trained(state).deciles is None
    assert scheduler.trained(replace(state, cursor=2)).drawn == 10
