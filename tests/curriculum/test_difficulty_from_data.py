import dataclasses
import itertools

import numpy as np
import polars as pl
import pytest

from curriculum_rec.curriculum.difficulty import (
    Arrival,
    HistoryDistance,
    HistoryEntropy,
    Length,
    Popularity,
    SequenceRarity,
    TimeGap,
    TransitionSurprisal,
    UserActivity,
)
from curriculum_rec.curriculum.difficulty.from_data import entropy_so_far, item_vectors
from curriculum_rec.curriculum.quantile import quantiles
from curriculum_rec.data.examples import Bucket, Examples, SequenceExamples
from curriculum_rec.data.interactions import clean
from curriculum_rec.data.splits import LeaveOneOut
from curriculum_rec.errors import OptionError

SEQUENCES = [[1, 2, 3, 2], [2, 1], [3, 2, 1]]
EVERY = [
    Length(), UserActivity(), Popularity(), SequenceRarity(), SequenceRarity("mean"), TransitionSurprisal(),
    HistoryDistance(), HistoryEntropy(),
]  # fmt: skip


def make_examples(sequences=SEQUENCES, *, counts=(0, 4, 3, 1)):
    """The first sequence in a bucket of its own, the others in another one and in the other order."""

    def bucket(rows, length):
        table = np.zeros((len(rows), length + 1), np.int32)
        for row, number in enumerate(rows):
            table[row, : len(sequences[number])] = sequences[number]
        target = table[:, 1:]
        history = np.where(target > 0, table[:, :-1], 0)
        return Bucket({"history": history, "target": target}, np.array(rows, np.int32), 8)

    rest = list(range(len(sequences) - 1, 0, -1))
    longest = max(len(sequences[number]) for number in rest) - 1
    return Examples((bucket(rest, longest), bucket([0], len(sequences[0]) - 1)), np.array(counts))


def rarity(item, alpha=1.0, counts=(0, 4, 3, 1)):
    return -np.log((counts[item] + alpha) / (sum(counts) + alpha * 3))


def targets_with_history():
    return [(sequence[:end], sequence[end]) for sequence in SEQUENCES for end in range(1, len(sequence))]


def test_users_with_little_are_hard_or_easy():
    expected = -np.log1p(np.repeat([4, 2, 3], [3, 1, 2]))
    np.testing.assert_allclose(UserActivity()(make_examples(), "target"), expected)
    np.testing.assert_allclose(UserActivity(sign=-1)(make_examples(), "target"), -expected)


def test_sequence_rarity_adds_up_all_items_so_far():
    total = [sum(rarity(item) for item in [*history, target]) for history, target in targets_with_history()]
    n_items = [len(history) + 1 for history, _ in targets_with_history()]
    np.testing.assert_allclose(SequenceRarity()(make_examples(), "target"), total)
    np.testing.assert_allclose(SequenceRarity("mean")(make_examples(), "target"), np.array(total) / n_items)
    whole = [sum(rarity(item) for item in sequence) for sequence in SEQUENCES]
    np.testing.assert_allclose(SequenceRarity()(make_examples(), "sequence"), whole)


def test_transition_surprisal_by_hand():
    pairs = [pair for sequence in SEQUENCES for pair in itertools.pairwise(sequence)]
    expected = []
    for before, target in pairs:
        count, total = pairs.count((before, target)), sum(first == before for first, _ in pairs)
        expected.append(-np.log((count + 2.0 * np.exp(-rarity(target))) / (total + 2.0)))
    np.testing.assert_allclose(TransitionSurprisal(kappa=2.0)(make_examples(), "target"), expected)


def test_transition_surprisal_becomes_rarity():
    one, other = TransitionSurprisal(kappa=1e12)(make_examples(), "target"), Popularity()(make_examples(), "target")
    np.testing.assert_allclose(one, other, atol=1e-9)


def test_twice_the_count_is_easier_and_unseen_items_are_finite():
    rare, frequent, unseen = (Popularity()(make_examples(counts=(0, 4, count, 1)), "target")[0] for count in (3, 6, 0))
    assert frequent < rare < unseen < np.inf


def test_time_gap_is_the_time_since_the_item_before():
    frame = pl.DataFrame(
        {"user": [1] * 5 + [2] * 4, "item": [1, 2, 3, 4, 5, 1, 2, 3, 4],
         "timestamp": [0, 3600, 3600, 10_800, 20_000, 50, 50 + 7200, 9000, 9001]}
    )  # fmt: skip
    split = LeaveOneOut()(clean(frame, {}, source="by hand"))
    examples = SequenceExamples(max_length=8, bucket_lengths=(1,), positions_per_batch=64)(split)
    np.testing.assert_allclose(TimeGap()(examples, "target"), np.log1p([1, 0, 2]))
    np.testing.assert_allclose(TimeGap(unit_seconds=60)(examples, "target"), np.log1p([60, 0, 120]))
    shortened = SequenceExamples(max_length=1, bucket_lengths=(1,), positions_per_batch=64)(split)
    np.testing.assert_allclose(TimeGap()(shortened, "target"), np.log1p([0, 2]))


