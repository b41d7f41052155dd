"""``data prepare`` with a store: what it says, what it makes, and what it refuses in a sentence."""

import dataclasses

import polars as pl
import pytest

from curriculum_rec import help_texts
from curriculum_rec.cli import main
from curriculum_rec.config import DataPrepareConfig

PREPARE = ("data", "prepare", "data=table")


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A table in the current folder."""
    monkeypatch.chdir(tmp_path)
    rows = [(f"u{user}", f"i{(user + at) % 9}", at) for user in range(12) for at in range(5 + user % 3)]
    pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row").write_csv("table.csv")
    return tmp_path


def test_it_says_what_it_made_and_how_to_train_on_it(table, capsys):
    assert main([*PREPARE, "data.path=table.csv", "store=made"]) == 0
    said = capsys.readouterr().out
    assert "missing removed 0 of 72, duplicates removed 0 of 72, k_core removed 0 of 72" in said
    assert "72 interactions of 12 users and 9 items in 1 shards" in said
    assert "train data=store data.path=made placement.examples=host" in said
    assert main([*PREPARE, "data.path=table.csv", "store=made"]) == 0, "what is there already is left"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["store=made"], "data.path is not set"),
        (["data.path=table.csv", "memory_gib=1"], "memory_gib has no effect without store=DIR"),
        (["data.path=table.csv", "split=last_n"], "split has no effect without store=DIR"),
        (["data.path=table.csv", "split=global_time", "store=made"], "split GlobalTime looks at all users at once"),
        (["data.path=table.csv", "data.format=json_lines", "store=made"], "cannot be read in parts"),
        (["data.path=gone.csv", "store=made"], "gone.csv does not exist"),
        (["data=online_retail", "store=made"], "OnlineRetail is read as a whole"),
        (["data.path=table.csv", "store=made", "memory_gib=0"], "memory_gib=0"),
        (["data.path=table.csv", "store=made", "workers=2"], "workers=2 has no effect without engine=ray"),
        (["data.path=table.csv", "store=made", "engine=spark"], "engine=spark"),
        (["data.path=table.csv", "store=made", "data.item=sku"], "no column 'sku'"),
        (["data.path=table.csv", "data.timestamp=null", "store=made"], "compares neighbouring rows"),
        (["data.path=table.csv", "store=made", "cleaning.k_core.min_user_interactions=50"], "removed all 72 rows"),
        (["data.path=empty", "store=made"], "is a folder without Parquet files"),
    ],
)
def test_a_mistake_is_one_sentence(table, capsys, words, sentence):
    (table / "empty").mkdir()
    assert main([*PREPARE, *words]) == 2
    said = capsys.readouterr().err.splitlines()
    assert sentence in said[-1], said
    assert said[-1].startswith("curriculum-rec: ")
    assert not (table / "made").exists()


def test_a_folder_that_is_no_store_is_named(table, capsys):
    assert main(["train", "data=store", "data.path=.", "placement.examples=host", f"run_dir={table / 'run'}"]) == 2
    assert "is no store: it has no manifest.json" in capsys.readouterr().err


def test_help_names_every_option():
    text = help_texts.ACTIONS["data"]["prepare"]
    for field in dataclasses.fields(DataPrepareConfig):
        assert f"{field.name}=" in text or f"{field.name}." in text, field.name
