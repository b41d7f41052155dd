"""Samplers that go by running losses: pruning, whose expected gradient stays, and dynamic hardness."""

import math

import numpy as np
import pytest

from curriculum_rec.curriculum.difficulty import RunningLoss
from curriculum_rec.curriculum.hardness_sampling import DynamicHardness, Pruned
from curriculum_rec.curriculum.options import Curriculum
from curriculum_rec.curriculum.sampling import PADDING, Pool
from curriculum_rec.curriculum.scheduler import Scheduler
from curriculum_rec.curriculum.state import CurriculumState
from curriculum_rec.data.examples import Bucket, Examples
from curriculum_rec.errors import OptionError

N = 101
LOSSES = np.random.default_rng(0).gamma(2.0, 2.0, N).astype(np.float32)


def make_examples(n=N):
    return Examples((Bucket({"x": np.zeros(n)}, np.arange(n, dtype=np.int32), 8),))


def pool(*, losses=LOSSES, seen=None, available=None, progress=0.3, passes=10.0):
    running = RunningLoss(losses, np.ones(len(losses), bool) if seen is None else seen)
    available = np.ones(len(losses), bool) if available is None else available
    return Pool(make_examples(len(losses)), available, 1.0, np.zeros(0), progress, running, passes)


@pytest.mark.parametrize("rate", [0.3, 0.5, 0.9])
def test_pruning_keeps_the_expected_sum_of_the_losses(rate):
    sampler, stream, draws = Pruned(rate=rate), np.random.default_rng(1), 10_000
    sums = np.empty(draws)
    for number in range(draws):
        choice = sampler.choose(pool(), stream)
        sums[number] = (choice.counts * choice.weight * LOSSES).sum(dtype=np.float64)
    assert sums.std() > 0
    assert abs(sums.mean() - LOSSES.sum(dtype=np.float64)) < 4 * sums.std() / math.sqrt(draws)


def test_pruning_takes_exactly_its_part_of_what_is_below_the_mean_of_what_was_seen():
    seen, available = np.arange(N) % 7 > 0, np.arange(N) % 5 > 0
    choice = Pruned(rate=0.6).choose(pool(seen=seen, available=available), np.random.default_rng(0))
    candidates = seen & available
    below = candidates & (LOSSES[candidates].mean() > LOSSES)
    n_kept = math.ceil(0.4 * below.sum())
    assert choice.counts[below].sum() == n_kept
    np.testing.assert_array_equal(choice.counts[available & ~below], 1)
    np.testing.assert_array_equal(choice.counts[~available], 0)
    np.testing.assert_allclose(choice.weight[below & (choice.counts == 1)], below.sum() / n_kept)
    np.testing.assert_array_equal(choice.weight[~below], 1)


@pytest.mark.parametrize("until", [0.875, 0.5])
def test_all_weigh_one_after_the_pruning_whatever_the_number_of_epochs(until):
    """InfoBatch never resets its weights for 50, 90 or 100 epochs: its last epochs keep those of the pruning."""
    examples = make_examples(16)
    for total in range(1, 201):
        curriculum = Curriculum(sampler=Pruned(min_examples=1, rate=0.5, until=until))
        scheduler = Scheduler(curriculum, examples, 0, total * examples.batches_per_epoch)
        first = next(epoch for epoch in range(total + 1) if epoch / total >= until)
        for epoch in {min(first, total - 1), total - 1} if first < total else ():
            losses = RunningLoss(LOSSES[:16], np.ones(16, bool))
            begun, none = epoch * examples.batches_per_epoch, np.zeros(0)
            state = CurriculumState(epoch + 1, 0, begun, None, 1.0, 16, 0, none, none, none, losses, losses)
            plan = scheduler.plan(state)
            np.testing.assert_array_equal(plan.weight, 1)
            assert (plan.take(0, len(plan))[1] != PADDING).sum() == 16


def test_without_losses_nothing_is_pruned():
    choice = Pruned().choose(pool(seen=np.zeros(N, bool)), np.random.default_rng(0))
    np.testing.assert_array_equal(choice.counts, 1)
    np.testing.assert_array_equal(choice.weight, 1)


