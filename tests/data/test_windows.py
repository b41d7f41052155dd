"""Windows of time: nothing of a window is in what is known before it, and nothing later is anywhere."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_rec.data.cleaning import DropDuplicates, KCore
from curriculum_rec.data.examples import SequenceExamples
from curriculum_rec.data.interactions import clean
from curriculum_rec.data.splits import Part
from curriculum_rec.data.windows import TimeWindow, WindowSplit, window_begins
from curriculum_rec.errors import DataError, OptionError

RULES = {"duplicates": DropDuplicates(), "k_core": KCore(3, 2)}


@dataclass(frozen=True)
class Rows:
    """A source of rows that are at hand."""

    frame: pl.DataFrame
    name: str = "rows"

    def read(self):
        return self.frame


def rows(seed=0, n=600):
    rng = np.random.default_rng(seed)
    columns = {"user": rng.integers(0, 40, n), "item": rng.integers(0, 25, n), "timestamp": rng.integers(0, 1000, n)}
    return pl.DataFrame(columns)


def split_of(frame, begin, end, *, tested="all", rules=RULES):
    window = TimeWindow(Rows(frame), begin, end, rules, tested)
    return WindowSplit(begin, 0.1)(clean(window.read(), {}, source="rows"))


def table(split, *parts):
    data, chosen = split.interactions, np.isin(split.part, parts)
    return pl.DataFrame(
        {
            "user": data.users.decode(data.user[chosen]),
            "item": data.items.decode(data.item[chosen]),
            "timestamp": data.timestamp[chosen],
        }
    )


def test_parts_follow_each_other_in_time():
    split = split_of(rows(), 500, 700)
    time = split.interactions.timestamp
    spans = [
        (time[split.part == part].min(), time[split.part == part].max())
        for part in (Part.TRAIN, Part.VALIDATION, Part.TEST)
    ]
    assert spans[0][1] < spans[1][0] <= spans[1][1] < 500 <= spans[2][0] <= spans[2][1] < 700
    earlier = (time < 500).sum()
    assert (split.part == Part.VALIDATION).sum() == pytest.approx(0.1 * earlier, abs=6)  # equal times go together
    assert set(split.interactions.items.ids) <= set(rows().filter(pl.col("timestamp") < 700)["item"])


@pytest.mark.parametrize("tested", ["all", "first"])
def test_what_comes_after_a_window_changes_nothing(tested):
    frame, other = rows(), rows(1)
    late = pl.col("timestamp") >= 700
    altered = pl.concat([frame.filter(~late), other.filter(late)])
    assert not frame.sort(frame.columns).equals(altered.sort(frame.columns))
    before, after = (split_of(each, 500, 700, tested=tested) for each in (frame, altered))
    assert before.hash == after.hash
    cut = SequenceExamples(max_length=8, bucket_lengths=(), positions_per_batch=64)
    for mine, theirs in zip(cut(before).buckets, cut(after).buckets, strict=True):
        for name, array in mine.arrays.items():
            np.testing.assert_array_equal(array, theirs.arrays[name])


def test_a_window_changes_nothing_of_what_is_known_before_it():
    frame, other = rows(), rows(1)
    late = pl.col("timestamp") >= 500
    altered = pl.concat([frame.filter(~late), other.filter(late)])
    known = [table(split_of(each, 500, 700), Part.TRAIN, Part.VALIDATION) for each in (frame, altered)]
    assert known[0].equals(known[1])
    # A k-core of all rows would not be so: who comes back later would be kept.
    naive = [KCore(12, 2)(each).filter(pl.col("timestamp") < 500) for each in (frame, altered)]
    assert not naive[0].equals(naive[1])


def test_the_past_is_what_the_rules_leave_of_it():
    frame = rows()
    expected = frame.filter(pl.col("timestamp") < 500)
    for rule in RULES.values():
        expected = rule(expected)
    known = table(split_of(frame, 500, 700), Part.TRAIN, Part.VALIDATION)
    assert known.sort(known.columns).equals(expected.sort(known.columns))


def test_each_users_first():
    every, first = (table(split_of(rows(), 500, 700, tested=tested), Part.TEST) for tested in ("all", "first"))
    assert first["user"].is_unique().all() and len(first) < len(every)
    earliest = every.group_by("user").agg(pl.col("timestamp").min())
    assert first.select("user", "timestamp").sort("user").equals(earliest.sort("user"))


def test_what_is_tested_follows_the_users_own_history_in_the_window_too():
    split = split_of(rows(), 500, 700)
    questions, data = split.rows(Part.TEST), split.interactions
    for row in range(len(questions)):
        time = data.timestamp[questions.start[row] : questions.stop[row]]
        assert (time <= data.timestamp[questions.stop[row]]).all()
        assert (data.user[questions.start[row] : questions.stop[row]] == questions.user[row]).all()


@given(st.lists(st.integers(0, 30), max_size=30), st.integers(1, 3), st.floats(0.2, 0.7))
def test_windows_divide_all_that_comes_after_the_warm_up(times, windows, warm_up):
    times = np.array(times + 2 * list(range(31)))
    begins = window_begins(times, windows=windows, warm_up=warm_up)
    assert begins == sorted(set(begins)) and len(begins) == windows
    assert abs((times < begins[0]).mean() - warm_up) <= (times == begins[0]).mean() + 1 / len(times)
    inside = np.searchsorted(begins, times, side="right")
    assert set(inside) == set(range(windows + 1))


def test_windows_of_equal_length():
    assert window_begins(np.array([0, 100, 3]), windows=3, warm_up=0.4, cut="time") == [40, 60, 80]
    assert window_begins(np.array([10, 21]), windows=2, warm_up=0.5, cut="time") == [16, 19]  # whole numbers, upwards


def test_mistakes():
    with pytest.raises(DataError, match="windows=5: the data have too few different times"):
        window_begins(np.array([1, 1, 2, 2]), windows=5, warm_up=0.5)
    for changes, sentence in (
        ({"windows": 0}, "windows=0: it must be at least 1"),
        ({"warm_up": 1.0}, "warm_up=1.0"),
        ({"cut": "weeks"}, "cut=weeks: it must be one of interactions, time"),
    ):
        with pytest.raises(OptionError, match=sentence):
            window_begins(np.arange(9), **({"windows": 2, "warm_up": 0.5} | changes))
    with pytest.raises(DataError, match="need timestamps, and rows has none"):
        TimeWindow(Rows(rows().drop("timestamp")), 500).read()
    with pytest.raises(DataError, match="leaves no interaction before the window"):
        split_of(rows(), 0, 700)
    with pytest.raises(DataError, match="leaves no interaction in the window"):
        split_of(rows(), 2000, None)
    lonely = pl.DataFrame({"user": [1, 1, 2, 2, 3], "item": [1, 2, 1, 2, 1], "timestamp": [0, 1, 2, 3, 9]})
    with pytest.raises(DataError, match="no interaction of the test part of the window from 9 on has a history"):
        split_of(lonely, 9, None, rules={})
    with pytest.raises(OptionError, match=r"split\.validation=1"):
        WindowSplit(3, 1.0)
    with pytest.raises(OptionError, match=r"data\.tested=some"):
        TimeWindow(Rows(rows()), 3, tested="some")
