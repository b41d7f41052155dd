"""Sources: what is read, and the one sentence for everything that cannot be."""

from datetime import date, datetime, time, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curriculum_rec.data.interactions import IdMap, clean
from curriculum_rec.data.sources import OnlineRetail, SequencesFile, TableFile
from curriculum_rec.errors import CurriculumRecError, DataError, OptionError

TABLE = "user,item,timestamp\n"


@pytest.fixture
def write(tmp_path):
    """Write a file and give its path."""

    def write_file(content, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write_file


def pairs(source):
    return source.read().select("user", "item").rows()


@pytest.mark.parametrize(
    ("content", "separator"),
    [
        ("u a b\nv c\n", None),
        ("u\ta  b\n\n  \nv c", None),
        ("\n u a b \n\n\nv c\n\n", None),
        ("u a b\r\nv c\r\n", None),
        (b"\xef\xbb\xbfu a b\nv c\n", None),
        ("u,a,b\nv,c\n", ","),
        ("u\ta\tb\r\n\r\nv\tc\r\n", "\t"),
        ("u::a::b\nv::c\n", "::"),
        ("u|a|b\nv|c", "|"),
    ],
)
def test_sequences_are_read(write, content, separator):
    assert pairs(SequencesFile(write(content), separator)) == [("u", "a"), ("u", "b"), ("v", "c")]


def test_sequences_keep_order_and_text_of_ids(write):
    assert pairs(SequencesFile(write("9 01 1 01\n10 é\n"))) == [("9", "01"), ("9", "1"), ("9", "01"), ("10", "é")]


def test_empty_fields_of_sequences_are_missing(write):
    source = SequencesFile(write("u,a,,b\n,c\n"), ",")
    assert pairs(source) == [("u", "a"), ("u", None), ("u", "b"), (None, "c")]


def test_leading_separator_means_a_missing_user(write):
    assert pairs(SequencesFile(write("\ta\tb\nv\tc\n"), "\t"))[0] == (None, "a")


@pytest.mark.parametrize("inside", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_only_line_ends_end_a_line(write, inside):
    assert [user for user, _ in pairs(SequencesFile(write(f"u,a{inside}b,c\n"), ","))] == ["u", "u"]


@pytest.mark.parametrize(
    ("content", "separator", "words"),
    [
        ("", None, ["is empty"]),
        ("\n  \n\r\n", None, ["is empty"]),
        ("u a\nv\n", None, ["line 2", "names a user but no item", "'v'"]),
        ("\n\nu,a,b\n", None, ["line 3", "data.separator=','"]),
        ("u;a;b\n", None, ["data.separator=';'"]),
        ("u a\nv b\n\nu c\n", None, ["user 'u'", "lines 1 and 4"]),
        (b"u a\nv \xff\n", None, ["line 2", "not UTF-8", "0xff"]),
    ],
)
def test_mistakes_in_sequences(write, content, separator, words):
    path = write(content)
    with pytest.raises(DataError) as caught:
        SequencesFile(path, separator).read()
    assert all(word in str(caught.value) for word in [*words, path])


@pytest.mark.parametrize("source", [SequencesFile, TableFile])
def test_missing_file_and_folder(tmp_path, source):
    with pytest.raises(DataError, match=r"no\.csv does not exist.*data\.path"):
        source(str(tmp_path / "no.csv")).read()
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=r"is a folder, not a file"):
        source(str(tmp_path / "folder.csv")).read()


@pytest.mark.parametrize("source", [SequencesFile, TableFile])
def test_path_that_no_file_system_takes(source):
    with pytest.raises(DataError):
        source("x" * 5000 + ".csv").read()


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (TABLE + "u,a,1\nv,01,2.5\n", {}),
        (b"\xef\xbb\xbf" + TABLE.encode() + b"u,a,1\nv,01,2.5", {}),
        ("user,item,timestamp\r\nu,a,1\r\nv,01,2.5\r\n", {}),
        ('timestamp,extra,"item",user\n1,x,"a","u"\n 2.5 ,y,01,v\n', {}),
        ("user\titem\ttimestamp\nu\ta\t1\nv\t01\t2.5\n", {"format": "tsv"}),
        ("user;item;timestamp\nu;a;1\nv;01;2.5\n", {"separator": ";"}),
        ("u,a,5,1\nv,01,3,2.5\n", {"columns": ("user", "item", "rating", "timestamp")}),
        ("who,what,when\nu,a,1\nv,01,2.5\n", {"user": "who", "item": "what", "timestamp": "when"}),
    ],
)
def test_tables_are_read(write, content, options):
    frame = TableFile(write(content), **options).read()
    assert frame.rows(named=True) == [
        {"user": "u", "item": "a", "timestamp": 1.0},
        {"user": "v", "item": "01", "timestamp": 2.5},
    ]