@pytest.mark.parametrize(
    ("progress", "share"),
    [(0.0, 1), (0.24, 1), (0.25, 1), (0.34, 1), (0.35, 0.9), (0.45, 0.81), (0.85, 0.9**6), (0.95, 0.5), (1.0, 0.5)],
)
def test_dynamic_hardness_draws_its_share_after_the_warm_up(progress, share):
    sampler = DynamicHardness(keep=0.5, factor=0.9, warm_up=0.25)
    choice = sampler.choose(pool(progress=progress), np.random.default_rng(0))
    assert choice.counts.sum() == math.ceil(share * N)
    assert choice.counts.max() == 1
    assert choice.weight is None


@pytest.mark.parametrize("by", ["proportional", "exponential", "beta"])
def test_dynamic_hardness_prefers_what_is_hard_and_not_yet_seen(by):
    seen, available = np.arange(N) != 3, np.arange(N) % 4 != 0
    losses = np.where(np.arange(N) == 3, 0, LOSSES)
    sampler, stream = DynamicHardness(warm_up=0.0, keep=0.3, factor=0.1, by=by), np.random.default_rng(0)
    counts = sum(
        sampler.choose(pool(losses=losses, seen=seen, available=available, progress=1.0), stream).counts
        for _ in range(2000)
    )
    assert counts[~available].sum() == 0
    order = np.argsort(np.where(seen, losses, losses.max()))
    order = order[available[order]]
    low, high = counts[order[:20]].mean(), counts[order[-20:]].mean()
    assert high > 1.2 * low
    assert counts[3] > counts[available].mean()


def test_dynamic_hardness_draws_in_proportion_to_the_running_loss():
    """The first of a draw without replacement has the probabilities themselves."""
    losses, draws = np.array([1.0, 2.0, 3.0, 4.0]), 20_000
    sampler, stream = DynamicHardness(keep=0.25, factor=0.1, warm_up=0.0), np.random.default_rng(2)
    counts = sum(sampler.choose(pool(losses=losses, progress=1.0), stream).counts for _ in range(draws))
    assert counts.sum() == draws
    p = losses / 10
    assert (np.abs(counts / draws - p) < 4 * np.sqrt(p * (1 - p) / draws)).all()


@pytest.mark.parametrize(
    "sampler", [Pruned(min_examples=4), DynamicHardness(min_examples=4, warm_up=0.0, keep=0.3, factor=0.5)], ids=str
)
def test_a_run_that_goes_on_inside_an_epoch_draws_the_same_batches(sampler):
    """The losses that came in since the epoch began must not change its plan."""
    examples, stream = make_examples(64), np.random.default_rng(0)
    scheduler = Scheduler(Curriculum(sampler=sampler), examples, 0, 40)
    state, step, states, draws = scheduler.begin(), 0, [], []
    while step < 40:
        # Each state as a checkpoint would hold it: the losses of the draw before it are in.
        states.append({name: array.copy() for name, array in state.arrays().items()})
        draw, state = scheduler.draw(state, step=step, at_most=1)
        scheduler.observe(state, draw, stream.gamma(2.0, 2.0, draw.rows.shape).astype(np.float32))
        draws.append(draw)
        step += 1
    assert min(len(np.unique(draw.rows[draw.rows != PADDING])) for draw in draws) > 0
    for step, arrays in enumerate(states):
        resumed = Scheduler(Curriculum(sampler=sampler), examples, 0, 40)
        again, _ = resumed.draw(CurriculumState.from_arrays(arrays), step=step, at_most=1)
        np.testing.assert_array_equal(again.rows, draws[step].rows)
        if again.weight is not None:
            np.testing.assert_array_equal(again.weight, draws[step].weight)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pruned(rate=1.0), "rate=1"),
        (lambda: Pruned(until=1.1), "until=1.1"),
        (lambda: Pruned(decay=1.0), "decay=1"),
        (lambda: DynamicHardness(keep=0.0), "keep=0"),
        (lambda: DynamicHardness(factor=1.5), "factor=1.5"),
        (lambda: DynamicHardness(warm_up=-1.0), "warm_up=-1"),
        (lambda: DynamicHardness(by="rank"), "by=rank"),
        (lambda: DynamicHardness(decay=-0.1), "decay=-0.1"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
