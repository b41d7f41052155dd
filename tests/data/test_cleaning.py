"""Cleaning rules against naive versions of themselves, and the ledger."""

from collections import Counter
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_rec.data.cleaning import DropDuplicates, DropMissing, KCore
from curriculum_rec.data.interactions import clean
from curriculum_rec.errors import DataError, OptionError

ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=60)


def table(rows):
    return pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row")


def order_only(rows):
    return pl.DataFrame([row[:2] for row in rows], schema=["user", "item"], orient="row")


def test_missing_in_any_column_goes():
    rows = [("u", "a", 1), (None, "a", 1), ("u", None, 1), ("u", "a", None), ("v", "b", 0)]
    assert DropMissing()(table(rows)).rows() == [rows[0], rows[4]]


EVENTS = [("u", "a", 2), ("u", "a", 2), ("v", "a", 2), ("u", "b", 3), ("u", "a", 1), ("u", "a", 2), ("u", "b", 3)]


@pytest.mark.parametrize(
    ("same", "keep", "kept"),
    [
        ("event", "first", [0, 2, 3, 4]),
        ("event", "last", [2, 4, 5, 6]),
        ("user_item", "first", [2, 3, 4]),  # u's earliest a is row 4, by time; ties go by file order
        ("user_item", "last", [2, 5, 6]),
    ],
)
def test_duplicates_with_timestamps(same, keep, kept):
    assert DropDuplicates(same, keep)(table(EVENTS).with_row_index("row"))["row"].to_list() == kept


@pytest.mark.parametrize(
    ("same", "keep", "kept"),
    [
        ("event", "first", [0, 2, 3, 4, 6]),  # only neighbours: a later repeat is an event of its own
        ("event", "last", [1, 2, 3, 5, 6]),
        ("user_item", "first", [0, 2, 3]),
        ("user_item", "last", [2, 5, 6]),
    ],
)
def test_duplicates_without_timestamps(same, keep, kept):
    assert DropDuplicates(same, keep)(order_only(EVENTS).with_row_index("row"))["row"].to_list() == kept


@given(ROWS, st.sampled_from(["first", "last"]))
def test_user_item_duplicates_against_a_loop(rows, keep):
    chosen = {}
    for number, (user, item, timestamp) in enumerate(rows):
        old = chosen.get((user, item))
        if (
            old is None
            or (keep == "first" and timestamp < rows[old][2])
            or (keep == "last" and timestamp >= rows[old][2])
        ):
            chosen[user, item] = number
    result = DropDuplicates("user_item", keep)(table(rows).with_row_index("row"))["row"].to_list()
    assert result == sorted(chosen.values())


def naive_k_core(rows, users_need, items_need):
    while True:
        user, item = Counter(row[0] for row in rows), Counter(row[1] for row in rows)
        kept = [row for row in rows if user[row[0]] >= users_need and item[row[1]] >= items_need]
        if kept == rows:
            return rows
        rows = kept


@given(ROWS, st.integers(1, 5), st.integers(1, 5))
def test_k_core_is_the_fixpoint(rows, users_need, items_need):
    assert KCore(users_need, items_need)(table(rows)).rows() == naive_k_core(rows, users_need, items_need)


def test_k_core_cascades():
    # Item z is rare, without it user 2 is rare, and without user 2 item y is.
    rows = [(1, "x", 0), (1, "x", 1), (2, "y", 2), (2, "z", 3), (1, "y", 4)]
    assert KCore(2, 2)(table(rows)).rows() == [rows[0], rows[1]]


@pytest.mark.parametrize("name", ["min_user_interactions", "min_item_interactions"])
def test_k_core_needs_at_least_one(name):
    with pytest.raises(OptionError, match=f"{name}=0"):
        KCore(**{name: 0})


@pytest.mark.parametrize("frame", [table(EVENTS), order_only(EVENTS)])
def test_nothing_left_names_the_rule(frame):
    rules = {"missing": DropMissing(), "rare": KCore(50, 1)}
    with pytest.raises(DataError, match=r"cleaning rule 'rare' removed all 7 rows of shop.*cleaning\.rare"):
        clean(frame, rules, source="shop")


@given(ROWS)
def test_the_ledger_adds_up(rows):
    rules = {"missing": DropMissing(), "duplicates": DropDuplicates(), "k_core": KCore(2, 2)}
    try:
        result = clean(table(rows), rules, source="s")
    except DataError:
        return
    assert [entry.rule for entry in result.ledger] == list(rules)
    assert result.ledger[0].rows_in == len(rows)
    assert all(a.rows_out == b.rows_in for a, b in pairwise(result.ledger))
    assert len(result) == result.ledger[-1].rows_out == len(rows) - sum(entry.removed for entry in result.ledger)
