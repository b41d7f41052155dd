"""Rows with labels: their sources, their parts, and the table of their features."""

import gzip

import numpy as np
import polars as pl
import pytest

from curriculum_rec.data.feature_table import PointwiseExamples
from curriculum_rec.data.features import (
    Categorical,
    EntityFeatures,
    Features,
    InteractionFeatures,
    MultiCategorical,
    Numeric,
)
from curriculum_rec.data.row_sources import ArrayFiles, AttributesFile, RowsFile
from curriculum_rec.data.rows import LatestRows, RandomRows, RowFolds, Rows
from curriculum_rec.data.splits import Folds, Part
from curriculum_rec.errors import DataError, OptionError

FEATURES = Features(interaction=InteractionFeatures({"x": Numeric()}))


def rows(n=20, **columns):
    return Rows(pl.DataFrame({"x": np.arange(n, dtype=float), **columns}))


def parts(split):
    return np.bincount(split.part, minlength=3).tolist()


def test_shares_are_kept_and_seeds_differ():
    first, again, other = (RandomRows(0.2, 0.1, seed=seed)(rows(40)) for seed in (0, 0, 1))
    assert parts(first) == parts(other) == [28, 8, 4]
    assert (first.part == again.part).all() and (first.part != other.part).any()


def test_the_latest_are_test():
    split = LatestRows(0.25, 0.25, column="t")(rows(4, t=[4, 1, 4, 2]))
    assert split.part.tolist() == [Part.VALIDATION, Part.TRAIN, Part.TEST, Part.TRAIN]  # ties go by file order
    with pytest.raises(DataError, match="row 1 has no time"):
        LatestRows(column="t")(rows(2, t=[None, 1]))


def test_shares_must_leave_something():
    with pytest.raises(OptionError, match="leave nothing to train on"):
        RandomRows(0.5, 0.5)
    with pytest.raises(DataError, match="too few for three parts"):
        RandomRows()(rows(2))


