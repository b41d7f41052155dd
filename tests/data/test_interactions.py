"""The table of interactions: ids, their codes, and the order of rows."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_rec.data import numbering
from curriculum_rec.data.cleaning import DropMissing
from curriculum_rec.data.interactions import IdMap, clean
from curriculum_rec.errors import DataError

IDS = st.lists(st.text(min_size=1, max_size=5) | st.integers(-200, 200).map(str), min_size=1, max_size=30)


@pytest.mark.parametrize("at_once", [2**21, 1000])
@pytest.mark.parametrize("kind", [np.int64, np.float64])
def test_rows_are_sorted_by_user_and_time_and_equal_ones_keep_their_order(monkeypatch, at_once, kind):
    monkeypatch.setattr(numbering, "SORTED_AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    user, time = rng.integers(1, 50, 5000).astype(np.int32), rng.integers(-40, 40, 5000).astype(kind)
    expected = sorted(range(5000), key=lambda row: (user[row], time[row]))
    assert numbering.row_order(user, time).tolist() == expected
    assert numbering.row_order(user[expected], time[expected]) is None or kind is np.float64
    extreme = np.array([2**62, -(2**62), 5] * 400)
    rows = sorted(range(1200), key=lambda row: (user[row], extreme[row]))
    assert numbering.row_order(user[:1200], extreme).tolist() == rows


@given(IDS)
def test_codes_go_there_and_back(values):
    ids = IdMap.from_column(pl.Series(values))
    codes = ids.encode(pl.Series(values))
    assert codes.dtype == np.int32
    assert set(codes.tolist()) == set(range(1, len(ids) + 1))
    assert ids.decode(codes).to_list() == values


@given(IDS, st.randoms(use_true_random=False))
def test_codes_depend_on_the_set_of_ids_alone(values, random):
    shuffled = values + values[:3]
    random.shuffle(shuffled)
    first, second = IdMap.from_column(pl.Series(values)), IdMap.from_column(pl.Series(shuffled))
    assert first.ids.to_list() == second.ids.to_list()
    assert first.digest() == second.digest()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["10", "9", "-1"], ["-1", "9", "10"]),
        (["10", "9", "01"], ["01", "10", "9"]),
        (["10", "9", "a"], ["10", "9", "a"]),
        (["10", "9", None], ["9", "10"]),
        ([10, 9], [9, 10]),
    ],
)
def test_integers_sort_by_value_and_others_as_text(values, expected):
    assert IdMap.from_column(pl.Series(values)).ids.to_list() == expected


@pytest.mark.parametrize("ids", [["a", "b"], [1, 2]])
def test_unknown_is_zero_and_zero_has_no_id(ids):
    ids = IdMap(pl.Series(ids))
    assert ids.encode(pl.Series(["?", None], dtype=pl.String)).tolist() == [0, 0]
    assert ids.decode(np.array([0], np.int32)).to_list() == [None]


def test_integer_ids_are_found_by_their_text():
    assert IdMap(pl.Series([5, 7])).encode(pl.Series(["7", "5"])).tolist() == [2, 1]


def test_other_ids_have_another_digest():
    digests = {IdMap(pl.Series(ids)).digest() for ids in (["a", "b"], ["b", "a"], ["ab"], ["a", "c"])}
    assert len(digests) == 4


def test_rows_sort_by_user_then_time_then_file_order():
    rows = [("2", "a", 5), ("1", "b", 2), ("2", "c", 5), ("1", "d", 1), ("2", "e", 4), ("1", "f", 2), ("2", "g", 5)]
    frame = pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row")
    data = clean(frame, {}, source="s")
    assert data.items.decode(data.item).to_list() == list("dbfeacg")
    assert data.user.tolist() == [1] * 3 + [2] * 4
    assert data.timestamp.tolist() == [1, 2, 2, 4, 5, 5, 5]
    assert data.user_offsets().tolist() == [0, 0, 3, 7]
    ordered = clean(frame.drop("timestamp"), {}, source="s")
    assert ordered.timestamp is None
    assert ordered.items.decode(ordered.item).to_list() == list("bdfaceg")


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), min_size=2, max_size=40))
def test_order_against_pythons_stable_sort(pairs):
    rows = [(user, number, time) for number, (user, time) in enumerate(pairs)]
    if len({row[0] for row in rows}) < 2:
        return
    data = clean(pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row"), {}, source="s")
    expected = sorted(rows, key=lambda row: (row[0], row[2]))
    assert data.items.decode(data.item).to_list() == [row[1] for row in expected]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "s has no rows"),
        ([("u", "a"), ("u", "b")], r"only one user \('u'\)"),
        ([("u", "a"), ("v", "a")], r"only one item \('a'\)"),
        ([("u", "a"), ("v", None)], "column 'item' of s has 1 missing values: keep the cleaning rule 'missing'"),
    ],
)
def test_unusable_rows(rows, words):
    frame = pl.DataFrame(rows, schema={"user": pl.String, "item": pl.String}, orient="row")
    with pytest.raises(DataError, match=words):
        clean(frame, {}, source="s")


def test_further_columns_travel_in_the_order_of_the_rows_and_may_miss_values():
    rows = [("2", "a", 5, 3.5), ("1", "b", 2, None), ("2", "c", 4, 1.0), ("1", "d", 1, 2.0)]
    frame = pl.DataFrame(rows, schema=["user", "item", "timestamp", "rating"], orient="row")
    data = clean(frame, {"missing": DropMissing()}, source="s")
    assert data.columns is not None
    assert data.columns.to_dict(as_series=False) == {"rating": [2.0, None, 1.0, 3.5]}
    assert clean(frame.drop("rating"), {}, source="s").columns is None
