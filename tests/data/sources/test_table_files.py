"""Tables in files: what is read, and the one sentence for what cannot be."""

import gzip
import hashlib
from datetime import date, datetime, time, timedelta

import polars as pl
import pytest

from curriculum_rec.data.interactions import IdMap, clean
from curriculum_rec.data.sources import OnlineRetail, SequencesFile, TableFile
from curriculum_rec.errors import CurriculumRecError, DataError, DataWarning, OptionError

TABLE = "user,item,timestamp\n"


def pairs(source):
    return source.read().select("user", "item").rows()


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
    with pytest.raises(OptionError, match=r"data\.format.*csv, tsv, json_lines, parquet"):
        TableFile(write(TABLE, "x.dat")).read()


def test_ids_stay_text_quotes_hold_and_empty_fields_are_missing(write):
    with pytest.warns(DataWarning, match=r"column 'user' of .*: '01' \(line 2\) and '1' \(line 3\) are taken for two"):
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
        (TABLE + "1,2,3\n1,2,noon\n", {}, ["line 3", "'timestamp'", "'noon'", "not a number"]),
        (TABLE + "1,2,nan\n", {}, ["line 2", "'nan'"]),
        (TABLE + "1,2,inf\n", {}, ["line 2", "'inf'"]),
        (TABLE.encode() + b"1,2,3\n\xe9,2,3\n", {}, ["line 3", "not UTF-8", "0xe9"]),
        (TABLE + "1,2,3\n1,2,3,4\n", {}, ["line 3", "has 4 fields separated by ','", "'1,2,3,4'", "data.separator"]),
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


def test_online_retail_is_inside_the_package():
    frame = OnlineRetail().read()
    assert len(frame) == 386_333
    assert (len(IdMap.from_column(frame["user"])), len(IdMap.from_column(frame["item"]))) == (4_334, 3_659)
    assert frame["timestamp"].is_sorted()
    assert not any(frame.null_count().row(0))


OTHERS = "user,item,timestamp,rating,price,code,title,gap\n1,2,3,5,1.5,01,x,\n2,3,4,-4,2,7,1,NaN\n"


def test_further_columns_are_numbers_where_all_are(write):
    frame = TableFile(write(OTHERS), others=("rating", "price", "code", "title", "gap")).read()
    assert frame.columns == ["user", "item", "timestamp", "rating", "price", "code", "title", "gap"]
    assert dict(frame.drop("user", "item", "timestamp").schema) == {
        "rating": pl.Int64,
        "price": pl.Float64,
        "code": pl.String,  # 01 would become 1
        "title": pl.String,
        "gap": pl.Float64,
    }
    assert frame["gap"].to_list() == [None, None]
    assert frame["price"].to_list() == [1.5, 2.0]


def test_further_columns_get_new_names_and_a_column_may_serve_twice(write):
    frame = TableFile(write(OTHERS), others={"rating": "stars", "timestamp": "seen"}).read()
    assert frame.rows()[0] == ("1", "2", 3, 5, 3)
    assert frame.columns[3:] == ["stars", "seen"]


def test_further_columns_reach_the_interactions(write):
    data = clean(TableFile(write(OTHERS), others=("rating",)).read(), {}, source="s")
    assert data.columns is not None
    assert data.columns["rating"].to_list() == [5, -4]


@pytest.mark.parametrize(
    ("others", "words"),
    [
        (("rating", "rating"), "twice"),
        ({"rating": "x", "price": "x"}, "twice"),
        ({"rating": "item"}, "these names are taken"),
        (("source",), "these names are taken"),
        (("stars",), r"no column 'stars' \(data\.others\)"),
    ],
)
def test_mistakes_in_further_columns(write, others, words):
    with pytest.raises(CurriculumRecError, match=words):
        TableFile(write(OTHERS), others=others).read()


@pytest.mark.parametrize("value", ["inf", "-inf"])
def test_infinite_numbers_are_refused_with_their_line(write, value):
    path = write(f"user,item,timestamp,price\n1,2,3,1\n\n1,2,3,{value}\n")
    with pytest.raises(DataError, match=r"line 4 of .*: column 'price' holds '-?inf', which is not finite"):
        TableFile(path, others=("price",)).read()


@pytest.mark.parametrize("ending", [".csv.gz", ".CSV.GZ", ".csv.zst", ".tsv.gz"])
def test_packed_tables_are_read(write, tmp_path, ending):
    separator = "\t" if "tsv" in ending else ","
    content = "user,item,timestamp\nu,é,1\nv,b,2\n".replace(",", separator).encode()
    path = str(tmp_path / f"x{ending}")
    if ending.endswith("zst"):
        pytest.importorskip("polars").read_csv(content).lazy().sink_csv(path, compression="zstd")
    else:
        write(gzip.compress(content), f"x{ending}")
    assert TableFile(path).read().rows() == [("u", "é", 1), ("v", "b", 2)]


def test_a_digest_is_checked_before_anything_is_read(write):
    content = TABLE + "u,a,1\n"
    path, digest = write(content), hashlib.sha256(content.encode()).hexdigest()
    assert len(TableFile(path, sha256=digest.upper()).read()) == 1
    write(content + "v,b,2\n")
    with pytest.raises(
        DataError, match=rf"changed since its hash was taken: its SHA-256 is \w+, data\.sha256 says {digest}"
    ):
        TableFile(path, sha256=digest).read()
    with pytest.raises(OptionError, match="64 hexadecimal digits"):
        TableFile(path, sha256="abc")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "xml"}, "data.format=xml"),
        ({"quote": "::"}, "data.quote='::'"),
        ({"separator": "\n"}, "data.separator"),
        ({"separator": '"'}, "both"),
        ({"format": "json_lines", "separator": ";"}, "data.separator has no effect on files of format json_lines"),
        ({"format": "parquet", "columns": ("a", "b")}, "data.columns has no effect"),
        ({"format": "numpy", "quote": None}, "data.quote has no effect"),
        ({"timestamp_format": "minutes"}, "one of auto, s, ms, us, ns, iso8601"),
        ({"timestamp_format": "%H:%M"}, "has no date"),
        ({"time_zone": "Europe/Nowhere"}, "no time zone"),
        ({"time_zone": "Europe/Berlin", "timestamp_format": "s"}, "no effect"),
        ({"timestamp": None, "timestamp_format": "s"}, "no effect"),
    ],
)
def test_mistakes_in_options(write, options, words):
    path = write(TABLE + "u,a,1\n")
    with pytest.raises(OptionError) as caught:
        TableFile(path, **options).read()
    assert words in str(caught.value)


def test_latin_1_is_read_where_it_is_said(write, tmp_path):
    path = tmp_path / "films.csv"
    path.write_bytes("user,item,timestamp\nZoë,Amélie,1\nann,Così,2\n".encode("latin1"))
    assert TableFile(str(path), encoding="latin1").read()["item"].to_list() == ["Amélie", "Così"]
    with pytest.raises(DataError, match="line 2 of .* is not UTF-8 text"):
        TableFile(str(path)).read()
    with pytest.raises(DataError, match="UTF-8 alone"):
        list(TableFile(str(path), encoding="latin1").batches(1))
    with pytest.raises(OptionError, match="data.encoding=utf16: it must be one of utf8, latin1"):
        TableFile(str(path), encoding="utf16")
    with pytest.raises(OptionError, match="data.encoding has no effect on files of format json_lines"):
        TableFile(write("{}", "x.jsonl"), encoding="latin1").read()
