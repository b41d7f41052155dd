from itertools import pairwise

import numpy as np
import pytest

from curriculum_rec.curriculum.difficulty import Difficulty, Length, Loss, Popularity, RunningLoss, mean_by_example
from curriculum_rec.data.examples import Bucket, Examples
from curriculum_rec.errors import OptionError

TARGETS = [[1, 2, 3], [2], [3, 1]]


@pytest.fixture
def examples():
    """Three sequences, the two short ones in a bucket of their own and in the other order."""
    short, long = np.array([[3, 1], [2, 0]], np.int32), np.array([[1, 2, 3]], np.int32)
    buckets = (
        Bucket({"history": short, "target": short}, np.array([2, 1], np.int32), 8),
        Bucket({"history": long, "target": long}, np.array([0], np.int32), 8),
    )
    return Examples(buckets, item_counts=np.array([0, 4, 3, 1]))


def test_length_counts_the_items_before_the_target(examples):
    assert Length()(examples, "sequence").tolist() == [3, 1, 2]
    assert Length()(examples, "target").tolist() == [1, 2, 3, 1, 1, 2]


def test_popularity_is_the_rarity_of_the_target(examples):
    rarity = {item: -np.log((count + 1 / 2) / (8 + 3 / 2)) for item, count in ((1, 4), (2, 3), (3, 1))}
    difficulty = Popularity(alpha=1 / 2)
    np.testing.assert_allclose(difficulty(examples, "target"), [rarity[item] for row in TARGETS for item in row])
    expected = [sum(rarity[item] for item in row) / len(row) for row in TARGETS]
    np.testing.assert_allclose(difficulty(examples, "sequence"), expected)


def test_popularity_of_an_unseen_item_is_finite(examples):
    unseen = Examples(examples.buckets, item_counts=np.array([0, 4, 3, 0]))
    assert np.isfinite(Popularity()(unseen, "target")).all()


def test_an_unseen_unit_counts_as_average(examples):
    losses = RunningLoss(np.array([1.0, 0.0, 4.0], np.float32), np.array([True, False, True]))
    assert Loss()(examples, "sequence", losses).tolist() == [1, 5 / 2, 4]
    nothing = RunningLoss(np.zeros(3, np.float32), np.zeros(3, bool))
    assert Loss()(examples, "sequence", nothing).tolist() == [0, 0, 0]


def test_mean_by_example_equals_a_loop():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 5, 30)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = rng.random(offsets[-1])
    expected = [values[a:b].mean() for a, b in pairwise(offsets)]
    np.testing.assert_allclose(mean_by_example(values, offsets), expected)


@pytest.mark.parametrize(("difficulty", "decay"), [(Length(), None), (Popularity(), None), (Loss(decay=0.5), 0.5)])
def test_a_difficulty_says_whether_it_feeds_on_losses(difficulty, decay):
    assert isinstance(difficulty, Difficulty)
    assert difficulty.decay == decay


@pytest.mark.parametrize("options", [{"decay": 1.0}, {"decay": -0.1}, {"decay": np.nan}])
def test_decay_out_of_range_is_refused(options):
    with pytest.raises(OptionError, match="decay"):
        Loss(**options)


@pytest.mark.parametrize("alpha", [0.0, -1.0, np.nan])
def test_alpha_out_of_range_is_refused(alpha):
    with pytest.raises(OptionError, match="alpha"):
        Popularity(alpha=alpha)


def test_what_a_difficulty_needs_is_said_when_missing(examples):
    with pytest.raises(OptionError, match="running losses"):
        Loss()(examples, "sequence", None)
    with pytest.raises(OptionError, match="item counts"):
        Popularity()(Examples(examples.buckets), "sequence")


@pytest.mark.parametrize("arrays", [{"x": np.ones(4)}, {"target": np.ones(4, np.int32)}])
def test_length_of_examples_without_sequences_is_refused_by_name(arrays):
    with pytest.raises(OptionError, match="length"):
        Length()(Examples.from_arrays(arrays, batch_size=2), "sequence")
