"""Profiles of data against values counted by hand and by plain loops."""

from collections import Counter
from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_rec.data.interactions import clean
from curriculum_rec.data.profile import column, frame_of, further_columns, profile, unit_of

ROWS = st.lists(st.tuples(st.integers(1, 5), st.sampled_from("abcd"), st.integers(0, 6)), min_size=1, max_size=40)


def table(rows):
    return pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row")


def test_values_counted_by_hand():
    found = profile(table([(1, "a", 5), (1, "b", 9), (2, "a", 7), (1, "a", 9), (3, "c", 1), (3, "c", 1)]))
    assert (found.n_rows, found.n_users, found.n_items) == (6, 3, 3)
    assert found.lengths.tolist() == [1, 2, 3]
    assert found.popularity.tolist() == [3, 2, 1]
    assert found.density == 6 / 9
    assert found.repeats == pytest.approx(2 / 6)
    assert found.tied == 2 / 2  # users 1 (9, 9) and 3 (1, 1); user 2 has one interaction
    assert (found.same_events, found.identical) == (1, 1)
    assert found.gaps.tolist() == [0, 0, 4]
    assert found.times.tolist() == [1, 1, 5, 7, 9, 9]
    assert found.head(0.01) == 3 / 6
    assert found.head(2 / 3) == 5 / 6


@given(ROWS)
def test_counts_equal_those_of_plain_loops(rows):
    found = profile(table(rows))
    users, items = Counter(row[0] for row in rows), Counter(row[1] for row in rows)
    assert found.lengths.tolist() == sorted(users.values())
    assert found.popularity.tolist() == sorted(items.values(), reverse=True)
    assert found.repeats == pytest.approx(1 - len({row[:2] for row in rows}) / len(rows))
    assert found.same_events == len(rows) - len(set(rows))
    times = {user: sorted(row[2] for row in rows if row[0] == user) for user in users}
    several = [each for each in times.values() if len(each) > 1]
    assert found.tied == (np.mean([each[-1] == each[-2] for each in several]) if several else 0)
    assert found.gaps.tolist() == sorted(gap for each in times.values() for gap in np.diff(each))


def test_missing_values_count_once_as_rows_and_nowhere_else():
    frame = pl.DataFrame(
        {"user": [1, None, 2], "item": ["a", "b", None], "timestamp": [1, None, 3], "price": [None] * 3}
    )
    found = profile(frame)
    assert (found.n_rows, found.n_users, found.n_items) == (3, 1, 1)
    assert dict(found.missing) == {"user": 1, "item": 1, "timestamp": 1, "price": 3}
    assert found.times.tolist() == [1]


def test_data_without_times_has_no_facts_of_time():
    found = profile(pl.DataFrame({"user": [1, 1], "item": ["a", "a"]}))
    assert found.times is found.gaps is found.tied is found.same_events is None
    assert found.repeats == 1 / 2


def test_cleaned_data_is_profiled_like_the_rows_that_stay():
    frame = table([(1, "a", 5), (1, "b", 9), (2, "a", 7), (2, "b", 8)]).with_columns(rating=pl.Series([1, 2, 3, 4]))
    before, after = profile(frame), profile(frame_of(clean(frame, {}, source="rows")))
    assert before.lengths.tolist() == after.lengths.tolist()
    assert before.times.tolist() == after.times.tolist()
    assert dict(after.missing) == dict(before.missing)


@pytest.mark.parametrize(
    ("times", "unit"),
    [
        ([881250949], "s"),
        ([881250949000], "ms"),
        ([881250949 * 10**6], "us"),
        ([881250949 * 10**9], "ns"),
        ([17], None),
    ],
)
def test_units_are_guessed_by_size(times, unit):
    assert unit_of(np.array(times)) == unit
    assert unit_of(np.array([])) is None


def test_columns():
    numbers = column(pl.Series("price", [2.5, None, 1.0, 2.5]))
    assert (numbers.kind, numbers.n_distinct, numbers.n_missing, numbers.low, numbers.high) == (
        "number",
        2,
        1,
        1.0,
        2.5,
    )
    assert (numbers.commonest, numbers.share) == (2.5, 2 / 3)
    genres = column(pl.Series("genres", [["a", "b"], ["a", "a"], [], None, ["b"]]))
    assert (genres.kind, genres.commonest, genres.share, genres.n_missing) == ("list of texts", "a", 2 / 4, 1)
    days = column(pl.Series("day", [date(2020, 1, 2), date(2020, 1, 1)]))
    assert (days.kind, days.low) == ("date", date(2020, 1, 1))
    empty = column(pl.Series("nothing", [None, None], dtype=pl.String))
    assert (empty.n_distinct, empty.n_missing, empty.commonest, empty.share) == (0, 2, None, None)
    frame = table([(1, "a", 1)]).with_columns(rating=pl.lit(3))
    assert [each.name for each in further_columns(frame)] == ["rating"]
