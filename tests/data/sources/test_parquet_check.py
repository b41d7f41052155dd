"""Damaged Parquet files: refused before Polars believes them, whole ones never."""

import io
import random

import polars as pl
import pytest

from curriculum_rec.data.sources import TableFile
from curriculum_rec.data.sources.parquet_check import BrokenParquetError, check_parquet
from curriculum_rec.errors import DataError

OPTIONS = [
    {},
    {"compression": "uncompressed", "statistics": False},
    {"compression": "gzip", "data_page_size": 64},
    {"compression": "snappy", "row_group_size": 7},
    {"statistics": "full"},
]


def frame():
    n = 50
    return pl.DataFrame(
        {
            "user": [f"user-{number % 7}" for number in range(n)],
            "item": range(n),
            "price": [None if number % 3 else number / 4 for number in range(n)],
            "tags": [["x"] * (number % 3) for number in range(n)],
            "nested": [{"a": number, "b": None} for number in range(n)],
        }
    )


def written(table, **options):
    buffer = io.BytesIO()
    table.write_parquet(buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("options", OPTIONS)
def test_whole_files_pass(tmp_path, options):
    for table in (frame(), frame().head(0), frame().select("user")):
        (tmp_path / "x.parquet").write_bytes(written(table, **options))
        check_parquet(tmp_path / "x.parquet", None)
        check_parquet(tmp_path / "x.parquet", ["user", "tags"])


@pytest.mark.parametrize("options", OPTIONS)
def test_every_cut_is_found(tmp_path, options):
    content = written(frame(), **options)
    for length in (0, 3, 11, len(content) // 2, len(content) - 9, len(content) - 1):
        (tmp_path / "x.parquet").write_bytes(content[:length])
        with pytest.raises(BrokenParquetError):
            check_parquet(tmp_path / "x.parquet", None)


def test_a_number_of_values_below_0_is_found_where_polars_would_abort(tmp_path):
    content = bytearray(written(frame().select("user", "item"), compression="uncompressed", statistics=False))
    changed = 0
    for place, byte in enumerate(content[:-8]):
        if byte == 100:  # fifty values, as Thrift writes 50
            (tmp_path / "x.parquet").write_bytes(content[:place] + bytes([99]) + content[place + 1 :])
            try:
                check_parquet(tmp_path / "x.parquet", None)
            except BrokenParquetError as error:
                changed += "is -50" in str(error)
    assert changed >= 4  # a page and a column of each


def test_random_damage_raises_nothing_else(tmp_path):
    chance, content = random.Random(0), written(frame(), compression="uncompressed")
    refused = 0
    for _ in range(400):
        changed = bytearray(content)
        changed[chance.randrange(len(changed) // 2, len(changed))] ^= 1 << chance.randrange(8)
        (tmp_path / "x.parquet").write_bytes(changed)
        try:
            check_parquet(tmp_path / "x.parquet", None)
        except BrokenParquetError:
            refused += 1
    assert refused > 40


def test_the_sentence_names_the_file(tmp_path):
    (tmp_path / "x.parquet").write_bytes(written(frame())[:-4])
    with pytest.raises(
        DataError, match=r"x\.parquet is not a readable Parquet file: it does not end as Parquet files do"
    ):
        TableFile(str(tmp_path / "x.parquet")).read()
