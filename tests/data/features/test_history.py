"""Histories of rows by hand, and that no row sees a label that it must not."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_rec.data.features import Features, Field, History, InteractionFeatures
from curriculum_rec.data.features.saving import digest_of, load_features, save_features
from curriculum_rec.errors import DataError, OptionError

LIKES = History(label="stars", positive_from=4, length=2)
TRAIN = pl.DataFrame(
    {
        "user": ["a", "a", "a", "a", "b", "a"],
        "item": ["x", "y", "z", "x", "y", "w"],
        "timestamp": [30, 10, 20, 20, 5, 40],
        "stars": [5, 4, 3, 5, 5, 1],
    }
)  # codes: w 1, x 2, y 3, z 4; a likes y at 10, x at 20 and at 30


def test_histories_by_hand():
    fitted = LIKES.fit(TRAIN, name="liked")
    assert fitted.fields == (Field("liked.item", "categorical", 5, 1), Field("liked", "history", 5, 2))
    assert fitted.transform(TRAIN).tolist() == [
        [2, 2, 3],  # x at 30: x at 20 and y at 10, not itself
        [3, 0, 0],
        [4, 3, 0],  # z at 20 does not see x of the same moment
        [2, 3, 0],
        [3, 0, 0],  # another user's
        [1, 2, 2],  # the newest two
    ]


def test_new_rows_see_what_training_held():
    fitted = LIKES.fit(TRAIN, name="liked")
    new = pl.DataFrame(
        {"user": ["a", "b", "c", "a", None], "item": ["q", "x", "x", "z", "x"], "timestamp": [99, 99, 99, None, 99]}
    )
    assert fitted.transform(new).tolist() == [[0, 2, 2], [2, 3, 0], [2, 0, 0], [4, 0, 0], [2, 0, 0]]


def test_all_rows_count_without_a_label():
    fitted = History(length=3).fit(TRAIN, name="seen")
    assert fitted.transform(TRAIN)[5].tolist() == [1, 2, 2, 4]  # at 30, then of the two at 20 the later in the file


def test_rare_items_share_a_code():
    fitted = History(length=2, min_count=2).fit(TRAIN, name="seen")
    assert fitted.fields[0].size == 4  # unknown, rare, x, y
    assert fitted.transform(TRAIN)[0].tolist() == [2, 2, 1]


@given(st.integers(0, 10_000))
def test_they_equal_a_loop_over_all_rows(seed):
    rng = np.random.default_rng(seed)
    n = 40
    frame = pl.DataFrame(
        {
            "user": rng.integers(0, 4, n),
            "item": rng.integers(0, 9, n),
            "timestamp": rng.integers(0, 12, n),
            "stars": rng.integers(1, 6, n),
        }
    )
    try:
        fitted = LIKES.fit(frame, name="liked")
    except DataError:
        return
    code = {value: number + 1 for number, value in enumerate(fitted.vocabulary.values)}
    for row, made in zip(frame.iter_rows(named=True), fitted.transform(frame), strict=True):
        earlier = frame.filter(
            (pl.col("user") == row["user"]) & (pl.col("timestamp") < row["timestamp"]) & (pl.col("stars") >= 4)
        )
        newest = earlier.sort("timestamp", maintain_order=True)["item"].to_list()[::-1][:2]
        assert made.tolist() == [
            code[str(row["item"])],
            *(code[str(each)] for each in newest),
            *[0] * (2 - len(newest)),
        ]


@given(st.integers(0, 10_000))
def test_labels_of_other_parts_change_nothing(seed):
    """Not what is learnt, not the history of any row: neither of training rows nor of those that are predicted."""
    rng = np.random.default_rng(seed)
    frame = pl.concat([TRAIN] * 4).with_columns(timestamp=pl.Series(rng.integers(0, 50, 24)))
    is_training = np.ones(24, bool)
    is_training[rng.choice(24, 8, replace=False)] = False
    features = Features(interaction=InteractionFeatures({"liked": LIKES}))
    other = frame.with_columns(
        stars=pl.when(pl.Series(is_training)).then(pl.col("stars")).otherwise(pl.Series(rng.integers(1, 6, 24)))
    )
    try:
        before, after = (features.fit(each, is_training, None) for each in (frame, other))
    except DataError:
        return
    assert digest_of(before) == digest_of(after)
    for each in (frame, other):
        np.testing.assert_array_equal(
            after.interaction.transform(each).codes, before.interaction.transform(frame).codes
        )


def test_a_row_does_not_see_its_own_label():
    for stars in (1, 5):
        changed = TRAIN.with_columns(stars=pl.Series([stars, *TRAIN["stars"].to_list()[1:]]))
        assert LIKES.fit(changed, name="liked").transform(changed)[0].tolist() == [2, 2, 3]


def test_what_is_saved_does_the_same(tmp_path):
    features = Features(interaction=InteractionFeatures({"liked": LIKES}))
    fitted = features.fit(TRAIN, np.ones(6, bool), None)
    save_features(fitted, tmp_path)
    loaded = load_features(tmp_path)
    assert digest_of(loaded) == digest_of(fitted)
    assert loaded.interaction.transform(TRAIN).codes.tolist() == fitted.interaction.transform(TRAIN).codes.tolist()


def test_a_history_that_nobody_has_is_refused():
    at_once = TRAIN.with_columns(timestamp=pl.lit(7))
    with pytest.raises(DataError, match="by the columns 'user' and 'timestamp' no training row has one"):
        LIKES.fit(at_once, name="liked")


def test_a_label_needs_a_threshold():
    for options in ({"label": "stars"}, {"positive_from": 4.0}):
        with pytest.raises(OptionError, match="go together"):
            History(**options)
