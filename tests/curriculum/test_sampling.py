import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_rec.curriculum.sampling import PADDING, Prefix
from curriculum_rec.data.examples import Bucket, Examples
from curriculum_rec.errors import OptionError


def drawn_examples(examples, plan):
    """All examples that a plan draws, in order, as numbers among all examples."""
    return np.concatenate(
        [
            examples.buckets[number].example[rows[rows != PADDING]]
            for number, rows in zip(plan.bucket, plan.rows, strict=True)
        ]
    )


@st.composite
def bucketed_examples(draw):
    """Examples in up to three buckets of any size, in shuffled order, and which of them are available."""
    sizes = draw(st.lists(st.integers(1, 20), min_size=1, max_size=3))
    order = np.array(draw(st.permutations(range(sum(sizes)))), np.int32)
    parts = np.split(order, np.cumsum(sizes)[:-1])
    batch_sizes = [draw(st.integers(1, 9)) for _ in sizes]
    available = np.array(draw(st.lists(st.booleans(), min_size=len(order), max_size=len(order))))
    return parts, batch_sizes, available


@given(bucketed_examples(), st.integers(0, 2**31))
def test_an_epoch_draws_every_available_example_exactly_once(case, seed):
    parts, batch_sizes, available = case
    examples = Examples(tuple(Bucket({"x": np.zeros(len(p))}, p, n) for p, n in zip(parts, batch_sizes, strict=True)))
    available[0] = True
    plan = Prefix().plan(examples, available, np.random.default_rng(seed))
    np.testing.assert_array_equal(np.sort(drawn_examples(examples, plan)), np.flatnonzero(available))
    for number, rows in zip(plan.bucket, plan.rows, strict=True):
        assert len(rows) == examples.buckets[number].batch_size
        filled = rows != PADDING
        assert filled[0]
        assert (np.diff(filled.astype(int)) <= 0).all()


def test_the_stream_decides_the_order(tiny_examples):
    everything = np.ones(len(tiny_examples), bool)

    def draw(seed):
        plan = Prefix().plan(tiny_examples, everything, np.random.default_rng(seed))
        return plan.bucket.tolist(), drawn_examples(tiny_examples, plan).tolist()

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


@given(st.integers(1, 500), st.integers(1, 500))
def test_the_count_never_falls_and_keeps_its_bounds(floor, n):
    counts = [Prefix(min_examples=floor).count(share, n) for share in np.linspace(0, 1, 101)]
    assert (np.diff(counts) >= 0).all()
    assert counts[0] == min(floor, n)
    assert counts[-1] == n


@pytest.mark.parametrize(("share", "expected"), [(1 / 3, 3), (0.3, 3), (0.34, 4), (1.0, 9), (0.0, 1)])
def test_the_count_rounds_up_but_not_for_rounding_errors(share, expected):
    assert Prefix(min_examples=1).count(share, 9) == expected


def test_a_floor_below_one_is_refused():
    with pytest.raises(OptionError, match="min_examples=0"):
        Prefix(min_examples=0)
