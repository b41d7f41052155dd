"""Training examples against a loop over the histories."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_rec.data.examples import Examples, SequenceExamples, bucket_lengths, pad_left_aligned
from curriculum_rec.data.interactions import clean
from curriculum_rec.data.splits import LeaveOneOut
from curriculum_rec.errors import DataError, OptionError

HISTORY = st.lists(st.integers(1, 9), min_size=1, max_size=14)
HISTORIES = st.lists(HISTORY, min_size=2, max_size=30).filter(
    lambda users: max(map(len, users)) >= 4 and len({item for items in users for item in items}) >= 2
)
OPTIONS = st.builds(
    lambda lengths, longest, positions: SequenceExamples(longest, tuple(lengths), 8 * longest + positions),
    st.lists(st.integers(1, 12), max_size=3),
    st.integers(1, 10),
    st.integers(0, 200),
)


def split_of(histories):
    rows = [(user, item) for user, items in enumerate(histories) for item in items]
    return LeaveOneOut()(clean(pl.DataFrame(rows, schema=["user", "item"], orient="row"), {}, source="s"))


def expected_examples(split, max_length):
    """Give every user's history and target, as lists, without padding."""
    items, offsets = split.training()
    result = []
    for begin, end in pairwise(offsets):
        recent = items[begin:end][-(max_length + 1) :].tolist()
        if len(recent) >= 2:
            result.append((recent[:-1], recent[1:]))
    return result


@given(HISTORIES, OPTIONS)
def test_examples_are_the_recent_training_history_and_its_shift(histories, options):
    split = split_of(histories)
    examples = options(split)
    expected = expected_examples(split, options.max_length)
    assert len(examples) == len(expected)
    seen = []
    for bucket in examples.buckets:
        history, target = bucket.arrays["history"], bucket.arrays["target"]
        length = history.shape[1]
        assert history.dtype == target.dtype == np.int32
        assert history.shape == target.shape == (len(bucket.example), length)
        assert length in options.lengths
        assert bucket.batch_size % 8 == 0
        assert 8 <= bucket.batch_size <= options.positions_per_batch // length
        shorter = [other for other in options.lengths if other < length]
        for number, inputs, outputs in zip(bucket.example, history.tolist(), target.tolist(), strict=True):
            given_history, given_target = expected[number]
            padding = [0] * (length - len(given_history))
            assert (inputs, outputs) == (given_history + padding, given_target + padding)
            assert len(given_history) > max(shorter, default=0)  # the smallest bucket that holds it
            seen.append(int(number))
    assert sorted(seen) == list(range(len(expected)))


@given(HISTORIES, OPTIONS)
def test_nothing_held_out_leaks(histories, options):
    # Give every held-out row an item of its own: none of them may occur in an example.
    marked = [
        items if len(items) < 3 else [*items[:-2], 100 + 2 * user, 101 + 2 * user]
        for user, items in enumerate(histories)
    ]
    split = split_of(marked)
    examples = options(split)
    used = {int(item) for bucket in examples.buckets for array in bucket.arrays.values() for item in np.unique(array)}
    held_out = set(split.interactions.item[split.part > 0].tolist())
    assert held_out
    assert not used & held_out
    assert examples.item_counts[sorted(held_out)].sum() == 0
    assert examples.item_counts.sum() == (split.part == 0).sum()


@given(HISTORIES, OPTIONS, st.randoms(use_true_random=False))
def test_flat_targets_agree_with_a_loop(histories, options, random):
    split = split_of(histories)
    examples = options(split)
    expected = [target for _, target in expected_examples(split, options.max_length)]
    flat = [item for target in expected for item in target]
    assert examples.targets.tolist() == flat
    assert np.diff(examples.target_offsets).tolist() == [len(target) for target in expected]
    assert examples.target_offsets[0] == 0
    grids = examples.spread_targets(np.arange(len(flat), dtype=np.float64), padding=-1)
    for number, (bucket, grid) in enumerate(zip(examples.buckets, grids, strict=True)):
        target = bucket.arrays["target"]
        assert grid.shape == target.shape
        assert (grid[target == 0] == -1).all()
        assert examples.targets[grid[target > 0].astype(int)].tolist() == target[target > 0].tolist()
        first = examples.target_offsets[bucket.example]
        assert (grid[:, 0] == first).all()
        rows = np.array(random.choices(range(len(target)), k=5))
        mask, index = examples.target_index(number, rows)
        assert (mask == (target[rows] > 0)).all()
        assert index.tolist() == grid[rows][mask].tolist()


def test_long_histories_keep_their_most_recent_part():
    examples = SequenceExamples(3, (2,), 64)(split_of([[1, 2, 3, 4, 5, 6, 7], [8]]))
    (bucket,) = examples.buckets
    assert bucket.arrays["history"].tolist() == [[2, 3, 4]]
    assert bucket.arrays["target"].tolist() == [[3, 4, 5]]


def test_batches_per_epoch_counts_the_last_short_batch():
    examples = SequenceExamples(4, (2,), 32)(split_of([[1, 2, 3, 4, 5, 6, 7]] * 9 + [[1, 2, 3, 4]] * 17))
    assert [(b.arrays["history"].shape, b.batch_size) for b in examples.buckets] == [((17, 2), 16), ((9, 4), 8)]
    assert examples.batches_per_epoch == 4


@pytest.mark.parametrize(
    ("lengths", "longest", "expected"), [((), 5, (5,)), ((8, 4, 4, 64), 50, (4, 8, 50)), ((50, 60), 50, (50,))]
)
def test_bucket_lengths(lengths, longest, expected):
    assert bucket_lengths(lengths, longest) == expected


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), min_size=1, max_size=8), st.integers(1, 6))
def test_padding_against_slices(pairs, length):
    items = np.arange(1, 11, dtype=np.int32)
    start, stop = np.array([min(pair) for pair in pairs]), np.array([max(pair) for pair in pairs])
    expected = [(items[a:b].tolist()[-length:] + [0] * length)[:length] for a, b in zip(start, stop, strict=True)]
    assert pad_left_aligned(items, start, stop, length).tolist() == expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_length": 0}, "examples.max_length=0"),
        ({"bucket_lengths": (4, 0)}, "examples.bucket_lengths"),
        ({"positions_per_batch": 399}, "at least 400"),
    ],
)
def test_options_out_of_range(options, words):
    with pytest.raises(OptionError, match=words):
        SequenceExamples(**options)


def test_nothing_to_learn_from():
    with pytest.raises(DataError, match="no next item to learn from"):
        SequenceExamples()(split_of([[1, 2, 3], [1]]))


def test_own_arrays():
    examples = Examples.from_arrays({"x": np.ones((5, 2)), "y": np.ones(5)}, batch_size=2)
    assert (len(examples), examples.batches_per_epoch, examples.has_targets) == (5, 3, False)
    with pytest.raises(OptionError, match="no 'target' sequence"):
        _ = examples.targets
    for arrays in ({}, {"x": np.ones(2), "y": np.ones(3)}, {"x": np.ones(0)}):
        with pytest.raises(DataError, match="leading axis"):
            Examples.from_arrays(arrays, batch_size=2)
