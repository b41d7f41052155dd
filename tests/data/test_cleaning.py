"""Cleaning rules against naive versions of themselves, and the ledger."""

from collections import Counter
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_rec.data.cleaning import (
    ConvertTimestamps,
    DropDuplicates,
    DropIncomplete,
    DropInhumanActivity,
    DropMissing,
    DropOutliers,
    DropOutOfRange,
    FillMissing,
    KCore,
    RatingThreshold,
)
from curriculum_rec.data.cleaning.timestamps import moment
from curriculum_rec.data.interactions import clean
from curriculum_rec.data.ledger import LedgerEntry, apply_rules, ledger_lines
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


def kept(rule, **columns):
    """The numbers of the rows that a rule leaves."""
    return rule(pl.DataFrame(columns).with_row_index("n"))["n"].to_list()


def test_rows_alike_in_all_columns():
    data = pl.DataFrame({"a": [1, 1, 1, 2], "b": ["x", "y", "x", "x"]}).with_row_index("__row__")
    assert DropDuplicates("row", "first")(data)["__row__"].to_list() == [0, 1, 3]
    assert DropDuplicates("row", "last")(data)["__row__"].to_list() == [1, 2, 3]


def test_incomplete_rows_go_and_holes_are_filled():
    columns = {"price": [1.0, float("nan"), None], "colour": ["", "red", "red"]}
    assert kept(DropIncomplete(("price",)), **columns) == [0]
    assert kept(DropIncomplete(("colour",)), **columns) == [1, 2]
    filled = FillMissing({"price": 0, "colour": "none"})(pl.DataFrame(columns))
    assert filled.rows() == [(1.0, "none"), (0.0, "red"), (0.0, "red")]
    with pytest.raises(DataError, match="holds Float64, so 'x' cannot stand in it"):
        FillMissing({"price": "x"})(pl.DataFrame(columns))
    with pytest.raises(DataError, match="no column 'weight'; there are: price, colour"):
        DropIncomplete(("weight",))(pl.DataFrame(columns))


def test_ratings_outside_the_scale_go():
    assert kept(DropOutOfRange("rating", 1, 5), rating=["0", "1", "5", "5.5", None]) == [1, 2, 4]
    assert kept(DropOutOfRange("rating", high=3), rating=[-9, 3, 4]) == [0, 1]
    with pytest.raises(DataError, match="row 2 of column 'rating' holds 'five'"):
        DropOutOfRange("rating", 1, 5)(pl.DataFrame({"rating": ["1", "five"]}))


def test_times_are_bound_by_dates():
    times = [moment(date, "ms") for date in ("2009-12-31", "2010-01-01", "2011-06-01")]
    assert kept(DropOutOfRange("timestamp", "2010-01-01", "2011-01-01", unit="ms"), timestamp=times) == [1]


@pytest.mark.parametrize(
    "options",
    [
        {"low": None},
        {"low": 5, "high": 1},
        {"low": "2010-01-01"},
        {"column": "timestamp", "low": "soon", "unit": "s"},
        {"low": 1, "unit": "s"},
    ],
)
def test_ranges_that_mean_nothing(options):
    with pytest.raises(OptionError):
        DropOutOfRange(**options)


@given(st.integers(0, 2**31), st.sampled_from(["s", "ms", "us", "ns"]), st.sampled_from(["s", "ms", "us", "ns"]))
def test_units_are_exact(second, unit, to):
    data = pl.DataFrame({"timestamp": [moment("1995-01-01", "s") + second]})
    there = ConvertTimestamps("s", unit)(data) if unit != "s" else data
    assert there["timestamp"].dtype == pl.Int64
    value = ConvertTimestamps(unit, to)(there)["timestamp"][0]
    assert value == data["timestamp"][0] * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[to]


def test_a_wrong_unit_is_noticed_and_the_right_one_named():
    with pytest.raises(DataError, match="1262304000 in ms lies outside 1990-01-01 to 2100-01-01: is it s, unit=s"):
        ConvertTimestamps("ms")(pl.DataFrame({"timestamp": [1_262_304_000]}))
    with pytest.raises(DataError, match="drop such rows"):
        ConvertTimestamps("s")(pl.DataFrame({"timestamp": [-5]}))


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=40), st.sampled_from(["iqr", "z_score"]))
def test_outliers_by_their_definition(values, method):
    x = np.array(values)
    if method == "iqr":
        q1, q3 = np.quantile(x, [0.25, 0.75])
        low, high = q1 - 2 * (q3 - q1), q3 + 2 * (q3 - q1)
    else:
        low, high = x.mean() - 2 * x.std(), x.mean() + 2 * x.std()
    slack = 1e-9 * max(1, np.abs(x).max())
    left = set(kept(DropOutliers(("x",), method, 2.0), x=[*values, None]))
    assert left >= {*np.flatnonzero((x > low + slack) & (x < high - slack)).tolist(), len(values)}
    assert not left & set(np.flatnonzero((x < low - slack) | (x > high + slack)).tolist())