def test_format_goes_by_the_ending(write):
    assert pairs(TableFile(write("user\titem\nu\ta\n", "x.TSV"), timestamp=None)) == [("u", "a")]
    with pytest.raises(OptionError, match=r"data\.format.*csv, tsv, parquet"):
        TableFile(write(TABLE, "x.dat")).read()


def test_ids_stay_text_quotes_hold_and_empty_fields_are_missing(write):
    frame = TableFile(write(TABLE + '01,"a, ""b""",1\n1,,2\n"",x\n1,1e3,\n')).read()
    assert frame.rows() == [("01", 'a, "b"', 1.0), ("1", None, 2.0), (None, "x", None), ("1", "1e3", None)]


def test_parquet_keeps_integers_and_takes_datetimes(tmp_path):
    path = tmp_path / "t.parquet"
    pl.DataFrame(
        {"user": [10, 9], "item": ["b", ""], "timestamp": [datetime(1970, 1, 1, 0, 0, 1), None]}
    ).write_parquet(path)
    assert TableFile(str(path)).read().rows() == [(10, "b", 1_000_000), (9, None, None)]
    pl.DataFrame({"user": [1], "item": [2], "timestamp": [date(1970, 1, 2)]}).write_parquet(path)
    assert TableFile(str(path)).read()["timestamp"][0] == 86_400_000_000


def test_same_ids_from_text_and_integers_have_the_same_codes(write, tmp_path):
    rows = {"user": [10, 9, 2], "item": [3, 100, 20], "timestamp": [1, 2, 3]}
    pl.DataFrame(rows).write_parquet(tmp_path / "t.parquet")
    text = write(TABLE + "".join(f"{u},{i},{t}\n" for u, i, t in zip(*rows.values(), strict=True)))
    first, second = (clean(TableFile(path).read(), {}, source="s") for path in (text, str(tmp_path / "t.parquet")))
    assert first.users.digest() == second.users.digest()
    assert first.items.digest() == second.items.digest()
    assert first.item.tolist() == second.item.tolist() == [2, 3, 1]


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ("", {}, ["is empty"]),
        (" \n\n", {}, ["is empty"]),
        (TABLE, {}, ["header but no rows"]),
        ("user;item;timestamp\n1;2;3\n", {}, ["no column 'user'", "data.separator=';'"]),
        ("user\titem\ttimestamp\n1\t2\t3\n", {}, ["no column 'user'", "data.format=tsv"]),
        (TABLE + "1,2,3\n", {"separator": ";"}, ["data.separator=','"]),
        ("customer,sku,time\n1,2,3\n", {}, ["no column 'user' (data.user)", "'customer', 'sku', 'time'"]),
        ("user,item\n1,2\n", {}, ["no column 'timestamp'", "'user', 'item'", "data.timestamp=null"]),
        (TABLE + "1,2,3\n1,2,noon\n", {}, ["row 2", "'timestamp'", "'noon'", "not a number"]),
        (TABLE + "1,2,nan\n", {}, ["row 1", "'nan'"]),
        (TABLE + "1,2,inf\n", {}, ["row 1", "'inf'"]),
        (TABLE.encode() + b"1,2,3\n\xe9,2,3\n", {}, ["line 3", "not UTF-8", "0xe9"]),
        (TABLE + "1,2,3\n1,2,3,4\n", {}, ["cannot be read as a table separated by ','"]),
        ("1,2,3\n", {"columns": ("user", "item")}, ["has 3 columns", "names 2: user, item"]),
        ("1,2,3\n", {"columns": ("user", "user", "timestamp")}, ["data.columns", "user"]),
        ("nonsense", {"format": "parquet"}, ["not a readable Parquet file"]),
    ],
)
def test_mistakes_in_tables(write, content, options, words):
    path = write(content)
    with pytest.raises(CurriculumRecError) as caught:
        TableFile(path, **options).read()
    sentence = str(caught.value)
    assert all(word in sentence for word in words)
    assert "\n" not in sentence


