"""Planted noise: only in the training part, never an item that the user met, as much as asked for, and marked."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_rec.data.examples import SequenceExamples
from curriculum_rec.data.interactions import clean
from curriculum_rec.data.noise import PlantedNoise, planted_interactions
from curriculum_rec.data.splits import LeaveOneOut, Part
from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.mostpop import most_popular_ranks

HISTORIES = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=14), min_size=2, max_size=12).filter(
    lambda users: max(map(len, users)) >= 4 and len({item for items in users for item in items}) >= 2
)
OPTIONS = st.builds(
    PlantedNoise,
    st.floats(0, 0.95),
    st.sampled_from(["uniform", "popularity"]),
    st.sampled_from(["insert", "replace"]),
    st.sampled_from([None, 0.5, 5.0]),
)


def split_of(histories, *, times=False):
    rows = [(user, item, 10 * n) for user, items in enumerate(histories) for n, item in enumerate(items)]
    frame = pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row")
    return LeaveOneOut()(clean(frame if times else frame.drop("timestamp"), {}, source="s"))


def many_users(n_users=400, n_items=300, length=22, seed=3):
    rng = np.random.default_rng(seed)
    weight = 1 / np.arange(1, n_items + 1)
    draws = [rng.choice(n_items, length, replace=False, p=weight / weight.sum()) for _ in range(n_users)]
    return split_of([[*items, user % n_items] for user, items in enumerate(draws)])


def by_user(split, chosen):
    data = split.interactions
    return [data.item[chosen & (data.user == user)].tolist() for user in range(1, data.n_users + 1)]


@given(HISTORIES, OPTIONS, st.integers(0, 5))
def test_what_holds_for_any_history_and_option(histories, noise, seed):
    split = split_of(histories, times=True)
    noisy = noise(split, seed=seed)
    planted, data = noisy.noise, noisy.interactions
    assert (noisy.part[planted] == Part.TRAIN).all()
    assert (np.diff(data.user) >= 0).all()
    for real, later, before in zip(
        by_user(split, split.part >= 0), by_user(noisy, noisy.part > 0), by_user(split, split.part > 0), strict=True
    ):
        assert later == before  # the questions of validation and test are the same
        assert set(real) >= set(later)
    for real, false in zip(by_user(split, split.part >= 0), by_user(noisy, planted), strict=True):
        assert not set(real) & set(false)
        assert len(set(false)) == len(false)
    if noise.how == "insert":
        assert by_user(noisy, ~planted) == by_user(split, split.part >= 0)
    else:
        assert len(noisy.interactions) == len(split.interactions)
        assert (data.item == split.interactions.item)[~planted].all()
        assert all(by_user(noisy, ~planted & (noisy.part == Part.TRAIN)))
    same_user = np.diff(data.user) == 0
    assert (np.diff(data.timestamp)[same_user] >= 0).all()
    assert data.timestamp.dtype == split.interactions.timestamp.dtype


@pytest.mark.parametrize("how", ["insert", "replace"])
@pytest.mark.parametrize("items", ["uniform", "popularity"])
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.4, 0.6])
def test_the_rate_is_exact_over_all_and_within_one_for_each_user(how, items, rate):
    split = many_users()
    n_real = 21  # 23 interactions a user less two targets
    noisy = PlantedNoise(rate, items, how)(split, seed=0)
    counts = np.array([len(items) for items in by_user(noisy, noisy.noise)])
    assert abs(counts.sum() - rate * n_real * len(counts)) < 1
    assert (abs(counts - rate * n_real) < 1).all()


def test_items_follow_the_model_and_places_are_uniform():
    split = many_users()
    counts = split.item_counts(Part.TRAIN)
    planted = {}
    for items in ("uniform", "popularity"):
        noisy = PlantedNoise(0.4, items)(split, seed=0)
        planted[items] = noisy.interactions.item[noisy.noise]
        place = (planted_interactions(noisy)["position"].to_numpy() - 1) / np.bincount(noisy.interactions.user)[
            1:
        ].mean()
        assert abs(place.mean() - 0.45) < 0.02  # the middle of the training part, behind which two targets lie
    # The mean training count of what is planted: of a uniform draw below that of an item, of the other far above.
    assert counts[planted["uniform"]].mean() < counts[1:].mean()
    assert counts[planted["popularity"]].mean() > 1.5 * counts[1:].mean()


def test_users_differ_with_a_concentration():
    split = many_users()
    rates = {}
    for concentration in (None, 2.0, 50.0):
        noisy = PlantedNoise(0.4, concentration=concentration)(split, seed=0)
        rates[concentration] = np.array([len(items) / 21 for items in by_user(noisy, noisy.noise)])
        assert abs(rates[concentration].mean() - 0.4) < 0.04
    # The standard deviation of Beta(rate c, (1 - rate) c) is sqrt(rate (1 - rate) / (c + 1)).
    assert rates[2.0].std() == pytest.approx(np.sqrt(0.24 / 3), abs=0.03)
    assert rates[50.0].std() == pytest.approx(np.sqrt(0.24 / 51), abs=0.02)
    assert rates[None].std() < 0.03


def test_the_seed_decides_and_the_hash_tells():
    split, noise = many_users(n_users=50), PlantedNoise(0.2)
    assert noise(split, seed=1).hash == noise(split, seed=1).hash
    hashes = {noise(split, seed=seed).hash for seed in (1, 2)} | {split.hash, PlantedNoise(0.3)(split, seed=1).hash}
    assert len(hashes) == 4
    assert PlantedNoise(0.0)(split, seed=1).hash == split.hash


@pytest.mark.parametrize("how", ["insert", "replace"])
def test_examples_carry_the_mask_of_their_targets(how):
    split = many_users(n_users=40)
    noisy = PlantedNoise(0.4, how=how)(split, seed=0)
    examples = SequenceExamples(max_length=12, bucket_lengths=(), positions_per_batch=96)(noisy)
    data = noisy.interactions
    pairs = set(zip(data.user[noisy.noise], data.item[noisy.noise], strict=True))
    user = np.repeat(np.arange(1, 41), np.diff(examples.target_offsets))
    expected = [pair in pairs for pair in zip(user, examples.targets, strict=True)]
    assert examples.noise.tolist() == expected
    assert 0 < sum(expected) < len(expected)
    assert SequenceExamples(max_length=12, bucket_lengths=(), positions_per_batch=96)(split).noise is None


def test_the_table_of_what_was_planted():
    split = split_of([[1, 2, 3, 4], [5, 6, 7, 8, 1]])
    noisy = PlantedNoise(0.5)(split, seed=0)
    frame = planted_interactions(noisy)
    assert frame.columns == ["user", "position", "item"]
    assert len(frame) == noisy.noise.sum() > 0
    offsets = noisy.interactions.user_offsets()
    for user, position, item in frame.iter_rows():
        row = offsets[noisy.interactions.users.encode(pl.Series([user]))[0]] + position - 1
        assert noisy.interactions.items.decode(noisy.interactions.item[[row]])[0] == item
        assert noisy.noise[row]
    assert planted_interactions(split).is_empty()


def test_evaluation_sees_the_log_and_asks_the_same_questions():
    split = many_users(n_users=30)
    noisy = PlantedNoise(0.4)(split, seed=0)
    clean_rows, rows = split.rows(Part.TEST), noisy.rows(Part.TEST)
    assert rows.user.tolist() == clean_rows.user.tolist()
    assert rows.target.tolist() == clean_rows.target.tolist()
    assert rows.lengths.sum() == clean_rows.lengths.sum() + noisy.noise.sum()
    ranks = most_popular_ranks(noisy.item_counts(Part.TEST), rows, filter_seen=True)
    assert ranks.min() >= 1 and ranks.max() <= split.interactions.n_items


@pytest.mark.parametrize("how", ["insert", "replace"])
def test_planted_interactions_come_from_a_source_of_their_user(how):
    rows = [(user, item, "ab"[user % 2]) for user in range(6) for item in range(user, user + 8)]
    frame = pl.DataFrame(rows, schema=["user", "item", "source"], orient="row")
    split = LeaveOneOut()(clean(frame, {}, source="s"))
    data = PlantedNoise(0.5, how=how)(split, seed=0).interactions
    assert len(data.source) == len(data) == len(split.interactions) + (18 if how == "insert" else 0)
    assert data.source.dtype == split.interactions.source.dtype
    assert (data.source == (data.user - 1) % 2).all()


def test_a_user_who_met_everything_gets_nothing():
    noisy = PlantedNoise(0.9)(split_of([[1, 2, 3, 4, 5], [1, 2, 1, 2]]), seed=0)
    assert by_user(noisy, noisy.noise)[0] == []
    assert len(by_user(noisy, noisy.noise)[1]) in (1, 2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"rate": 1.0}, "noise.rate=1.0: it must be in [0, 1)"),
        ({"rate": -0.1}, "noise.rate=-0.1"),
        ({"rate": float("nan")}, "noise.rate=nan"),
        ({"items": "random"}, "noise.items=random: it must be one of uniform, popularity"),
        ({"how": "append"}, "noise.how=append: it must be one of insert, replace"),
        ({"concentration": 0.0}, "noise.concentration=0.0: it must be a number above 0, or null"),
    ],
)
def test_options_are_checked(options, sentence):
    with pytest.raises(OptionError) as caught:
        PlantedNoise(**options)
    assert str(caught.value).startswith(sentence)
    assert replace(PlantedNoise(), rate=0.6).rate == 0.6


@pytest.mark.parametrize("how", ["insert", "replace"])
def test_nothing_is_said_of_what_is_planted(how):
    split = many_users()
    rating = np.arange(len(split.interactions)) * 1.5
    rated = replace(split, interactions=replace(split.interactions, columns=pl.DataFrame({"rating": rating})))
    noisy = PlantedNoise(0.3, "uniform", how)(rated, seed=0)
    given = noisy.interactions.columns["rating"]
    assert given.is_null().to_numpy().tolist() == noisy.noise.tolist()
    kept = np.ones(len(rating), bool)
    if how == "replace":
        kept = ~noisy.noise
    assert given.drop_nulls().to_list() == rating[kept].tolist()
