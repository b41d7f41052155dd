"""Tables of users and items, joined with interactions by their ids."""

import polars as pl
import pytest

from curriculum_rec.components import build
from curriculum_rec.data.interactions import clean
from curriculum_rec.data.sources import EntityTable, FileTable, TableFile
from curriculum_rec.errors import DataError, OptionError

ITEMS = "sku,price,genre,code\n7,1.5,a,01\n8,,b|c,2\n9,3,,3\n"


def test_attributes_by_id(write):
    path = write(ITEMS, "items.csv")
    assert EntityTable(FileTable(path), "sku").read().rows(named=True) == [
        {"id": "7", "price": 1.5, "genre": "a", "code": "01"},
        {"id": "8", "price": None, "genre": "b|c", "code": "2"},
        {"id": "9", "price": 3.0, "genre": None, "code": "3"},
    ]
    assert EntityTable(FileTable(path), "sku", ("genre",)).read().columns == ["id", "genre"]
    assert EntityTable(FileTable(path), "sku", {"price": "cost"}).read().columns == ["id", "cost"]


@pytest.mark.parametrize("ids", [[7, 8, 9], [7.0, 8.0, 9.0], ["7", "8", "9"]])
def test_interactions_and_attributes_meet_whatever_the_ids_types_are(write, tmp_path, ids):
    events = pl.DataFrame({"user": [1, 1, 2], "item": [9, 7, 8], "timestamp": [1, 2, 3]})
    events.write_parquet(tmp_path / "events.parquet")
    pl.DataFrame({"sku": ids, "price": [70, 80, 90]}).write_parquet(tmp_path / "items.parquet")
    table = EntityTable(FileTable(str(tmp_path / "items.parquet")), "sku").read()
    for source in (TableFile(str(tmp_path / "events.parquet")), TableFile(write(events.write_csv()))):
        data = clean(source.read(), {}, source="s")
        codes = data.items.encode(table["id"])
        price = dict(zip(codes.tolist(), table["price"], strict=True))
        assert [price[code] for code in data.item.tolist()] == [90, 70, 80]


def test_a_text_is_not_found_by_its_number(tmp_path):
    events = pl.DataFrame({"user": [1, 2], "item": [1, 2], "timestamp": [1, 2]})
    assert clean(events, {}, source="s").items.encode(pl.Series(["1", "01", " 1", "2"])).tolist() == [1, 0, 0, 2]


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ("sku,price\n7,1\n8,2\n7,3\n", {}, r"line 2 and line 4 of .*items\.csv are both about '7' \(column 'sku'\)"),
        ("sku,price\n7,1\n,2\n", {}, r"line 3 of .*items\.csv: column 'sku' is empty"),
        ("id,price\n7,1\n", {}, "no column 'sku'.*its columns are: 'id', 'price'"),
        ("sku,price\n7,1\n", {"columns": ("cost",)}, r"no column 'cost' \(columns\)"),
        ("sku,price\n7,inf\n", {}, "line 2 of .*column 'price' holds 'inf'"),
        ("sku,price\n", {}, "no rows"),
        ("sku,price,price\n7,1,2\n", {}, "line 1 of .* names two columns 'price'"),
    ],
)
def test_mistakes_in_tables(write, content, options, words):
    with pytest.raises(DataError, match=words):
        EntityTable(FileTable(write(content, "items.csv")), "sku", **options).read()


def test_options_without_effect_are_refused(write):
    with pytest.raises(OptionError, match="an EntityTable reads a FileTable, not a TableFile"):
        EntityTable(TableFile(write(ITEMS)), "sku")
    with pytest.raises(OptionError, match="'id'"):
        EntityTable(FileTable(write(ITEMS)), "sku", {"price": "id"})


def test_it_is_built_from_a_configuration(write):
    inner = {"_target_": "curriculum_rec.data.sources.FileTable", "path": write(ITEMS)}
    node = {"_target_": "curriculum_rec.data.sources.EntityTable", "table": inner, "id": "sku", "columns": ["price"]}
    assert build(node, "item_features").read().shape == (3, 2)
