"""A store holds what the same data in memory is, whatever its parts, and goes on where a process was ended."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
from stored_tables import RULES, small, write_table

from curriculum_rec.data.cleaning import (
    ConvertTimestamps,
    DropDuplicates,
    DropIncomplete,
    DropInhumanActivity,
    DropMissing,
    DropOutliers,
    DropOutOfRange,
    FillMissing,
    KCore,
    RatingThreshold,
)
from curriculum_rec.data.examples import SequenceExamples
from curriculum_rec.data.interactions import clean
from curriculum_rec.data.sources import TableFile
from curriculum_rec.data.splits import LastN, LeaveOneOut, Part, RatioPerUser
from curriculum_rec.data.store import prepare as preparing
from curriculum_rec.data.store.prepare import Recipe, prepare
from curriculum_rec.data.store.source import ExampleStore
from curriculum_rec.errors import DataError, OptionError

EXAMPLES = SequenceExamples(max_length=12, bucket_lengths=(4, 8), positions_per_batch=96)


def in_memory(source, rules=RULES, split=LeaveOneOut()):  # noqa: B008 - frozen
    return split(clean(source.read(), rules, source="the table"))


@pytest.fixture(autouse=True)
def small_memory(monkeypatch):
    """Let a few kilobytes be much."""
    monkeypatch.setattr(Recipe, "__post_init__", lambda self: None)


def assert_same(store, split, splitter=LeaveOneOut()):  # noqa: B008 - frozen
    opened, examples = ExampleStore(str(store)).open(splitter, EXAMPLES)
    expected, data, known = EXAMPLES(split), opened.interactions, split.interactions
    assert opened.hash == split.hash
    for name in ("user", "item", "timestamp"):
        mine, other = getattr(data, name), getattr(known, name)
        np.testing.assert_array_equal(None if mine is None else mine[:], other)
    assert data.users.ids.to_list() == known.users.ids.to_list()
    assert data.items.ids.to_list() == known.items.ids.to_list()
    assert [tuple(vars(entry).items())[:3] for entry in data.ledger] == [
        tuple(vars(entry).items())[:3] for entry in known.ledger
    ]
    np.testing.assert_array_equal(opened.part[:], split.part)
    assert len(examples.buckets) == len(expected.buckets)
    for mine, other in zip(examples.buckets, expected.buckets, strict=True):
        assert mine.batch_size == other.batch_size
        np.testing.assert_array_equal(mine.example, other.example)
        for name in ("history", "target"):
            np.testing.assert_array_equal(np.asarray(mine.arrays[name]), other.arrays[name])
    np.testing.assert_array_equal(examples.item_counts, expected.item_counts)
    for part in Part:
        np.testing.assert_array_equal(opened.item_counts(part), split.item_counts(part))
    for part in (Part.VALIDATION, Part.TEST):
        mine, other = opened.rows(part), split.rows(part)
        np.testing.assert_array_equal(mine.user, other.user)
        np.testing.assert_array_equal(mine.target, other.target)
        for row in range(len(other)):
            np.testing.assert_array_equal(
                mine.items[mine.start[row] : mine.stop[row]], other.items[other.start[row] : other.stop[row]]
            )


@pytest.mark.parametrize("parts", [1, 3, 9])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_store_is_the_data_in_memory(tmp_path, parts, ending):
    write_table(tmp_path / f"table.{ending}")
    source = TableFile(str(tmp_path / f"table.{ending}"))
    manifest = prepare(small(source, parts), tmp_path / "store")
    assert parts == 1 or len(manifest.shards) > 1
    assert_same(tmp_path / "store", in_memory(source))
    assert not list(tmp_path.glob(".store.preparing"))


@pytest.mark.parametrize("ids", [lambda n: f"{n:04d}", lambda n: n * 10**9, lambda n: "x" if n == 3 else str(n)])
def test_ids_are_numbered_as_in_memory(tmp_path, ids):
    write_table(tmp_path / "table.csv", ids=ids)
    source = TableFile(str(tmp_path / "table.csv"))
    prepare(small(source, 3), tmp_path / "store")
    assert_same(tmp_path / "store", in_memory(source))


def test_text_ids_that_cleaning_removes_do_not_decide_the_order(tmp_path):
    frame = write_table(tmp_path / "table.csv")
    rare = pl.DataFrame({"user": ["zz"], "item": ["i1"], "timestamp": [5]})
    pl.concat([rare, frame]).write_csv(tmp_path / "table.csv")
    source = TableFile(str(tmp_path / "table.csv"))
    prepare(small(source, 3), tmp_path / "store")
    split = in_memory(source)
    assert split.interactions.users.ids.cast(pl.Int64).is_sorted()
    assert_same(tmp_path / "store", split)


@pytest.mark.parametrize(
    "rules",
    [
        {"missing": DropMissing()},
        {"missing": DropMissing(), "duplicates": DropDuplicates("user_item", "last")},
        {"missing": DropMissing(), "k_core": KCore(4, 6), "duplicates": DropDuplicates(), "again": KCore(3, 2)},
        {"missing": DropMissing(), "row": DropDuplicates("row")},
        {"missing": DropMissing(), "few": DropInhumanActivity(total=80, per_day=70)},
        {"incomplete": DropIncomplete(("item",)), "late": DropOutOfRange("timestamp", low=50), "core": KCore(2, 2)},
        {"missing": DropMissing(), "ms": ConvertTimestamps("s", "ms", earliest="1970-01-01")},
        {"fill": FillMissing({"item": "none"}), "core": KCore(2, 2)},
    ],
    ids=" ".join,
)
def test_rules_do_part_by_part_what_they_do_at_once(tmp_path, rules):
    write_table(tmp_path / "table.csv")
    source = TableFile(str(tmp_path / "table.csv"))
    prepare(small(source, 4, rules), tmp_path / "store")
    assert_same(tmp_path / "store", in_memory(source, rules))


def test_a_further_column_is_there_for_the_rules(tmp_path):
    rating = pl.Series("rating", np.random.default_rng(1).integers(0, 11, 3300) / 2)
    frame = write_table(tmp_path / "table.csv").with_columns(rating.set(rating == 5.0, None))
    frame.write_csv(tmp_path / "table.csv")
    source = TableFile(str(tmp_path / "table.csv"), others={"rating": "stars"})
    rules = {"missing": DropMissing(), "liked": RatingThreshold(2.0, column="stars"), "core": KCore(2, 2)}
    prepare(small(source, 4, rules), tmp_path / "store")
    assert_same(tmp_path / "store", in_memory(source, rules))


@pytest.mark.parametrize("split", [LastN(2, 3), RatioPerUser(0.1, 0.2)], ids=lambda split: type(split).__name__)
def test_splits_that_go_user_by_user(tmp_path, split):
    write_table(tmp_path / "table.csv")
    source = TableFile(str(tmp_path / "table.csv"))
    recipe = small(source, 5)
    prepare(Recipe(source, recipe.rules, split, recipe.memory_bytes), tmp_path / "store")
    assert_same(tmp_path / "store", in_memory(source, split=split), split)


def test_a_rule_that_must_see_all_rows_is_refused(tmp_path):
    write_table(tmp_path / "table.csv")
    source = TableFile(str(tmp_path / "table.csv"))
    with pytest.raises(OptionError, match=r"cleaning\.far \(DropOutliers\) looks at all rows at once"):
        prepare(small(source, 2, {"far": DropOutliers(("timestamp",))}), tmp_path / "store")


def test_times_that_are_whole_in_one_part_only_are_numbers_of_one_kind(tmp_path):
    frame = write_table(tmp_path / "table.csv").with_columns(pl.col("timestamp").cast(pl.String))
    frame = pl.concat([frame, pl.DataFrame({"user": ["1"], "item": ["i1"], "timestamp": ["12.5"]})])
    frame.write_csv(tmp_path / "table.csv")
    source = TableFile(str(tmp_path / "table.csv"))
    manifest = prepare(small(source, 3), tmp_path / "store")
    assert manifest.schema["timestamp"] == "float64"
    assert_same(tmp_path / "store", in_memory(source))


def test_without_times_the_order_of_the_file_is_that_of_time(tmp_path):
    write_table(tmp_path / "table.csv")
    source = TableFile(str(tmp_path / "table.csv"), timestamp=None)
    rules = {"missing": DropMissing(), "k_core": KCore(3, 3)}
    prepare(small(source, 3, rules), tmp_path / "store")
    assert_same(tmp_path / "store", in_memory(source, rules))


def test_a_folder_of_files_is_one_table(tmp_path):
    frame = write_table(tmp_path / "all.parquet")
    for number in range(3):
        place = tmp_path / "table" / f"day={number}" / "rows.parquet"
        place.parent.mkdir(parents=True)
        frame[number * 1100 : (number + 1) * 1100].write_parquet(place)
    source = TableFile(str(tmp_path / "table"))
    prepare(Recipe(source, RULES, LeaveOneOut(), memory_bytes=300_000), tmp_path / "store")
    assert_same(tmp_path / "store", in_memory(TableFile(str(tmp_path / "all.parquet"))))


@pytest.mark.parametrize("at", range(0, 40, 3))
def test_a_preparation_that_was_ended_goes_on_and_makes_the_same_store(tmp_path, monkeypatch, at):
    write_table(tmp_path / "table.csv")
    source, finished = TableFile(str(tmp_path / "table.csv")), []
    prepare(small(source, 4), tmp_path / "whole")
    finish = preparing.Workbench.finish

    def ends(self, name, facts=True):
        if len(finished) == at:
            raise KeyboardInterrupt
        finished.append(name)
        return finish(self, name, facts)

    monkeypatch.setattr(preparing.Workbench, "finish", ends)
    try:
        prepare(small(source, 4), tmp_path / "store")
    except KeyboardInterrupt:
        assert not (tmp_path / "store").exists()
    before = list(finished)
    monkeypatch.setattr(preparing.Workbench, "finish", lambda *given: (finished.append(given[1]), finish(*given))[1])
    prepare(small(source, 4), tmp_path / "store")
    assert set(finished[len(before) :]).isdisjoint(before), "finished pieces are made once"
    for file in sorted((tmp_path / "whole").iterdir()):
        assert file.read_bytes() == (tmp_path / "store" / file.name).read_bytes(), file.name


def test_what_is_there_already_is_left_and_what_is_another_is_refused(tmp_path):
    write_table(tmp_path / "table.csv")
    source = TableFile(str(tmp_path / "table.csv"))
    first = prepare(small(source, 2), tmp_path / "store")
    assert prepare(small(source, 2), tmp_path / "store") == first
    with pytest.raises(OptionError, match="a store of other data, rules or split"):
        prepare(small(source, 2, {"missing": DropMissing()}), tmp_path / "store")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(OptionError, match="holds something else"):
        prepare(small(source, 2), tmp_path / "full")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (shutil.rmtree, "is no store"),
        (lambda store: (store / "manifest.json").write_text("{"), "cannot be read"),
        (lambda store: (store / "items.arrow").unlink(), "items.arrow is missing"),
        (lambda store: (store / "users.arrow").write_bytes(b"short"), "has 5 bytes instead of"),
        (lambda store: edit_manifest(store, users=1), "is damaged"),
        (lambda store: flip(store / "interactions-00000.arrow"), "its digest is another"),
    ],
)
def test_damage_is_named(tmp_path, damage, words):
    write_table(tmp_path / "table.csv")
    prepare(small(TableFile(str(tmp_path / "table.csv")), 2), tmp_path / "store")
    damage(tmp_path / "store")
    with pytest.raises(DataError, match=words):
        ExampleStore(str(tmp_path / "store"), verify=True).open(LeaveOneOut(), EXAMPLES)


def edit_manifest(store, **changed):
    file = store / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
