"""Tables that are read some rows at a time: what they are as a whole, and the same sentences with the same rows."""

import gzip

import numpy as np
import polars as pl
import pytest

from curriculum_rec.data.sources import TableFile
from curriculum_rec.errors import DataError, OptionError

TABLE = "user,item,timestamp\n"


@pytest.fixture
def write(tmp_path):
    def write(content, name="table.csv"):
        (tmp_path / name).write_text(content)
        return str(tmp_path / name)

    return write


def read_in_parts(source, rows=50):
    return pl.concat(list(source.batches(rows)), how="vertical_relaxed")


def rows_of(n, seed=0):
    rng = np.random.default_rng(seed)
    users = pl.Series(rng.integers(0, 40, n)).cast(pl.String)
    return pl.DataFrame(
        {
            "when": rng.integers(0, 10**9, n),
            "user": users.set(users == "7", None),
            "item": [f"i{number:02d}" for number in rng.integers(0, 30, n)],
            "rating": pl.Series(rng.integers(0, 10, n) / 2).set(pl.Series(rng.random(n) < 0.1), None),
            "shop": [("a, b", "c")[number] for number in rng.integers(0, 2, n)],
        }
    )


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
@pytest.mark.parametrize("options", [{}, {"others": ("rating", "shop")}, {"timestamp_format": "s"}])
def test_parts_are_together_what_the_whole_is(tmp_path, ending, options):
    frame, path = rows_of(3000), tmp_path / f"table.{ending}"
    if ending == "parquet":
        frame.write_parquet(path, row_group_size=100)
    else:
        frame.write_csv(path, separator="," if ending == "csv" else "\t")
    source = TableFile(str(path), timestamp="when", **options)
    parts = list(source.batches(100))
    assert ending != "parquet" or len(parts) > 3
    assert read_in_parts(source).equals(source.read())


def test_a_wrong_value_late_in_the_file_is_named_by_its_line(write):
    source = TableFile(write(TABLE + "".join(f"u,i{n},{n}\n" for n in range(5000)) + "u,i,soon\n"))
    with pytest.raises(DataError, match=r"line 5,002 of .*table\.csv: column 'timestamp' holds 'soon'"):
        read_in_parts(source)
    with pytest.raises(DataError, match="line 5,002 of"):
        source.read()


def test_a_wrong_value_late_in_a_parquet_file_is_named_by_its_row(tmp_path):
    frame = pl.DataFrame({"user": ["u"] * 900, "item": ["i"] * 900, "timestamp": [1.0] * 899 + [float("inf")]})
    frame.write_parquet(tmp_path / "table.parquet", row_group_size=100)
    with pytest.raises(DataError, match="row 900 of"):
        read_in_parts(TableFile(str(tmp_path / "table.parquet")))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (TABLE + "u,i,1\n" * 400 + "u,i,1,x\n", "line 402 of .* has 4 fields"),
        (TABLE + "u,i,1\n" * 400 + "u;i;1\n", "line 402 of .* has 1 fields.*holds ';'"),
        (TABLE + "u,i,1\n" * 400 + 'u,"i,1\n', "line 402 of"),
        (TABLE, "has a header but no rows"),
        ("", "is empty"),
        ("who,item,timestamp\nu,i,1\n", "has no column 'user'"),
    ],
)
def test_what_cannot_be_read_is_the_same_sentence(write, content, sentence):
    source = TableFile(write(content))
    with pytest.raises(DataError, match=sentence) as whole:
        source.read()
    with pytest.raises(DataError, match=sentence) as parts:
        read_in_parts(source)
    assert str(parts.value) == str(whole.value)


def test_a_column_stays_what_it_was(write):
    many = "".join(f"u,i,{n},{n}\n" for n in range(3000))
    source = TableFile(write("user,item,timestamp,rating\n" + many + "u,i,1,good\n" * 3000), others=("rating",))
    with pytest.raises(DataError, match="column 'rating' of .* holds text from line .* on and numbers before"):
        list(source.batches(100))
    times = "".join(f"u,i,{n}\n" for n in range(3000)) + "u,i,2024-12-31\n" * 3000
    with pytest.raises(DataError, match=r"line 3,002 of .*'2024-12-31'"):
        list(TableFile(write(TABLE + times)).batches(100))


def test_what_is_read_as_a_whole_alone_says_so(tmp_path, write):
    (tmp_path / "table.csv.gz").write_bytes(gzip.compress(TABLE.encode() + b"u,i,1\n"))
    with pytest.raises(DataError, match="is packed, and cannot be read in parts"):
        list(TableFile(str(tmp_path / "table.csv.gz")).batches(5))
    lines = write('{"user": "u", "item": "i", "timestamp": 1}\n', "table.jsonl")
    with pytest.raises(DataError, match="is of format json_lines, which cannot be read in parts"):
        list(TableFile(lines).batches(5))
    with pytest.raises(DataError, match="changed since its hash was taken"):
        list(TableFile(write(TABLE + "u,i,1\n"), sha256="0" * 64).batches(5))
    with pytest.raises(OptionError, match=r"data\.quote has no effect"):
        list(TableFile(lines, quote=None).batches(5))