@pytest.mark.parametrize("folds", [2, 5])
def test_every_row_is_tested_in_one_fold(folds):
    splits = [RowFolds(folds=folds, fold=fold, validation=0.25)(rows(42)) for fold in range(folds)]
    assert (sum((split.part == Part.TEST).astype(int) for split in splits) == 1).all()
    for split in splits:
        training, validation, test = parts(split)
        assert test in (42 // folds, -(-42 // folds))
        assert validation == round((42 - test) / 4)
        assert training == 42 - test - validation


def test_folds_of_rows_are_those_of_their_seed():
    first, again, other = (RowFolds(fold=1, seed=seed)(rows(40)).part for seed in (0, 0, 1))
    assert (first == again).all() and (first != other).any()
    assert isinstance(RowFolds(fold=1), Folds)


def test_folds_of_rows_that_cannot_be():
    with pytest.raises(OptionError, match="fold is not set: choose one of 5 by fold=0"):
        RowFolds()
    with pytest.raises(OptionError, match="fold=5: with split.folds=5 it must be one of 0 to 4"):
        RowFolds(fold=5)
    with pytest.raises(OptionError, match=r"split.validation=1"):
        RowFolds(fold=0, validation=1)
    with pytest.raises(DataError, match="split.folds=5 are too many for 9"):
        RowFolds(fold=0)(rows(9))


def lay_out(label, features=FEATURES, **options):
    n = len(label)
    return PointwiseExamples(**options).lay_out(RandomRows(0.2, 0.2)(rows(n, label=label)), features)


def test_labels_are_numbered_in_order():
    table = lay_out([10.0, 9.0] * 10)
    assert table.fitted.classes == ("9", "10")
    assert table.label.tolist() == [1, 0] * 10
    assert lay_out(["1", "4", "5", "3"] * 5, positive_from=4).label.tolist() == [0, 1, 1, 0] * 5


def test_labels_that_cannot_be_are_refused():
    with pytest.raises(DataError, match="row 3 has no label"):
        lay_out(["a", "b", None] * 5)
    with pytest.raises(DataError, match="all training rows have the same label"):
        lay_out(["a"] * 20)
    split = RandomRows(0.2, 0.2)(rows(20, label=["a", "b"] * 10))
    new = int(np.flatnonzero(split.part == Part.TEST)[0])
    frame = split.rows.frame.with_columns(pl.Series("label", ["a", "b"] * 10).scatter(new, "c"))
    with pytest.raises(DataError, match=f"row {new + 1} has 'c', which no training row has"):
        PointwiseExamples().lay_out(type(split)(Rows(frame), split.part), FEATURES)
    with pytest.raises(OptionError, match="needs features"):
        PointwiseExamples().lay_out(split, None)


def test_examples_are_the_training_rows():
    table = lay_out(["a", "b"] * 10, batch_size=16)
    examples = PointwiseExamples(batch_size=16)(table)
    training = table.rows(Part.TRAIN)
    (bucket,) = examples.buckets
    assert (bucket.batch_size, len(examples)) == (16, 12)
    assert {name: (array.dtype.name, array.shape) for name, array in bucket.arrays.items()} == {
        "dense": ("float32", (12, 1)),
        "categorical": ("int32", (12, 0)),
        "label": ("int32", (12,)),
    }
    np.testing.assert_array_equal(bucket.arrays["label"], table.label[training])
    assert bucket.arrays["dense"].mean() == pytest.approx(0, abs=1e-6)  # standardised by these rows alone


def test_the_hash_sees_what_matters():
    first, again, other = (lay_out(label) for label in (["a", "b"] * 10, ["a", "b"] * 10, ["b", "a"] * 10))
    assert first.hash == again.hash != other.hash
    assert first.codes_digest == other.codes_digest


def test_rows_know_their_users_and_items(tmp_path):
    pl.DataFrame({"id": ["u1", "u2"], "age": [10, 30]}).write_csv(tmp_path / "users.csv")
    (tmp_path / "items.dat").write_text("i1|red\ni2|blue\n")
    features = Features(
        user=EntityFeatures(RowsFile(str(tmp_path / "users.csv")), "id", {"age": Numeric()}),
        item=EntityFeatures(
            RowsFile(str(tmp_path / "items.dat"), format="csv", columns=("id", "colour"), separator="|"),
            "id",
            {"colour": Categorical()},
        ),
        interaction=InteractionFeatures({"x": Numeric(scale="none")}),
    )
    data = rows(12, user=["u1", "u2", "u3"] * 4, item=["i2", "i1"] * 6, label=[0, 1] * 6)
    table = PointwiseExamples().lay_out(RandomRows(0.1, 0.1)(data), features)
    assert [field.name for field in table.encoded.schema] == ["user.age", "item.colour", "interaction.x"]
    assert table.encoded.dense[:3].tolist() == [[-1, 0], [1, 1], [0, 2]]  # u3 is not in the table
    assert table.encoded.codes[:2].tolist() == [[1], [2]]  # blue, red


def test_arrays_with_labels_in_both_forms(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(3))
    np.save(tmp_path / "y.npy", np.array([2, 0, 1]))
    np.save(tmp_path / "hot.npy", np.eye(3)[[2, 0, 1]])
    for labels in ("y.npy", "hot.npy"):
        frame = ArrayFiles(str(tmp_path / "x.npy"), str(tmp_path / labels)).read()
        assert frame["label"].to_list() == [2, 0, 1]
        assert frame["data"].to_list() == np.eye(3).tolist()
    np.save(tmp_path / "short.npy", np.zeros(2))
    with pytest.raises(DataError, match="2 labels for 3 rows"):
        ArrayFiles(str(tmp_path / "x.npy"), str(tmp_path / "short.npy")).read()
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read"):
        ArrayFiles(str(tmp_path / "objects.npy"), str(tmp_path / "y.npy")).read()


def test_attributes_of_a_json_object(tmp_path):
    plain, packed = tmp_path / "attributes.json", tmp_path / "attributes.json.gz"
    plain.write_text('{"17": [3, 9], "018": ["red", "a|b"],\n "x": []}')
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    for place in (plain, packed):
        frame = AttributesFile(str(place)).read()
        assert frame.to_dict(as_series=False) == {
            "id": ["17", "018", "x"],
            "attributes": [["3", "9"], ["red", "a|b"], []],
        }
    codes = MultiCategorical().fit(frame, name="attributes").transform(frame)
    assert (codes > 0).sum(axis=1).tolist() == [2, 2, 0]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"1": [2], "1": [3]}', "the id '1' twice"),
        ('{"1": 2}', "2 under the id '1'"),
        ('{"1": [[2]]}', "under the id '1'"),
        ('{"1": {"a": 1}}', "under the id '1'"),
        ('{"1": [1.5]}', "whole numbers is wanted"),
        ('{"1": [true]}', "whole numbers is wanted"),
        ("[1]", "no JSON object"),
        ('{"1": [', "is no JSON"),
        ("[" * 100_000, "is no JSON"),
    ],
)
def test_attributes_that_are_none(tmp_path, text, sentence):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=sentence):
        AttributesFile(str(tmp_path / "a.json")).read()
