"""Files that say the types of their columns: JSON lines, Parquet, NumPy."""

import gzip
import io
from datetime import date, datetime

import numpy as np
import polars as pl
import pytest

from curriculum_rec.data.interactions import clean
from curriculum_rec.data.sources import FileTable, TableFile
from curriculum_rec.errors import CurriculumRecError, DataError, DataWarning, OptionError

LINES = (
    '{"user": {"id": 7, "age": 30}, "item": "a", "at": "2024-01-02T03:04:05Z"}\n\n'
    '{"item": "b", "user": {"id": 9007199254740993}, "at": "2024-01-02T04:04:05+01:00"}\r\n'
    '{"user": {"id": -8}, "item": "", "at": null}\n'
)


def test_json_lines_have_dotted_names_and_keep_large_numbers(write):
    source = TableFile(write(LINES, "x.jsonl"), user="user.id", timestamp="at", others={"user.age": "age"})
    second = int(datetime.fromisoformat("2024-01-02T03:04:05+00:00").timestamp()) * 1_000_000
    assert source.read().rows() == [(7, "a", second, 30), (2**53 + 1, "b", second, None), (-8, None, None, None)]
    packed = TableFile(write(gzip.compress(LINES.encode()), "y.ndjson.gz"), user="user.id", timestamp="at")
    assert packed.read().equals(source.read().drop("age"))


def test_a_name_with_a_dot_of_its_own_is_found_first(write):
    path = write('{"user.id": "u", "user": {"id": 1}, "item": 2}\n', "x.jsonl")
    assert TableFile(path, user="user.id", timestamp=None).read().rows() == [("u", 2)]


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        (["1", '"1"', "1.0"], ["1", "1", "1"]),  # a number and its text are one id
        (["1", "2.0"], [1, 2]),
        (["18446744073709551616", "1"], ["18446744073709551616", "1"]),
        (["-3", "0"], [-3, 0]),
        (['"😀"', '"é"'], ["😀", "é"]),
    ],
)
def test_ids_of_json(write, values, ids):
    path = write("".join(f'{{"user": {value}, "item": "a"}}\n' for value in values), "x.jsonl")
    assert TableFile(path, timestamp=None).read()["user"].to_list() == ids


def test_ids_of_json_that_look_alike(write):
    path = write('{"user": 1, "item": "a"}\n{"user": "01", "item": "b"}\n', "x.jsonl")
    with pytest.warns(DataWarning, match=r"column 'user' of .*: '01' \(line 2\) and '1' \(line 1\)"):
        assert TableFile(path, timestamp=None).read()["user"].to_list() == ["1", "01"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"user": 1, "item": 2}\n{"user": 1, "item":\n', ["line 2", "is no JSON", '{"user": 1, "item":']),
        ('{"user": 1, "item": 2}\n\n[1, 2]\n', ["line 3", "is no object", "[1, 2]", "one object a line"]),
        ('{"user": 1, "item": 2} x\n', ["line 1", "is no JSON"]),
        ('{"user": NaN, "item": 2}\n', ["line 1", "NaN is no number of JSON"]),
        ('{"user": true, "item": 2}\n{"user": 3, "item": 2}\n', ["cannot be read as JSON lines", "of one kind"]),
        ('{"user": [1], "item": 2}\n', ["column 'user'", "List(Int64)", "texts or numbers"]),
        ('{"user": 1.5, "item": 2}\n{"user": 2, "item": 2}\n', ["line 1", "'user' holds '1.5'", "whole numbers"]),
        ('{"user": 1e300, "item": 2}\n', ["line 1", "beyond 2^53"]),
        ('{"user": "a\\u0000", "item": 2}\n', ["line 1", "'user' holds 'a\\x00'", "NUL"]),
        ('{"who": {"id": 1}, "item": 2}\n', ["no column 'user' (data.user)", "'who.id', 'item'"]),
        ("", ["is empty"]),
        ("{}\n", ["no column 'user'"]),
    ],
)
def test_mistakes_in_json_lines(write, content, words):
    with pytest.raises(DataError) as caught:
        TableFile(write(content, "x.jsonl"), timestamp=None).read()
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_nested_field_that_is_missing_is_named_with_what_there_is(write):
    with pytest.raises(
        DataError, match=r"'user' of .* has no column 'name' \(data\.user\); its columns are: 'id', 'age'"
    ):
        TableFile(write(LINES, "x.jsonl"), user="user.name", timestamp=None).read()


