"""What exports of real systems do to a file: each case is read rightly, or refused in one sentence that mends it."""

import codecs
import gzip
import hashlib

import numpy as np
import polars as pl
import pytest

from curriculum_rec.data.cleaning import DropMissing
from curriculum_rec.data.interactions import clean
from curriculum_rec.data.joined import Joined
from curriculum_rec.data.sources import EntityTable, FileTable, SequencesFile, TableFile
from curriculum_rec.data.splits import LeaveOneOut, Part
from curriculum_rec.errors import DataError, DataWarning

HEADER = "user,item,timestamp\n"


def refusal(source):
    """The one sentence."""
    with pytest.raises(DataError) as caught:
        source.read()
    sentence = str(caught.value)
    assert len(sentence.splitlines()) == 1
    return sentence


@pytest.mark.parametrize("content", ["", "\n", "\r\n \n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
@pytest.mark.parametrize("source", [TableFile, SequencesFile])
def test_empty(write, content, source):
    path = write(content)
    assert f"{path} is empty" in refusal(source(path))


def test_header_only(write):
    assert "has a header but no rows" in refusal(TableFile(write(HEADER)))
    assert "has a header but no rows" in refusal(TableFile(write(HEADER.strip())))


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
def test_bom_and_crlf(write, name):
    content = codecs.BOM_UTF8 + (HEADER + "u,a,1\nv,b,2\n").replace("\n", "\r\n").encode()
    path = write(gzip.compress(content) if name.endswith("gz") else content, name)
    assert TableFile(path).read().rows() == [("u", "a", 1), ("v", "b", 2)]


@pytest.mark.parametrize("bom", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_utf_16(write, bom):
    sentence = refusal(TableFile(write(bom + HEADER.encode("utf-16-le"))))
    assert "line 1 of" in sentence and "is UTF-16 text" in sentence and "iconv" in sentence


def test_line_ends_of_old_macintosh_programs(write):
    sentence = refusal(TableFile(write((HEADER + "u,a,1\n").replace("\n", "\r"))))
    assert "line 1 of" in sentence and "carriage return" in sentence and "tr" in sentence


@pytest.mark.parametrize(
    ("line", "value"), [("v;b;2", "'v;b;2'"), ("v\tb\t2", "'v\\tb\\t2'"), ("v;b,2", "'v;b,2'"), ("v|b|2", "'v|b|2'")]
)
def test_mixed_separators(write, line, value):
    sentence = refusal(TableFile(write(f"{HEADER}u,a,1\n\n{line}\nw,c,3\n")))
    assert sentence.startswith("line 4 of ")
    assert value in sentence
    assert "data.separator" in sentence


def test_a_line_that_is_merely_short_misses_values(write):
    data = TableFile(write(HEADER + "u,a,1\nv\nw,c,3\n")).read()
    assert data.rows()[1] == ("v", None, None)
    cleaned = clean(data, {"missing": DropMissing()}, source="s")
    assert [entry.removed for entry in cleaned.ledger] == [1]  # told in the ledger


def test_quoted_separators_quotes_and_line_breaks(write):
    path = write('user,item,timestamp,title\n"u,1",a,1,"say ""hi"", x"\nv,b,2,"two\nlines"\nw,c,3,\n')
    with pytest.warns(
        DataWarning, match=r"1 rows of .* go over several lines, the first from line 3 on .*data\.quote=null"
    ):
        frame = TableFile(path, others=("title",)).read()
    assert frame["user"].to_list() == ["u,1", "v", "w"]
    assert frame["title"].to_list() == ['say "hi", x', "two\nlines", None]


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ('u,a,1,5" disk\nv,b,2,x\n', 2),
        ('u,a,1,"x\nv,b,2,y\n', 2),
        ('u,a,1,x\nv,b,2,"x" y\n', 3),
        ('u,a,1,5" disk\nv,b,2,7" disk\n', 2),
    ],
)
def test_quotes_that_are_no_quotes(write, rows, line):
    path = write("user,item,timestamp,title\n" + rows)
    sentence = refusal(TableFile(path))
    assert sentence.startswith(f"line {line} of ")
    assert "data.quote=null" in sentence
    assert TableFile(path, quote=None, others=("title",)).read()["user"].to_list() == ["u", "v"]


def test_a_quote_that_swallows_rows_into_an_id(write):
    with pytest.warns(DataWarning, match="go over several lines"):
        sentence = refusal(TableFile(write(HEADER + 'u,"a\nv,b,2\nw,c",3\nx,d,4\n')))
    assert "line 2 of" in sentence and "column 'item'" in sentence and "line break" in sentence


def test_duplicated_header_names(write):
    sentence = refusal(TableFile(write("user,item,timestamp,item\n1,2,3,4\n")))
    assert sentence.startswith("line 1 of ") and "two columns 'item' (fields 2 and 4): rename one" in sentence
    assert len(TableFile(write("user,item,timestamp,x,x\n1,2,3,4,5\n")).read()) == 1  # nobody asks for these


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
def test_bytes_that_are_not_utf_8(write, name):
    content = HEADER.encode() + b"u,a,1\nv,th\xe9,2\n"
    sentence = refusal(TableFile(write(gzip.compress(content) if name.endswith("gz") else content, name)))
    assert sentence.startswith("line 3 of ") and "byte 0xe9 after 'v,th'" in sentence and "iconv" in sentence


def test_bytes_that_are_not_utf_8_far_into_a_file(write):
    rows = b"user-number,item-number,1\n" * 200_000
    sentence = refusal(TableFile(write(HEADER.encode() + rows + b"u,\xff,1\n")))
    assert sentence.startswith("line 200002 of ")
    sentence = refusal(TableFile(write(HEADER.encode() + "é".encode()[:1])))
    assert sentence.startswith("line 2 of ") and "cut short" in sentence


@pytest.mark.parametrize("source", [TableFile, SequencesFile])
def test_nul(write, source):
    sentence = refusal(source(write(HEADER + "u,a,1\nv,b\0,2\n")))
    assert sentence.startswith("line 3 of ") and "NUL byte after 'v,b'" in sentence


def test_emoji_ids(write):
    path = write(HEADER + "😀,🛒,1\n😀,é,2\n👩‍💻,🛒,3\n")
    data = clean(TableFile(path).read(), {}, source="s")
    assert data.users.ids.to_list() == ["👩‍💻", "😀"]
    assert data.items.decode(data.item).to_list() == ["🛒", "🛒", "é"]


def test_01_and_1_and_1_0_are_three_texts_and_said_so(write):
    path = write(HEADER + "u,1,1\nu,01,2\nv,1.0,3\n")
    with pytest.warns(
        DataWarning, match=r"column 'item' of .*: '01' \(line 3\) and '1' \(line 2\) are taken for two ids"
    ):
        frame = TableFile(path).read()
    assert clean(frame, {}, source="s").n_items == 3


def test_01_and_1_and_1_0_across_sources(write, tmp_path):
    numbers = pl.DataFrame({"user": [1, 2], "item": [1.0, 2.0], "timestamp": [1, 2]})
    numbers.write_parquet(tmp_path / "x.parquet")
    sources = {"a": TableFile(write(HEADER + "1,01,1\n2,2,2\n")), "b": TableFile(str(tmp_path / "x.parquet"))}
    with pytest.warns(DataWarning, match=r"items of .* \+ .*: '01' and '1' are taken for two ids"):
        frame = Joined(sources, same_users=True, same_items=True).read()
    assert frame["user"].to_list() == ["1", "2", "1", "2"]  # the number 1 and the text 1 are one
    assert frame["item"].to_list() == ["01", "2", "1", "2"]


LARGE = ["9007199254740993", "9007199254740992", "18446744073709551617", "-9223372036854775809"]


def test_ids_beyond_2_to_the_53(write, tmp_path):
    rows = "".join(f"{id_},a{n},{n}\n" for n, id_ in enumerate(LARGE))
    assert TableFile(write(HEADER + rows)).read()["user"].to_list() == LARGE
    lines = "".join(f'{{"user": {id_}, "item": "a"}}\n' for id_ in LARGE)
    assert TableFile(write(lines, "x.jsonl"), timestamp=None).read()["user"].cast(pl.String).to_list() == LARGE
    pl.DataFrame({"user": [2.0**53, 2.0**53 + 2], "item": [1, 2]}).write_parquet(tmp_path / "x.parquet")
    sentence = refusal(TableFile(str(tmp_path / "x.parquet"), timestamp=None))
    assert (
        sentence.startswith("row 2 of ") and "'9007199254740994.0', beyond 2^53" in sentence and "as text" in sentence
    )


def test_negative_ids(write, tmp_path):
    path = write(HEADER + "-1,-5,1\n-10,5,2\n")
    data = clean(TableFile(path).read(), {}, source="s")
    assert data.users.ids.to_list() == ["-10", "-1"]
    assert min(data.user.min(), data.item.min()) == 1


@pytest.mark.parametrize("value", ["nan", "NaN", "inf", "-inf", "Infinity"])
def test_nan_and_infinity_are_no_times(write, value):
    sentence = refusal(TableFile(write(f"{HEADER}u,a,1\nv,b,{value}\n")))
    assert sentence.startswith("line 3 of ") and f"column 'timestamp' holds '{value}'" in sentence


def test_nan_and_infinity_as_ids(tmp_path):
    pl.DataFrame({"user": [1.0, float("nan")], "item": [1, 2]}).write_parquet(tmp_path / "x.parquet")
    data = TableFile(str(tmp_path / "x.parquet"), timestamp=None).read()
    assert data["user"].to_list() == [1, None]  # missing, which the cleaning rule counts
    np.save(tmp_path / "x.npy", np.array([[1.0, 2.0], [np.inf, 2.0]]))
    assert "row 2 of" in refusal(TableFile(str(tmp_path / "x.npy"), timestamp=None))


@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
def test_years_1970_and_2262(write, tmp_path, unit):
    texts = ["1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z", "2262-04-11T23:47:16Z"]
    path = write(HEADER + "".join(f"u,a,{text}\n" for text in texts))
    expected = [-1_000_000, 0, 9_223_372_036_000_000]
    frame = TableFile(path).read()
    assert frame["timestamp"].to_list() == expected
    typed = frame.with_columns(pl.col("timestamp").cast(pl.Datetime("us")).cast(pl.Datetime(unit)))
    typed.write_parquet(tmp_path / "x.parquet")
    assert TableFile(str(tmp_path / "x.parquet")).read()["timestamp"].to_list() == expected


def test_decreasing_time_is_sorted_and_equal_times_keep_their_order(write):
    path = write(HEADER + "u,a,3\nu,b,2\nu,c,2\nu,d,1\nv,a,1\n")
    data = clean(TableFile(path).read(), {}, source="s")
    assert data.items.decode(data.item).to_list() == ["d", "b", "c", "a", "a"]


def test_users_with_0_1_2_and_3_events(write):
    path = write(HEADER + "u1,a,1\nu2,a,1\nu2,b,2\nu3,a,1\nu3,b,2\nu3,c,3\n")
    split = LeaveOneOut()(clean(TableFile(path).read(), {}, source="s"))
    assert split.part.tolist() == [Part.TRAIN, Part.TRAIN, Part.TRAIN, Part.TRAIN, Part.VALIDATION, Part.TEST]
    users = EntityTable(FileTable(write("user,age\nu0,9\nu3,5\n", "users.csv")), "user").read()
    assert split.interactions.users.encode(users["id"]).tolist() == [0, 3]  # u0 has no event, and no code
    few = write(HEADER + "u1,a,1\nu2,a,1\nu2,b,2\n", "few.csv")
    with pytest.raises(DataError, match="no user has three interactions"):
        LeaveOneOut()(clean(TableFile(few).read(), {}, source="s"))


def test_one_item(write):
    with pytest.raises(DataError, match=r"has only one item \('a'\)"):
        clean(TableFile(write(HEADER + "u,a,1\nv,a,2\n")).read(), {}, source="s")


@pytest.mark.parametrize("name", ["x.csv.gz", "x.jsonl.gz", "x.txt.gz"])
@pytest.mark.parametrize("kept", [9, 25, -9, -1])
def test_gz_cut_short(write, name, kept):
    content = {"x.csv.gz": HEADER + "u,a,1\n" * 99, "x.jsonl.gz": '{"user": 1}\n' * 99, "x.txt.gz": "u a b\n" * 99}
    path = write(gzip.compress(content[name].encode())[:kept], name)
    sentence = refusal(SequencesFile(path) if name == "x.txt.gz" else TableFile(path))
    assert path in sentence and "cut short" in sentence and "fetch it again" in sentence


def test_gz_that_was_changed(write):
    content = bytearray(gzip.compress((HEADER + "u,a,1\n" * 99).encode()))
    content[-6] ^= 1
    assert "is no whole gzip file" in refusal(TableFile(write(bytes(content), "x.csv.gz")))
    assert "is no whole gzip file" in refusal(TableFile(write(HEADER, "x.csv.gz")))


def test_a_file_that_changed_since_its_hash(write):
    content = HEADER + "u,a,1\nv,b,2\n"
    digest = hashlib.sha256(content.encode()).hexdigest()
    path = write(content)
    assert len(TableFile(path, sha256=digest).read()) == 2
    write(content.replace("v,b", "v,c"))
    sentence = refusal(TableFile(path, sha256=digest))
    assert path in sentence and digest in sentence and "put the file back, or say data.sha256=null" in sentence


@pytest.mark.parametrize("line", ["1,2,3,4", 'u,"a,b",1,2'])
def test_too_many_fields(write, line):
    sentence = refusal(TableFile(write(f"{HEADER}u,a,1\n{line}\n")))
    assert sentence.startswith("line 3 of ") and "4 fields" in sentence and "data.separator" in sentence
