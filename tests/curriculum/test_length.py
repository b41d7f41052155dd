from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_rec.curriculum.length import GrowingLength, bucket_lengths
from curriculum_rec.curriculum.options import Curriculum
from curriculum_rec.curriculum.sampling import PADDING
from curriculum_rec.curriculum.scheduler import Scheduler
from curriculum_rec.data.examples import Bucket, Examples
from curriculum_rec.errors import OptionError

LENGTHS = (4, 8, 16, 32, 50)
TOTAL = 200


def scheduler(examples, **options):
    return Scheduler(Curriculum(**options), examples, 3, TOTAL)


def draws(scheduler, until=TOTAL):
    state, step, all_draws = scheduler.begin(), 0, []
    while step < until:
        draw, state = scheduler.draw(state, step=step, at_most=1)
        all_draws.append(draw)
        step += 1
    return all_draws


def rows_of(scheduler, draw):
    """History and target of every row of a draw's one batch, without padding, and the rows' examples."""
    bucket, rows = scheduler.examples.buckets[draw.bucket[0]], draw.rows[0][draw.rows[0] != PADDING]
    pairs = [
        (h[t > 0], t[t > 0]) for h, t in zip(*(bucket.arrays[n][rows] for n in ("history", "target")), strict=True)
    ]
    return list(zip(bucket.example[rows].tolist(), pairs, strict=True))


@given(start=st.integers(1, 60), full_at=st.floats(1e-3, 5), total=st.integers(1, 10**6), fraction=st.floats(0, 2))
def test_the_length_is_a_bucket_s_and_never_below_the_first_nor_above_the_line(start, full_at, total, fraction):
    growing, step = GrowingLength(start, full_at), int(fraction * full_at * total)
    length = growing.at(step, total, LENGTHS)
    if step >= full_at * total or start >= 50:
        assert length is None
        return
    least = min(bucket for bucket in LENGTHS if bucket >= start)
    assert length in LENGTHS
    assert length >= least
    assert length <= max(least, start + (50 - start) * step / (full_at * total))


def test_rounding_does_not_go_below_the_first_length():
    """DeepSpeed rounds to a multiple and begins with 8 where 10 was asked for."""
    assert GrowingLength(start=10, full_at=1.0).at(0, 100, LENGTHS) == 16


def test_the_length_does_not_jump_to_the_longest_at_once():
    """Composer's documentation takes the greater of the two where it should take the less."""
    lengths = [GrowingLength(start=4, full_at=1.0).at(step, 100, LENGTHS) for step in range(100)]
    assert lengths == sorted(lengths)
    assert set(lengths) == {4, 8, 16, 32}


def test_a_jump_of_the_step_does_not_lag():
    """DeepSpeed's discrete schedule moves on by one stage a call, however far the step has moved."""
    growing = GrowingLength(start=4, full_at=1.0)
    assert growing.at(90, 100, LENGTHS) == 32


@pytest.mark.parametrize("longer", ["cut", "split"])
def test_short_histories_stay_as_they_are_and_long_ones_are_cut(tiny_examples, longer):
    cut = scheduler(tiny_examples, history=GrowingLength(start=4, full_at=0.5, longer=longer))
    whole = {example: pair for draw in draws(scheduler(tiny_examples), 40) for example, pair in rows_of(cut, draw)}
    seen = Counter()
    for draw in draws(cut, 60):
        for example, (history, target) in rows_of(cut, draw):
            long_history, long_target = whole[example]
            if draw.length is None or len(long_target) <= draw.length:
                np.testing.assert_array_equal(target, long_target)
            elif longer == "cut":
                np.testing.assert_array_equal(target, long_target[-draw.length :])
                np.testing.assert_array_equal(history, long_history[-draw.length :])
                seen["cut"] += 1
            else:
                seen["piece"] += 1
            assert draw.length is None or len(target) <= draw.length
    assert seen


def test_pieces_hold_every_pair_exactly_once(tiny_examples):
    for length in bucket_lengths(tiny_examples)[:-1]:
        cut = GrowingLength(start=length, longer="split").prepare(tiny_examples)
        pairs, pieces = Counter(), Counter()
        for bucket in cut.buckets:
            history, target = bucket.arrays["history"], bucket.arrays["target"]
            present = target > 0
            owner = np.broadcast_to(bucket.example[:, None], target.shape)[present].tolist()
            found = Counter(zip(owner, history[present].tolist(), target[present].tolist(), strict=True))
            if bucket.cut_to is None and bucket.length > length:
                pairs += found
            elif bucket.cut_to == length:
                pieces += found
        assert pairs == pieces
        assert pairs


