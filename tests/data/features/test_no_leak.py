"""Nothing that validation or test rows hold enters what features have learnt, and what is saved does the same again."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import all_features, make_table

from curriculum_rec.data.features import (
    PCA,
    EntityFeatures,
    Features,
    FeatureSet,
    InteractionFeatures,
    LinearDiscriminant,
    Numeric,
    TopicModel,
    TruncatedSVD,
)
from curriculum_rec.data.features.saving import digest_of, load_features, save_features
from curriculum_rec.data.interactions import IdMap
from curriculum_rec.errors import DataError, RunError


class Kept:
    """A table that lies in memory."""

    name = "a table"

    def __init__(self, frame):
        self.frame = frame

    def read(self):
        return self.frame


N = 120
IS_TRAINING = np.random.default_rng(5).random(N) < 0.7
LABELS = np.random.default_rng(6).integers(0, 3, N).astype(np.int32)
REDUCE = {
    "components": PCA(("standard", "both", "colour"), 3),
    "singular": TruncatedSVD(("hot", "log"), 3),
    "telling": LinearDiscriminant(("text", "when"), 2),
    "topics": TopicModel(("genres", "often"), 3),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("vectors")


@pytest.fixture(scope="module")
def features(folder):
    return Features(interaction=InteractionFeatures(all_features(folder), REDUCE))


@pytest.fixture(scope="module")
def fitted(features):
    return features.fit(make_table(N), IS_TRAINING, LABELS)


@given(st.integers(1, 10_000))
def test_other_rows_change_no_statistic(features, fitted, seed):
    """Every value of every validation and test row, and its label, is another one."""
    other, table = make_table(N, seed), make_table(N)
    wild = pl.DataFrame(
        {name: table[name].zip_with(pl.Series(IS_TRAINING), other[name]) for name in table.columns}
    ).with_columns(pl.when(pl.Series(IS_TRAINING)).then(pl.col("price")).otherwise(pl.col("price") * 1e6))
    labels = np.where(IS_TRAINING, LABELS, seed % 3).astype(np.int32)
    assert digest_of(features.fit(wild, IS_TRAINING, labels)) == digest_of(fitted)


def test_training_rows_do_change_them(features, fitted):
    """Or the test above could not fail."""
    table = make_table(N)
    first = int(np.flatnonzero(IS_TRAINING)[0])
    for column, value in (("price", 1e3), ("colour", "new"), ("genres", "new"), ("text", "word0"), ("timestamp", 0)):
        changed = table.with_row_index("n").with_columns(
            pl.when(pl.col("n") == first).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
        )
        assert digest_of(features.fit(changed, IS_TRAINING, LABELS)) != digest_of(fitted), column


def test_entities_count_if_training_has_them():
    users = pl.DataFrame({"id": ["a", "b", "c"], "age": [10.0, 20.0, 1e6]})
    features = Features(user=EntityFeatures(Kept(users), "id", {"age": Numeric()}))
    rows, is_training = pl.DataFrame({"user": ["a", "b", "a", "c"]}), np.array([True, True, True, False])
    fitted = features.fit(rows, is_training, None)
    scaler = fitted.user.features["age"].scaler
    assert (scaler.fill.tolist(), scaler.divisor.tolist()) == ([15.0], [5.0])  # each once, and c not at all


def test_arrays_of_entities_follow_their_codes():
    users = pl.DataFrame({"id": [7, 9], "age": [10.0, 20.0]})
    features = Features(user=EntityFeatures(Kept(users), "id", {"age": Numeric()}))
    rows = pl.DataFrame({"user": [9, 7, 8]})
    fitted = features.fit(rows, np.ones(3, bool), None)
    made = FeatureSet.of(features, fitted, users=IdMap.from_column(rows["user"]), items=IdMap(pl.Series(["x"])))
    assert made.item is None
    assert made.user.dense[:, 0].tolist() == [0.0, -1.0, 0.0, 1.0]  # padding, 7, 8 that the table has not, 9
    assert [field.name for field in made.user.schema] == ["user.age"]


def test_a_table_has_each_id_once():
    features = Features(
        item=EntityFeatures(Kept(pl.DataFrame({"id": [1, 1], "p": [1.0, 2.0]})), "id", {"p": Numeric()})
    )
    with pytest.raises(DataError, match="several rows for item '1'"):
        features.fit(pl.DataFrame({"item": [1]}), np.ones(1, bool), None)


def test_what_is_saved_does_the_same(fitted, tmp_path):
    save_features(fitted, tmp_path / "features")
    loaded, table = load_features(tmp_path / "features"), make_table(40, seed=9)
    assert digest_of(loaded) == digest_of(fitted)
    before, after = (each.interaction.transform(table) for each in (fitted, loaded))
    assert before.schema == after.schema == fitted.interaction.schema
    np.testing.assert_array_equal(before.dense, after.dense)
    np.testing.assert_array_equal(before.codes, after.codes)
    assert np.isfinite(before.dense).all()
    kept = {field.name.partition(".")[2] for field in after.schema}
    assert set(REDUCE) < kept and not kept & {"standard", "hot", "text", "genres"}


def test_a_file_builds_only_what_it_may(fitted, tmp_path):
    save_features(fitted, tmp_path)
    facts = json.loads((tmp_path / "features.json").read_text())
    facts["class"] = "Popen"
    (tmp_path / "features.json").write_text(json.dumps(facts))
    with pytest.raises(RunError, match="cannot be read"):
        load_features(tmp_path)
