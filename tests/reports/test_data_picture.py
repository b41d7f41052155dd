"""The description of data: rows of facts, a picture and a page."""

import numpy as np
import polars as pl
import pytest

from curriculum_rec.data.interactions import LedgerEntry
from curriculum_rec.reports.data_facts import column_rows, describe_data, fact_rows
from curriculum_rec.reports.data_picture import data_page, draw_data
from curriculum_rec.reports.figures import to_bytes

DAY = 86_400
FRAME = pl.DataFrame(
    {
        "user": [1, 1, 1, 2, 2, 3],
        "item": ["a", "b", "a", "a", "b", "c"],
        "timestamp": np.array([0, 1, 1, 2, 2, 5]) * DAY + 1_200_000_000,
        "rating": [5, 4, None, 5, 1, 2],
    }
)
ITEMS = pl.DataFrame({"id": ["a", "b", "c"], "genres": [["x"], ["x", "<y>"], []]})


def described(frame=FRAME, cleaned=None):
    ledger = [LedgerEntry("k_core", 6, 5)]
    return describe_data("Tiny <set>", frame, cleaned, ledger=ledger, tables={"items": ITEMS}, notes=["A note."])


def test_facts_as_read_and_after_cleaning():
    rows = {name: values for name, *values in fact_rows(described(cleaned=FRAME.head(5)))}
    assert rows["interactions"] == ["6", "5"]
    assert rows["users"] == ["3", "2"]
    assert rows["density"] == ["66.7 %", "125.0 %"]
    assert rows["interactions a user: median, mean, most"] == ["2, 2.0, 3", "2, 2.5, 3"]
    assert rows["users with fewer than 3 (nothing to train on)"] == ["2 (66.7 %)", "1 (50.0 %)"]
    assert rows["repeats (the user had the item before)"] == ["16.7 %", "20.0 %"]
    assert rows["ties (users whose last two times are equal)"] == ["100 %", "100 %"]
    assert rows["first"] == ["2008-01-10 21:20", "2008-01-10 21:20"]
    assert rows["span"] == ["5 days", "2 days"]
    assert rows["missing values"] == ["rating 1", "rating 1"]


def test_where_cleaning_leaves_nothing_a_dash_stands():
    assert {row[2] for row in fact_rows(described())} == {"-"}


def test_rows_of_columns():
    [rating] = column_rows(described().columns)
    assert rating == ["rating", "number", "4", "1", "1", "5", "5 (40.0 %)"]
    n_rows, columns = described().tables["items"]
    assert (n_rows, column_rows(columns)) == (3, [["genres", "list of texts", "-", "0", "-", "-", "x (66.7 %)"]])


def titles(figure):
    return [axis.get_title(loc="left") for axis in figure.axes]


def test_the_picture_shows_what_there_is():
    figure = draw_data(described(cleaned=FRAME.head(5)))
    assert [title.split(" (")[0] for title in titles(figure)] == [
        *("history lengths", "popularity", "concentration", "interactions over time"),
        *("time to the user's next interaction", "traps"),
    ]
    lengths, popularity, concentration = (axis.lines for axis in figure.axes[:3])
    assert [line.get_label() for line in lengths] == ["as read", "after cleaning"]
    assert lengths[0].get_xdata().tolist() == [1, 2, 3]
    assert lengths[0].get_ydata() == pytest.approx([1, 2 / 3, 1 / 3])  # at least 1, 2 and 3 interactions
    assert popularity[0].get_ydata().tolist() == [3, 2, 1]
    assert concentration[0].get_ydata() == pytest.approx([0, 3 / 6, 5 / 6, 1])
    assert "6 interactions, 3 users, 3 items, density 66.7 %" in figure.get_suptitle()


@pytest.mark.parametrize(
    "frame",
    [
        FRAME.drop("timestamp"),
        FRAME.with_columns(timestamp=pl.lit(0)),
        FRAME.with_columns(timestamp=pl.lit(None, dtype=pl.Int64)),
        FRAME.with_columns(timestamp=pl.int_range(6)),
        FRAME.head(1),
        FRAME.with_columns(user=pl.lit(None, dtype=pl.Int64)),
    ],
    ids=["no times", "one time", "times missing", "small numbers", "one row", "no users"],
)
def test_odd_data_is_drawn_too(frame):
    description = described(frame)
    assert fact_rows(description)
    assert to_bytes(draw_data(description), ".svg").startswith(b"<?xml")


def test_the_page_needs_nothing_else_and_escapes_what_others_wrote():
    page = data_page(described(cleaned=FRAME.head(5)))
    assert "Tiny &lt;set&gt;" in page
    assert "<set>" not in page
    assert "A note." in page
    assert page.count("<table>") == 4
    assert not any(word in page for word in ("<script", "http-equiv", "src=", "@import"))


def test_the_same_data_gives_the_same_bytes():
    first, second = (to_bytes(draw_data(described(cleaned=FRAME.head(5))), ".png") for _ in range(2))
    assert first == second
