"""Vectors of items that a trained table does not know."""

import numpy as np
import pytest

from curriculum_rec.errors import OptionError
from curriculum_rec.growth import new_item_rows

RNG = np.random.default_rng(0)
TABLE = RNG.standard_normal((41, 6)).astype(np.float32)


def test_known_items_keep_their_vectors_and_the_table_is_filled_up():
    matched = np.array([0, 7, -1, 40, 3])
    rows = new_item_rows(TABLE, matched=matched, counts=np.arange(5), seed=0)
    assert rows.shape == (128, 6) and rows.dtype == np.float32
    np.testing.assert_array_equal(rows[[0, 1, 3, 4]], TABLE[[0, 7, 40, 3]])
    np.testing.assert_array_equal(rows[5:], 0)


def test_a_new_item_begins_at_the_mean_of_its_popularity_decile():
    # 40 items, four to a decile; in each the last is new
    counts = np.concatenate([[0], np.repeat(np.arange(10), 4) * 100 + np.tile(np.arange(4), 10)])
    matched = np.where(np.arange(41) % 4 == 0, -1, np.arange(41))
    matched[0] = 0
    rows = new_item_rows(TABLE, matched=matched, counts=counts, seed=0)
    known = TABLE[1:][np.arange(40) % 4 != 3]
    for decile in range(10):
        mean = TABLE[1 + 4 * decile : 4 + 4 * decile].mean(axis=0)
        assert np.abs(rows[4 * decile + 4] - mean).max() < 5 * 0.01 * known.std()
    noise = rows[4:41:4] - np.stack([TABLE[1 + 4 * d : 4 + 4 * d].mean(axis=0) for d in range(10)])
    assert noise.std() == pytest.approx(0.01 * known.std(), rel=0.3)


def test_a_decile_without_known_items_takes_the_nearest():
    matched = np.concatenate([[0], np.full(10, -1), np.arange(11, 21)])
    rows = new_item_rows(TABLE, matched=matched, counts=np.arange(21), seed=0)
    # items 1 to 10 are the lower five deciles, and the sixth is that of items 11 and 12
    np.testing.assert_allclose(rows[1], TABLE[[11, 12]].mean(axis=0), atol=0.06)


def test_an_item_with_features_begins_near_its_neighbours():
    features = RNG.standard_normal((41, 5))
    matched = np.where(np.arange(41) > 35, -1, np.arange(41))
    features[40] = 0  # nothing is known of it
    counts = np.ones(41, np.int64)
    rows = new_item_rows(TABLE, matched=matched, counts=counts, seed=0, features=features)
    for item in range(36, 40):
        cosine = [
            features[item] @ features[other] / np.linalg.norm(features[item]) / np.linalg.norm(features[other])
            for other in range(1, 36)
        ]
        nearest = 1 + np.argsort(cosine)[-10:]
        np.testing.assert_allclose(rows[item], TABLE[nearest].mean(axis=0), atol=0.06)
    np.testing.assert_allclose(rows[40], TABLE[1:36].mean(axis=0), atol=0.06)


def test_the_seed_decides_the_noise():
    rows = [
        new_item_rows(TABLE, matched=np.array([0, 1, -1, -1]), counts=np.arange(4), seed=seed) for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(rows[0], rows[1])
    assert (rows[0][2] != rows[2][2]).all() and (rows[0][2] != rows[0][3]).all()


def test_catalogues_without_a_common_item_are_refused():
    with pytest.raises(OptionError, match="share no item"):
        new_item_rows(TABLE, matched=np.array([0, -1]), counts=np.arange(2), seed=0)