@pytest.fixture
def folder(tmp_path):
    """Two days of events, the user among the names of folders."""
    for user, day, items in (("01", "2024-01-02", [3, 4]), ("1", "2024-01-01", [1, 2]), ("a b", "2024-01-01", [5])):
        place = tmp_path / "events" / f"day={day}" / f"user={user}"
        place.mkdir(parents=True)
        pl.DataFrame({"item": items}).write_parquet(place / "part-0.parquet")
    (tmp_path / "events" / "_SUCCESS").touch()
    (tmp_path / "events" / "_temporary").mkdir()
    (tmp_path / "events" / "_temporary" / "x.parquet").write_text("junk")
    return tmp_path / "events"


@pytest.mark.parametrize("pattern", ["", "*/*/*.parquet", "**/*.parquet"])
def test_partitioned_folders_and_patterns_are_read_in_the_order_of_names(folder, pattern):
    path = f"{folder}/{pattern}" if pattern else str(folder)
    if pattern.startswith("**"):
        (folder / "_temporary" / "x.parquet").unlink()
    with pytest.warns(DataWarning, match=r"'01' \(row 4\) and '1' \(row 1\)"):
        frame = TableFile(path, timestamp="day").read()
    assert frame["user"].to_list() == ["1", "1", "a b", "01", "01"]
    assert frame["item"].to_list() == [1, 2, 5, 3, 4]
    first = datetime.fromisoformat("2024-01-01T00:00:00+00:00").timestamp() * 1_000_000
    assert frame["timestamp"].to_list() == [first] * 3 + [first + 86_400_000_000] * 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty", "is a folder without Parquet files"),
        ("*.parquet", "no file is like"),
        ("no.parquet", "does not exist"),
    ],
)
def test_no_parquet_file(tmp_path, name, words):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=words):
        TableFile(str(tmp_path / name)).read()


def test_files_of_a_folder_must_be_of_one_kind(tmp_path):
    pl.DataFrame({"user": [1], "item": [2]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"user": ["x"], "item": [2]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match="are not Parquet files of one kind: .*user"):
        TableFile(str(tmp_path), timestamp=None).read()
    with pytest.raises(OptionError, match="sha256 has no effect on several files"):
        TableFile(str(tmp_path), sha256="0" * 64).read()


@pytest.mark.parametrize(
    ("ids", "read"),
    [
        ([1.0, float("nan"), 3.0, None], [1, None, 3, None]),  # what other tools make of integers with gaps
        ([-1, 2**63 - 1], [-1, 2**63 - 1]),
        ([True, False], ["true", "false"]),
        ([date(2024, 1, 2), None], ["2024-01-02", None]),
        (pl.Series(["b", "a", "b"], dtype=pl.Categorical), ["b", "a", "b"]),
        (pl.Series([2**64 - 1, 1], dtype=pl.UInt64), [2**64 - 1, 1]),
    ],
)
def test_ids_of_parquet(tmp_path, ids, read):
    pl.DataFrame({"user": ids}).with_columns(item=pl.lit("a")).write_parquet(tmp_path / "x.parquet")
    assert TableFile(str(tmp_path / "x.parquet"), timestamp=None).read()["user"].to_list() == read


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ([1.0, 1.5], "row 2 of .*'user' holds '1.5'"),
        ([1.0, float("inf")], "row 2 of .*'user' holds 'inf'"),
        ([1.0, 2.0**53 + 2], r"row 2 of .*'user' holds '9007199254740994.0', beyond 2\^53"),
        ([b"a", b"b"], "column 'user' of .* is of type Binary"),
        ([["a"], ["b"]], "is of type List"),
    ],
)
def test_ids_that_parquet_cannot_mean(tmp_path, ids, words):
    pl.DataFrame({"user": ids, "item": ["a", "b"]}).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(DataError, match=words):
        TableFile(str(tmp_path / "x.parquet"), timestamp=None).read()


def test_texts_of_parquet_stay_texts(tmp_path):
    pl.DataFrame({"user": ["1"], "item": [2], "zip": ["10115"]}).write_parquet(tmp_path / "x.parquet")
    assert TableFile(str(tmp_path / "x.parquet"), timestamp=None, others=("zip",)).read()["zip"].to_list() == ["10115"]