def test_one_column_cannot_be_two_things(write):
    with pytest.raises(CurriculumRecError, match="user"):
        TableFile(write(TABLE + "1,2,3\n"), item="user").read()


@pytest.mark.parametrize("separator", ["", "::", "é"])
def test_separator_is_one_ascii_character(separator):
    with pytest.raises(OptionError, match="one ASCII character"):
        TableFile("x.csv", separator=separator)


@pytest.mark.parametrize("value", [time(1), timedelta(1), [1], {"a": 1}, b"1"])
def test_parquet_times_of_another_kind_are_refused(tmp_path, value):
    pl.DataFrame({"user": [1], "item": [2], "timestamp": [value]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="timestamp"):
        TableFile(str(tmp_path / "t.parquet")).read()


@pytest.mark.parametrize("values", [[[1], [2]], [b"a", b"\xff"]])
def test_parquet_ids_of_another_kind_are_refused(tmp_path, values):
    pl.DataFrame({"user": values, "item": [2, 3], "timestamp": [1, 2]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="user"):
        clean(TableFile(str(tmp_path / "t.parquet")).read(), {}, source="s")


SEEDS = (
    TABLE.encode() + b'u,a,1\nv,"b, c",2\r\nw,,3\n',
    b"u a b c\nv d\n\nw e f\n",
    b"\xef\xbb\xbfuser\titem\ttimestamp\n1\t2\t3\n",
)
MUTATION = st.tuples(st.integers(0, 60), st.integers(0, 3), st.binary(max_size=4))
SPECIAL = st.tuples(
    st.integers(0, 60), st.integers(0, 3), st.sampled_from([b'"', b"\n", b"\r", b",", b"\x00", b"\xe2"])
)


@given(st.sampled_from(SEEDS), st.lists(MUTATION | SPECIAL, min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_broken_files_raise_nothing_but_our_errors(tmp_path_factory, content, mutations):
    for place, length, new in mutations:
        content = content[:place] + new + content[place + length :]
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_bytes(content)
    sources = (
        TableFile(str(path)),
        TableFile(str(path), separator="\t"),
        TableFile(str(path), timestamp=None, columns=("user", "item", "x")),
        SequencesFile(str(path)),
        SequencesFile(str(path), ","),
    )
    for source in sources:
        try:
            frame = source.read()
        except CurriculumRecError as error:
            assert "\n" not in str(error).replace("'\n'", "")  # noqa: PT017 - one sentence
        else:
            assert {"user", "item"} <= set(frame.columns)
            assert not frame.is_empty()


def test_online_retail_is_inside_the_package():
    frame = OnlineRetail().read()
    assert len(frame) == 386_333
    assert (len(IdMap.from_column(frame["user"])), len(IdMap.from_column(frame["item"]))) == (4_334, 3_659)
    assert frame["timestamp"].is_sorted()
    assert not any(frame.null_count().row(0))