def test_users_who_are_no_people_go():
    day = 86_400
    users = ["a"] * 4 + ["b"] * 4
    times = [0, 1, 2, day, 0, day, 2 * day, 3 * day]
    assert kept(DropInhumanActivity(per_day=2), user=users, timestamp=times) == [4, 5, 6, 7]
    assert kept(DropInhumanActivity(total=3), user=[*users, "c"]) == [8]
    assert kept(DropInhumanActivity(per_day=2, unit="ms"), user=users, timestamp=times) == []
    with pytest.raises(OptionError, match="without per_day or total"):
        DropInhumanActivity()


def test_ratings_become_likes():
    assert kept(RatingThreshold(4), rating=["3.5", "4", "5", None]) == [1, 2]


@given(ROWS)
def test_the_ledger_shows_rows_that_are_gone(rows):
    frame, rules = table(rows), {"twice": DropDuplicates(), "rare": KCore(1, 2)}
    try:
        left, ledger = apply_rules(frame, rules, source="rows")
    except DataError:
        return
    assert left.columns == frame.columns
    for entry in ledger:
        assert len(entry.examples) == min(entry.removed, 3)
        for example in entry.examples:
            assert frame.row(example["row"] - 1) == tuple(example[name] for name in frame.columns)
    gone = {example["row"] - 1 for entry in ledger for example in entry.examples}
    stayed = KCore(1, 2)(DropDuplicates()(frame.with_row_index("n")))["n"].to_list()
    assert not gone & set(stayed)


def test_lines_of_the_ledger():
    examples = ({"row": 9, "user": "u", "item": None, "text": "x" * 60},)
    assert ledger_lines([LedgerEntry("a", 10, 10), LedgerEntry("b", 10, 9, examples)]) == [
        "cleaning.a removed 0 of 10 rows",
        f"cleaning.b removed 1 of 10 rows, for example row 9: user=u, item=missing, text={'x' * 37}...",
    ]


def test_a_rule_of_ones_own_may_lose_the_row_numbers():
    frame = table([(1, 1, 1), (2, 2, 2)])
    left, (entry,) = apply_rules(frame, {"own": lambda frame: frame.select("user", "item").head(1)}, source="rows")
    assert (left.rows(), entry.removed, entry.examples) == ([(1, 1)], 1, ())


@pytest.mark.parametrize(
    "rules",
    [
        {"missing": DropMissing(), "duplicates": DropDuplicates(), "core": KCore(2, 2)},
        {
            "same": DropDuplicates("user_item", "last"),
            "incomplete": DropIncomplete(("item",)),
            "missing": DropMissing(),
        },
        {"row": DropDuplicates("row"), "missing": DropMissing(), "active": DropInhumanActivity(total=24, per_day=22)},
        {"missing": DropMissing(), "ms": ConvertTimestamps("s", "ms", earliest="1970-01-01")},
    ],
    ids=" ".join,
)
def test_ids_as_categories_change_nothing_and_examples_show_texts(rules):
    rng = np.random.default_rng(3)
    frame = pl.DataFrame(
        {
            "user": [("", None, *"abcdefg")[number] for number in rng.integers(0, 9, 200)],
            "item": [("", None, *map(str, range(8, 14)))[number] for number in rng.integers(0, 8, 200)],
            "timestamp": rng.integers(0, 30, 200),
        }
    )
    cleaned = clean(frame, rules, source="it")
    as_text, ledger = apply_rules(frame, rules, source="it")
    assert cleaned.ledger == ledger, "the same counts, and examples with texts"
    expected = clean(as_text, {}, source="it")
    for name in ("user", "item", "timestamp"):
        np.testing.assert_array_equal(getattr(cleaned, name), getattr(expected, name))
    assert cleaned.users.ids.to_list() == expected.users.ids.to_list()
    assert cleaned.items.ids.to_list() == expected.items.ids.to_list()