STRUCTURED = np.array([(7, b"ab", 1.5), (8, b"c", 2.5)], [("user", ">i8"), ("item", "S4"), ("timestamp", "f4")])


@pytest.fixture
def save(tmp_path):
    """Save arrays and give the path."""

    def save_file(*values, name="x.npy", **named):
        path = str(tmp_path / name)
        np.savez(path, **named) if named else np.save(path, *values)
        return path

    return save_file


def test_arrays_are_read(save):
    assert TableFile(save(STRUCTURED)).read().rows() == [(7, "ab", 1.5), (8, "c", 2.5)]
    assert TableFile(save(np.array([[1, 2, 3], [4, 5, 6]], np.uint8))).read().rows() == [(1, 2, 3), (4, 5, 6)]
    assert TableFile(save(np.array([["1", "é"]])), timestamp=None).read().rows() == [("1", "é")]
    named = TableFile(save(np.arange(8).reshape(2, 4)), columns=("x", "item", "user", "timestamp"))
    assert named.read().rows() == [(2, 1, 3), (6, 5, 7)]


def test_named_arrays_are_read_and_the_others_left_alone(save):
    times = np.array(["1970-01-01T00:00:01", "NaT"], "datetime64[s]")
    ignored = np.array([{"a": 1}], object)
    path = save(name="x.npz", user=np.arange(2), item=np.array(["a", "b"]), timestamp=times, ignored=ignored)
    assert TableFile(path).read().rows() == [(0, "a", 1_000_000), (1, "b", None)]
    with pytest.raises(DataError, match="without Python objects, which could run code"):
        FileTable(path).read_table()


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([{"a": 1}], object), ["not a readable file of NumPy arrays", "without Python objects"]),
        (np.arange(3), ["has shape [3]", "one row an interaction"]),
        (np.zeros((2, 4)), ["has 4 columns, but data.columns names 0: none"]),
        (np.array([[1j, 2]]), ["is of type complex128", "numbers, text or datetime64"]),
        (np.array([[1.5, 2], [3, 4]]), ["row 1", "'user' holds '1.5'"]),
    ],
)
def test_mistakes_in_arrays(save, array, words):
    with pytest.raises(DataError) as caught:
        TableFile(save(array), timestamp=None).read()
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_arrays_of_other_lengths_are_refused(save):
    with pytest.raises(DataError, match=r"of one length; they are of user \[2\], item \[3\]"):
        TableFile(save(name="x.npz", user=np.arange(2), item=np.arange(3)), timestamp=None).read()


def test_a_header_that_promises_more_than_there_is_reserves_no_memory(write):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<i8", "fortran_order": False, "shape": (2**50, 2)})
    with pytest.raises(DataError, match="not a readable file of NumPy arrays"):
        TableFile(write(buffer.getvalue() + b"\0" * 64, "x.npy"), timestamp=None).read()


def test_the_same_rows_in_every_format_are_the_same_interactions(tmp_path, write):
    frame = pl.DataFrame({"user": [10, 9, 10, 2], "item": [3, 100, 20, 3], "timestamp": [4, 3, 2, 1]})
    frame.write_parquet(tmp_path / "x.parquet")
    frame.write_ndjson(tmp_path / "x.jsonl")
    frame.write_csv(tmp_path / "x.csv")
    np.save(tmp_path / "x.npy", frame.to_numpy())
    np.savez(tmp_path / "x.npz", **{name: frame[name].to_numpy() for name in frame.columns})
    read = [clean(TableFile(str(path)).read(), {}, source="s") for path in sorted(tmp_path.glob("x.*"))]
    assert len(read) == 5
    assert (
        len(
            {(data.users.digest(), data.items.digest(), data.item.tobytes(), data.timestamp.tobytes()) for data in read}
        )
        == 1
    )


def test_options_of_the_wrong_kind_are_refused():
    from curriculum_rec.components import build

    for option, value in (("others", "rating"), ("others", 5), ("columns", "a"), ("timestamp_format", None)):
        with pytest.raises(CurriculumRecError, match=f"^data.{option}="):
            build({"_target_": "curriculum_rec.data.sources.TableFile", "path": "x.csv", option: value}, "data")
