"""A simulated world has the popularity, tastes, transitions, activity and noise that its options say, in any part."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from curriculum_rec.data.interactions import clean
from curriculum_rec.data.simulated import Simulated, Truth, simulate
from curriculum_rec.data.simulated import source as source_module
from curriculum_rec.data.simulated.histories import BLOCK, EPOCH
from curriculum_rec.errors import OptionError

SMALL = Simulated(n_users=400, n_items=60, n_categories=6, mean_length=30.0)
PURE = replace(SMALL, markov=0.0, drift=0.0)


def test_a_world_is_the_same_whenever_it_is_made_and_another_under_another_seed():
    frame = SMALL.read()
    assert frame.equals(SMALL.read())
    assert not frame.equals(replace(SMALL, seed=1).read())


def test_blocks_together_are_the_world_and_each_alone_is_the_same(tmp_path):
    world = replace(SMALL, n_users=2 * BLOCK + 100, mean_length=6.0, false_positives=0.1)
    frame, parts = world.read(), list(world.blocks())
    assert pl.concat(parts).equals(frame)
    assert world.block(2).equals(parts[2]) and parts[2]["user"].n_unique() == 100
    assert frame["user"].n_unique() == world.n_users
    assert world.write_csv(tmp_path / "world.csv") == len(frame)
    assert pl.read_csv(tmp_path / "world.csv").equals(frame)


def test_a_larger_world_begins_with_the_same_users():
    first, both = (replace(SMALL, n_users=n, mean_length=6.0).read() for n in (BLOCK, BLOCK + 50))
    assert both.head(len(first)).equals(first)


@pytest.mark.parametrize("rows", [1, 1000, 60_000])
def test_a_number_of_rows_can_be_asked_for(rows):
    frame = simulate(rows=rows, world=replace(SMALL, mean_length=6.0))
    assert len(frame) == rows
    assert frame.equals(simulate(rows=70_000, world=replace(SMALL, mean_length=6.0)).head(rows))


def test_users_come_one_after_the_other_in_time():
    frame = SMALL.read()
    data = clean(frame, {}, source=SMALL.name)
    assert (data.user == frame["user"].to_numpy() + 1).all()
    assert (data.timestamp == frame["timestamp"].to_numpy()).all()
    assert frame["timestamp"].min() >= EPOCH


def test_activity_is_log_normal_between_its_bounds():
    world = Simulated(n_users=20_000, n_items=50, shortest=1, longest=100_000, mean_length=20.0, spread=0.5, markov=0.0)
    lengths = world.read().group_by("user").len()["len"].to_numpy()
    assert lengths.mean() == pytest.approx(20.0, rel=0.02)
    assert np.log(lengths).std() == pytest.approx(0.5, abs=0.02)
    bounded = replace(world, shortest=10, longest=30).read().group_by("user").len()["len"]
    assert (bounded.min(), bounded.max()) == (10, 30)


def test_popularity_follows_zipf():
    world = replace(PURE, n_users=4000, zipf=1.2, concentration=50.0)
    counts = world.read().group_by("item").len().sort("len", descending=True)["len"].to_numpy()
    expected = np.arange(1, 61) ** -1.2
    np.testing.assert_allclose(counts / counts.sum(), expected / expected.sum(), rtol=0.2, atol=0.002)


def test_the_truth_is_a_distribution_and_that_of_the_simulated_items():
    # Many users who never change and follow nothing: what they do is drawn from their own affinity.
    world = replace(PURE, n_users=50, mean_length=4000.0, spread=0.0, longest=5000)
    truth, frame = Truth(world), world.read()
    affinity = truth.affinity(np.arange(50))
    np.testing.assert_allclose(affinity.sum(axis=1), 1.0)
    for user in range(0, 50, 7):
        items = frame.filter(pl.col("user") == user)["item"].to_numpy()
        found = np.bincount(items, minlength=60) / len(items)
        np.testing.assert_allclose(found, affinity[user], atol=5 * np.sqrt(0.25 / 4000))


def test_a_taste_drifts_from_the_first_to_the_second():
    world = replace(PURE, n_users=3000, drift=0.3, mean_length=40.0, spread=0.0)
    truth, frame = Truth(world), world.read()
    step = pl.int_range(pl.len()).over("user").alias("step")
    frame = frame.with_columns(step).join(world.items().select("item", "category"), on="item")
    categories = frame["category"].str.split(" ").list.get(1).cast(int).to_numpy()
    for at, second in ((0, 0.0), (10, 0.3), (30, 1 - 0.7**3)):
        chosen = frame["step"].to_numpy() == at
        user = frame["user"].to_numpy()[chosen]
        tends = truth.tastes[1] > truth.tastes[0]  # to what the second taste likes more
        taste = (1 - second) * truth.tastes[0] + second * truth.tastes[1]
        expected = (taste * tends)[user].sum(axis=1).mean()
        assert tends[user, categories[chosen]].mean() == pytest.approx(expected, abs=4 * np.sqrt(0.25 / len(user)))
    own = truth.affinity(np.arange(5), step=30)
    late = truth.affinity(np.arange(5), step=10**6)
    np.testing.assert_allclose(own, 0.343 * truth.affinity(np.arange(5)) + 0.657 * late)


def test_what_follows_what_is_as_probable_as_the_truth_says():
    world = replace(SMALL, n_users=2000, markov=0.7)
    truth, frame = Truth(world), world.read()
    item, user = frame["item"].to_numpy(), frame["user"].to_numpy()
    step = frame.select(pl.int_range(pl.len()).over("user")).to_series().to_numpy()
    pairs = np.flatnonzero(step[1:] > 0) + 1
    chance = truth.next_item(user[pairs], item[pairs - 1], step=step[pairs])
    np.testing.assert_allclose(chance.sum(axis=1), 1.0)
    # Where an event has a probability of about p, it happens in p of the cases.
    happened = np.zeros_like(chance, bool)
    happened[np.arange(len(pairs)), item[pairs]] = True
    for low, high in ((0.0, 0.01), (0.01, 0.05), (0.05, 0.15), (0.15, 0.3), (0.3, 0.8)):
        inside = (chance >= low) & (chance < high)
        expected, found = chance[inside].mean(), happened[inside].mean()
        assert abs(found - expected) < 4 * np.sqrt(expected / inside.sum()), (low, high)


def test_false_positives_are_as_many_as_said_and_change_nothing_real():
    clean_world = replace(SMALL, n_users=3000)
    noisy = replace(clean_world, false_positives=0.3)
    frame = noisy.read()
    assert frame["false_positive"].mean() == pytest.approx(0.3, abs=0.01)
    assert frame.filter(~pl.col("false_positive")).drop("false_positive").equals(clean_world.read())
    ordered = frame.select(pl.col("timestamp").diff().over("user").drop_nulls().min())
    assert ordered.item() >= 0
    counts = frame.filter("false_positive").group_by("item").len()["len"]
    assert counts.max() < 1.5 * counts.min() and len(counts) == 60
    by_popularity = (
        replace(noisy, false_items="popularity").read().filter("false_positive").group_by("item").len()["len"]
    )
    assert by_popularity.max() > 10 * by_popularity.min()


def test_attributes_of_items_and_users_go_with_what_they_say():
    world = replace(SMALL, n_users=1000, attributes=True)
    frame, items, users = world.read(), world.items(), world.users()
    assert frame.columns == ["user", "item", "timestamp", "category", "price", "age", "country"]
    assert frame.drop("category", "price", "age", "country").equals(replace(world, attributes=False).read())
    assert (len(items), items["category"].n_unique(), len(users)) == (60, 6, 1000)
    assert not frame.select(pl.all().is_null().any()).row(0).count(True)
    one = frame.row(5, named=True)
    assert items.filter(pl.col("item") == one["item"])["price"][0] == one["price"]
    assert users.filter(pl.col("user") == one["user"])["age"][0] == one["age"]
    vectors = items["vector"].to_numpy()
    same = items["category"].to_numpy()[:, None] == items["category"].to_numpy()
    distance = np.linalg.norm(vectors[:, None] - vectors, axis=2)
    assert distance[same].mean() < 0.7 * distance[~same].mean()
    # Favourite categories differ between ages, and hardly between countries.
    spread = {}
    for name in ("age", "country"):
        counts = (
            frame.group_by(name, "category").len().pivot("category", index=name, values="len").drop(name).to_numpy()
        )
        largest = counts[np.argsort(-counts.sum(axis=1))[:3]]
        spread[name] = (largest / largest.sum(axis=1, keepdims=True)).std(axis=0).max()
    assert spread["age"] > 0.06 > 0.03 > spread["country"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n_users": 1}, "data.n_users=1: it must be at least 2"),
        ({"false_positives": 1.0}, r"data.false_positives=1.0: it must be in \[0, 1\)"),
        ({"markov": 1.5}, r"data.markov=1.5: it must be in \[0, 1\]"),
        ({"shortest": 10, "longest": 9}, "data.longest=9 is below data.shortest=10"),
        ({"n_items": 5}, "data.n_items=5 are fewer than data.n_categories=16"),
        ({"false_items": "all"}, "data.false_items=all: it must be one of uniform, popularity"),
    ],
)
def test_worlds_that_cannot_be_are_refused(options, sentence):
    with pytest.raises(OptionError, match=sentence):
        Simulated(**options)


def test_a_hundred_users_to_ten_million_are_a_matter_of_blocks():
    assert [Simulated(n_users=n).n_blocks for n in (100, BLOCK, 10_000_000)] == [1, 1, -(-10_000_000 // BLOCK)]
    last = Simulated(n_users=10_000_000, mean_length=5.0).block(1220)
    assert last["user"].max() == 9_999_999
    assert source_module.BLOCK == BLOCK
