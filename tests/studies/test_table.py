import csv
import io

from curriculum_rec.studies.table import Column, Table, rows_to_table, to_csv, to_latex, to_markdown

TABLE = Table(
    "t",
    "50 % & more",
    "note",
    (
        Column("arm", ("plain", "a_b")),
        Column("interval", ((-0.5, 0.25), None), lambda ends: f"{ends[0]:+.2f} to {ends[1]:+.2f}"),
        Column("p", (float("nan"), 1 / 3), ".3f"),
    ),
)


def test_the_csv_has_numbers_as_they_are_and_intervals_as_two_columns():
    header, first, second = csv.reader(io.StringIO(to_csv(TABLE)))
    assert header == ["arm", "interval, low", "interval, high", "p"]
    assert first == ["plain", "-0.5", "0.25", ""]
    assert second == ["a_b", "", "", repr(1 / 3)]
    assert float(second[3]) == 1 / 3


def test_markdown_has_what_a_person_reads():
    assert to_markdown(TABLE).splitlines() == [
        "| arm | interval | p |",
        "|---|---:|---:|",
        "| plain | -0.50 to +0.25 |  |",
        "| a_b |  | 0.333 |",
    ]


def test_latex_is_escaped():
    text = to_latex(TABLE)
    assert r"\caption{50 \% \& more}" in text
    assert r"a\_b &  & 0.333 \\" in text
    assert r"plain & $-$0.50 to +0.25 &  \\" in text


def test_columns_without_a_value_are_left_out():
    table = rows_to_table("t", "", "", {"a": "", "b": "", "c": ""}, [{"a": 1}, {"a": 2, "c": 3}])
    assert table.header == ["a", "c"]
    assert table.rows() == [["1", ""], ["2", "3"]]
