from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_rec.curriculum.difficulty import Length
from curriculum_rec.curriculum.mixture import Mixture, apportion
from curriculum_rec.curriculum.options import Curriculum
from curriculum_rec.curriculum.sampling import PADDING, Pool
from curriculum_rec.curriculum.scheduler import Scheduler
from curriculum_rec.errors import OptionError

MIXTURE = Mixture(weights={"a": 3.0, "b": 1.0}, full_at=0.5)


@pytest.fixture
def two_sources(tiny_examples):
    """37 examples of source a and 19 of b."""
    return replace(tiny_examples, source=(np.arange(56) % 3 == 0).astype(np.int64), source_names=("a", "b"))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6).filter(sum), st.integers(0, 1000))
def test_parts_add_up_and_are_off_by_less_than_one(weights, total):
    shares = np.array(weights) / sum(weights)
    parts = apportion(shares, total)
    assert parts.sum() == total
    assert (np.abs(parts - shares * total) < 1).all()


@pytest.mark.parametrize(
    ("progress", "last", "expected"),
    [
        (0.0, None, [3 / 4, 1 / 4]),
        (0.25, None, [(3 / 4 + 2 / 3) / 2, (1 / 4 + 1 / 3) / 2]),
        (0.5, None, [2 / 3, 1 / 3]),
        (1.0, {"a": 0.0, "b": 5.0}, [0, 1]),
    ],
)
def test_shares_by_hand(progress, last, expected):
    mixture = replace(MIXTURE, last_weights=last)
    assert mixture.shares(progress, {"a": 40, "b": 20}) == pytest.approx(expected)


def test_a_pass_draws_each_source_as_often_as_its_share_says(two_sources):
    pool = Pool(two_sources, np.ones(56, bool), 1.0, np.zeros(0), progress=0.0)
    counts = MIXTURE.choose(pool, np.random.default_rng(0)).counts
    assert counts[two_sources.source == 0].sum() == 42
    assert counts[two_sources.source == 1].sum() == 14
    assert set(counts[two_sources.source == 0]) == {1, 2}
    assert set(counts[two_sources.source == 1]) == {0, 1}


def test_at_last_it_is_a_pass_without_a_mixture(two_sources):
    pool = Pool(two_sources, np.ones(56, bool), 1.0, np.zeros(0), progress=0.5)
    assert (MIXTURE.choose(pool, np.random.default_rng(0)).counts == 1).all()


def test_only_what_is_available_is_drawn(two_sources):
    available = np.arange(56) < 30
    pool = Pool(two_sources, available, 0.5, np.zeros(0), progress=0.0)
    counts = MIXTURE.choose(pool, np.random.default_rng(0)).counts
    assert counts.sum() == 30
    assert (counts[~available] == 0).all()


@pytest.mark.parametrize(
    "curriculum", [Curriculum(sampler=MIXTURE), Curriculum(Length(), sampler=MIXTURE, order="anti")]
)
def test_it_goes_with_and_without_a_difficulty(two_sources, curriculum):
    scheduler = Scheduler(curriculum, two_sources, 0, 1000)
    draw, _ = scheduler.draw(scheduler.begin(), step=0, at_most=100)
    drawn = np.concatenate(
        [two_sources.buckets[b].example[r[r != PADDING]] for b, r in zip(draw.bucket, draw.rows, strict=True)]
    )
    assert np.bincount(two_sources.source[drawn]).tolist() == [42, 14]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: Mixture(), "weights is empty"),
        (lambda _: Mixture(weights={"a": -1.0, "b": 1.0}), "at least 0"),
        (lambda _: Mixture(weights={"a": 0.0}), "one above 0"),
        (lambda _: replace(MIXTURE, full_at=0.0), "full_at=0"),
        (lambda examples: MIXTURE.check(replace(examples, source=None)), "choose data=joined"),
        (
            lambda examples: Mixture(weights={"a": 1.0, "c": 1.0}).check(examples),
            "names a, c, but the data's sources are a, b",
        ),
        (lambda _: Curriculum(Length(), sampler=MIXTURE, order="curriculum", unit="target"), "whole sequences"),
    ],
)
def test_what_makes_no_sense_is_refused(two_sources, make, message):
    with pytest.raises(OptionError, match=message):
        make(two_sources)
