"""What examples may carry besides histories: times, similar items, and histories before the same item."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from curriculum_rec.curriculum.length import GrowingLength
from curriculum_rec.data.cooccurrence import SIMILAR, similar_items, with_similar
from curriculum_rec.data.splits import Part
from curriculum_rec.data.times import TIME, history_times
from curriculum_rec.data.twins import TWINS, draw_twins, with_twins
from curriculum_rec.errors import DataError, OptionError


def test_times_are_those_of_the_histories_items(tiny_examples, tiny_split):
    timed = tiny_examples.with_times()
    items, offsets = tiny_split.training()
    timestamp = tiny_split.interactions.timestamp[tiny_split.part == Part.TRAIN]
    for bucket in timed.buckets:
        for row, example in enumerate(bucket.example):
            user = tiny_examples.origin.user[example]
            n = int((bucket.arrays["history"][row] > 0).sum())
            own = slice(offsets[user + 1] - n - 1, offsets[user + 1] - 1)
            np.testing.assert_array_equal(bucket.arrays["history"][row, :n], items[own])
            expected = timestamp[own] - timestamp[own][-1]
            np.testing.assert_array_equal(bucket.arrays[TIME][row, :n], expected.astype(np.float32))
            assert not bucket.arrays[TIME][row, n:].any()
    assert timed.with_times() is timed


def test_parts_of_histories_keep_their_times(tiny_examples):
    cut = GrowingLength(start=4, longer="split").prepare(tiny_examples.with_times())
    parts = [bucket for bucket in cut.buckets if bucket.cut_to is not None]
    assert parts
    for bucket in parts:
        differences = np.diff(bucket.arrays[TIME], axis=1)[bucket.arrays["history"][:, 1:] > 0]
        assert (differences >= 0).all() and differences.any()


def test_without_timestamps_there_are_no_times(tiny_examples):
    with pytest.raises(DataError, match="model.bias=position"):
        replace(tiny_examples, times=None).with_times()
    with pytest.raises(DataError, match="no timestamps"):
        history_times(None, np.zeros(1, int), np.ones(1, int), 1)


def test_similar_items_against_counting_pairs():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 9, 30)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    items = rng.integers(1, 8, offsets[-1]).astype(np.int32)
    counts = np.zeros((8, 8))
    for begin, end in pairwise(offsets):
        for i in range(begin, end):
            for j in range(begin, end):
                if 0 < abs(i - j) <= 2 and items[i] != items[j]:
                    counts[items[i], items[j]] += 1
    occurs = np.bincount(items, minlength=8)
    cosine = counts / np.sqrt(np.maximum(np.outer(occurs, occurs), 1))
    table = similar_items(items, offsets, 3, window=2)
    for item in range(1, 8):
        found = table[item][table[item] > 0]
        assert len(found) == min(3, (counts[item] > 0).sum())
        np.testing.assert_allclose(cosine[item, found], np.sort(cosine[item])[::-1][: len(found)])


def test_histories_carry_the_items_like_theirs(tiny_examples):
    table = similar_items(tiny_examples.inputs, tiny_examples.target_offsets, 2)
    for bucket in with_similar(tiny_examples, 2).buckets:
        np.testing.assert_array_equal(bucket.arrays[SIMILAR], table[bucket.arrays["history"]])


def test_twins_are_followed_by_the_same_item_elsewhere(tiny_examples):
    targets, offsets = tiny_examples.targets, tiny_examples.target_offsets
    drawn = draw_twins(targets, offsets, 3)
    last = offsets[1:] - 1
    assert (targets[drawn] == targets[last][:, None]).all()
    alone = np.bincount(targets)[targets[last]] == 1
    assert ((drawn == last[:, None]).all(axis=1) == alone).all()
    assert not (drawn[~alone] == last[~alone][:, None]).any()
    histories = {}
    for bucket in tiny_examples.buckets:
        for row, example in enumerate(bucket.example):
            histories[int(example)] = bucket.arrays["history"][row]
    owner = np.searchsorted(offsets, drawn, side="right") - 1
    for bucket in with_twins(tiny_examples, 3).buckets:
        for row, example in enumerate(bucket.example):
            for number, (place, whose) in enumerate(zip(drawn[example], owner[example], strict=True)):
                expected = histories[int(whose)][: place - offsets[whose] + 1][-bucket.length :]
                got = bucket.arrays[TWINS][row, :, number]
                np.testing.assert_array_equal(got[: len(expected)], expected)
                assert not got[len(expected) :].any()


def test_pieces_of_histories_have_no_twins(tiny_examples):
    with pytest.raises(OptionError, match="choose longer=cut"):
        GrowingLength(start=4, longer="split").prepare(with_twins(tiny_examples, 2))