@pytest.mark.parametrize("longer", ["cut", "split"])
def test_targets_keep_their_numbers(tiny_examples, longer):
    cut = GrowingLength(start=4, longer=longer).prepare(tiny_examples)
    grids = cut.spread_targets(tiny_examples.targets, padding=0)
    for bucket, grid in zip(cut.buckets, grids, strict=True):
        np.testing.assert_array_equal(grid, bucket.arrays["target"])
    np.testing.assert_array_equal(cut.targets, tiny_examples.targets)
    np.testing.assert_array_equal(cut.target_offsets, tiny_examples.target_offsets)
    assert len(cut) == len(tiny_examples)
    assert cut.batches_per_epoch == tiny_examples.batches_per_epoch


def test_after_the_warm_up_a_pass_is_that_of_plain_training(tiny_examples):
    """From the first pass after it on, batches are those that plain training draws in a pass of the same number."""
    cut, plain = scheduler(tiny_examples, history=GrowingLength(start=4, full_at=0.1)), scheduler(tiny_examples)
    state, step = cut.begin(), 0
    while state.length is not None:
        _, state = cut.draw(state, step=step, at_most=1)
        step += 1
    other = plain.begin()
    while other.epoch < state.epoch:
        _, other = plain.draw(other, step=0, at_most=100)
    first, second = (s.plan(p).take(0, len(s.plan(p))) for s, p in ((cut, state), (plain, other)))
    np.testing.assert_array_equal(first[0], second[0])
    width = second[1].shape[1]
    np.testing.assert_array_equal(first[1][:, :width], second[1])
    assert (first[1][:, width:] == PADDING).all()


def test_arrays_of_a_person_s_own_go_along(tiny_examples):
    buckets = tuple(
        Bucket({**b.arrays, "age": np.arange(len(b.example)) + 100 * n}, b.example, b.batch_size)
        for n, b in enumerate(tiny_examples.buckets)
    )
    cut = GrowingLength(start=4).prepare(Examples(buckets))
    age = {int(e): int(a) for b in buckets for e, a in zip(b.example, b.arrays["age"], strict=True)}
    for bucket in cut.buckets:
        assert [age[e] for e in bucket.example.tolist()] == bucket.arrays["age"].tolist()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: GrowingLength(start=0), "start=0"),
        (lambda _: GrowingLength(full_at=0.0), "full_at=0"),
        (lambda _: GrowingLength(longer="drop"), "longer=drop"),
        (lambda examples: GrowingLength(start=50).prepare(examples), "start=50 has no effect"),
        (lambda _: GrowingLength().prepare(Examples.from_arrays({"x": np.ones(3)}, batch_size=1)), "needs sequences"),
    ],
)
def test_what_makes_no_sense_is_refused(tiny_examples, make, message):
    with pytest.raises(OptionError, match=message):
        make(tiny_examples)


@pytest.mark.parametrize("longer", ["cut", "split"])
def test_arrays_of_any_type_are_cut_with_their_targets(tiny_examples, longer):
    """Lists of a teacher have one more axis, and facts of targets may be fractions."""
    buckets = []
    for bucket in tiny_examples.buckets:
        target = bucket.arrays["target"]
        more = {"half": (target / 2).astype(np.float32), "listed": np.stack([target, 3 * target], axis=-1)}
        buckets.append(replace(bucket, arrays={**bucket.arrays, **more}))
    cut = GrowingLength(start=4, longer=longer).prepare(replace(tiny_examples, buckets=tuple(buckets)))
    parts = [bucket for bucket in cut.buckets if bucket.cut_to is not None]
    assert parts
    for bucket in parts:
        target = bucket.arrays["target"]
        np.testing.assert_array_equal(bucket.arrays["half"], target / 2)
        np.testing.assert_array_equal(bucket.arrays["listed"], np.stack([target, 3 * target], axis=-1))
        assert (target % 2 == 1).any()