def test_arrival_is_the_time_of_the_target_and_of_a_sequence_its_last():
    examples = dataclasses.replace(make_examples(), times=np.array([5.0, 6.0, 9.0, 7.0, 1.0, 4.0]))
    assert Arrival()(examples, "target").tolist() == [5, 6, 9, 7, 1, 4]
    assert Arrival()(examples, "sequence").tolist() == [9, 7, 4]
    with pytest.raises(OptionError, match="timestamps"):
        Arrival()(make_examples(), "target")


def test_time_gap_without_times_is_refused():
    with pytest.raises(OptionError, match="timestamps"):
        TimeGap()(make_examples(), "target")


def test_history_distance_equals_a_loop_over_the_vectors():
    vectors = item_vectors(make_examples(), 2)
    expected = [
        1 - max(float(vectors[target] @ vectors[item]) for item in history)
        for history, target in targets_with_history()
    ]
    np.testing.assert_allclose(HistoryDistance(width=2)(make_examples(), "target"), expected, atol=1e-12)


def test_items_of_the_same_users_have_like_vectors():
    rng = np.random.default_rng(0)
    sequences = [list(rng.permutation(np.arange(1, 6) + 5 * (number % 2))) for number in range(40)]
    vectors = item_vectors(make_examples(sequences, counts=[0] + [8] * 10), 4)
    cosine = vectors[1:] @ vectors[1:].T
    same = np.equal.outer(np.arange(10) // 5, np.arange(10) // 5)
    assert cosine[same].min() > 0.9
    assert np.abs(cosine[~same]).max() < 0.1
    np.testing.assert_array_equal(vectors[0], 0)


def test_history_distance_finds_what_does_not_belong():
    rng = np.random.default_rng(0)
    sequences = [list(rng.permutation(np.arange(1, 6) + 5 * (number % 2))) for number in range(40)]
    sequences[0] = [1, 2, 3, 4, 10]
    distance = HistoryDistance(width=4)(make_examples(sequences, counts=[0] + [8] * 10), "target")
    assert distance[:4].argmax() == 3
    assert distance[3] > 0.5 > distance[4:].max()


def test_entropy_of_the_history_equals_a_loop():
    group_of = np.array([9, 0, 1, 0])
    expected = []
    for history, _ in targets_with_history():
        share = np.unique(group_of[history], return_counts=True)[1] / len(history)
        expected.append(-(share * np.log(share)).sum())
    examples = make_examples()
    np.testing.assert_allclose(entropy_so_far(group_of[examples.inputs], examples), expected, atol=1e-12)


def test_history_entropy_tells_mixed_tastes_from_one():
    rng = np.random.default_rng(0)
    sequences = [list(rng.permutation(np.arange(1, 6) + 5 * (number % 2))) for number in range(40)]
    sequences[0] = [1, 6, 2, 7, 3]
    scores = HistoryEntropy(clusters=2)(make_examples(sequences, counts=[0] + [8] * 10), "sequence")
    assert scores.argmax() == 0
    assert scores[1:].max() < 1e-9


@pytest.mark.parametrize("difficulty", EVERY, ids=str)
def test_every_score_is_finite_the_same_again_and_ranks_with_mean_one_half(tiny_examples, difficulty):
    for unit, n in (("sequence", len(tiny_examples)), ("target", len(tiny_examples.targets))):
        scores = difficulty(tiny_examples, unit)
        assert scores.shape == (n,)
        assert np.isfinite(scores).all()
        np.testing.assert_array_equal(scores, difficulty(tiny_examples, unit))
        quantile = quantiles(scores, seed=0)
        assert quantile.mean() == pytest.approx(0.5, abs=1e-12)
        dense_rank = np.unique(scores, return_inverse=True)[1].astype(float)
        np.testing.assert_array_equal(quantiles(dense_rank**3, seed=0), quantile)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UserActivity(sign=2), "sign=2"),
        (lambda: SequenceRarity("max"), "reduce=max"),
        (lambda: SequenceRarity(alpha=0.0), "alpha=0"),
        (lambda: TransitionSurprisal(kappa=-1.0), "kappa=-1"),
        (lambda: TimeGap(unit_seconds=0.0), "unit_seconds=0"),
        (lambda: HistoryDistance(width=0), "width=0"),
        (lambda: HistoryEntropy(clusters=1), "clusters=1"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
