"""Each feature against values by hand, and against scikit-learn's own transforms."""

import sys
import types

import numpy as np
import polars as pl
import pytest
from made import make_table, write_vectors

from curriculum_rec.data.features import (
    PCA,
    Categorical,
    Dense,
    Field,
    LinearDiscriminant,
    MultiCategorical,
    Numeric,
    SentenceVectors,
    Text,
    Time,
    TimeGap,
    TopicModel,
    TruncatedSVD,
)
from curriculum_rec.data.features.reduce import as_numbers
from curriculum_rec.errors import DataError, OptionError

decomposition = pytest.importorskip("sklearn.decomposition")
TRAIN, OTHER = make_table(90), make_table(40, seed=3)


def frame(**columns):
    return pl.DataFrame(columns)


def test_categorical_codes_by_hand():
    fitted = Categorical().fit(frame(c=["b", "a", "b", None]), name="c")
    assert fitted.fields == (Field("c", "categorical", 3, 1),)
    assert fitted.transform(frame(c=["a", "b", "new", None, ""])).tolist() == [[1], [2], [0], [0], [0]]


def test_rare_values_share_a_code_with_those_never_seen():
    fitted = Categorical(min_count=2).fit(frame(c=["b", "a", "b"]), name="c")
    assert fitted.fields[0].size == 3
    assert fitted.transform(frame(c=["a", "b", "new", None]))[:, 0].tolist() == [1, 2, 1, 0]


def test_numbers_are_ids_too():
    fitted = Categorical(("c", "d")).fit(frame(c=[10, 9], d=["x", "x"]), name="both")
    assert [field.name for field in fitted.fields] == ["both.c", "both.d"]
    assert fitted.transform(frame(c=[9, 10], d=["x", "y"])).tolist() == [[1, 1], [2, 0]]


def test_several_values_by_hand():
    data = frame(g=["x|y", "y", None, "z| x"])
    codes = MultiCategorical().fit(data, name="g")
    assert codes.fields == (Field("g", "multi_categorical", 4, 2),)
    assert codes.transform(frame(g=["y|x", "new|z", "", "x|y|z"])).tolist() == [[2, 1], [0, 3], [0, 0], [1, 2]]
    hot = MultiCategorical(encoding="multi_hot").fit(data, name="g")
    assert hot.transform(frame(g=["y|x", "new"])).tolist() == [[1, 1, 0], [0, 0, 0]]


def test_lists_and_flags_are_several_values():
    lists = MultiCategorical().fit(frame(g=[["x", "y"], []]), name="g")
    assert lists.transform(frame(g=[["y"], ["x", "y"]])).tolist() == [[2, 0], [1, 2]]
    flags = MultiCategorical(("War", "Drama"), flags=True).fit(frame(War=[1, 0], Drama=["1", "1"]), name="genres")
    assert flags.vocabulary.values == ("Drama", "War")
    assert flags.transform(frame(War=[0, 1, 0], Drama=[1, 0, 0])).tolist() == [[1, 0], [2, 0], [0, 0]]


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ("standard", [-1.0, 1.0, 3.0, 0.0]),
        ("min_max", [0.0, 1.0, 2.0, 0.5]),
        ("none", [2.0, 4.0, 6.0, 3.0]),
    ],
)
def test_scales_by_hand(scale, expected):
    fitted = Numeric(scale=scale).fit(frame(x=[2.0, 4.0, None]), name="x")
    assert fitted.transform(frame(x=["2", "4", "6", ""]))[:, 0].tolist() == expected


def test_logarithms_are_symmetric_and_then_standard():
    fitted = Numeric(scale="log").fit(frame(x=[np.e - 1, 1 - np.e]), name="x")
    assert fitted.transform(frame(x=[np.e - 1, 0.0, np.e**2 - 1]))[:, 0] == pytest.approx([1, 0, 2])


def test_a_constant_tells_nothing_and_missing_may_show():
    fitted = Numeric(indicator=True).fit(frame(x=[5.0, 5.0]), name="x")
    assert fitted.fields[0].size == 2
    assert fitted.transform(frame(x=[5.0, None])).tolist() == [[0.0, 0.0], [0.0, 1.0]]


def test_vectors_are_scaled_entry_by_entry():
    data = pl.DataFrame({"v": pl.Series([[0.0, 1.0], [2.0, 1.0]])})
    assert Numeric().fit(data, name="v").transform(data).tolist() == [[-1, 0], [1, 0]]
    with pytest.raises(DataError, match="vectors of 1 numbers, and training had 2"):
        Numeric().fit(data, name="v").transform(pl.DataFrame({"v": pl.Series([[1.0]])}))


def test_scalers_equal_scikit_learn():
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    known, others = (each.select("counts") for each in (TRAIN, OTHER))
    for scale, oracle in (
        ("standard", preprocessing.StandardScaler()),
        ("min_max", preprocessing.MinMaxScaler()),
        ("quantile", preprocessing.QuantileTransformer(n_quantiles=20)),
    ):
        ours = Numeric(scale=scale, n_quantiles=20).fit(known, name="counts").transform(others)
        theirs = oracle.fit(known.to_numpy()).transform(others.to_numpy())
        np.testing.assert_allclose(ours, theirs, atol=1e-6, err_msg=scale)


def test_no_number_is_said_with_its_row():
    with pytest.raises(DataError, match="row 2 of column 'x' holds 'many'"):
        Numeric().fit(frame(x=["1", "many"]), name="x")


def test_time_by_hand():
    noon = 1_600_000_000 // 86_400 * 86_400 + 12 * 3600  # a Sunday
    codes = Time(("t",), cyclic=False).fit(frame(t=[noon]), name="when")
    assert [(field.name, field.size) for field in codes.fields] == [("when.hour", 25), ("when.weekday", 8)]
    assert codes.transform(frame(t=[noon, None])).tolist() == [[13, 7], [0, 0]]
    cyclic = Time(("t",), parts=("hour",)).fit(frame(t=[noon]), name="when")
    assert cyclic.transform(frame(t=[noon])) == pytest.approx(np.array([[0.0, -1.0]]), abs=1e-6)
    vienna = Time(("t",), parts=("hour",), cyclic=False, zone="Europe/Vienna", unit="ms")
    assert vienna.fit(frame(t=[0]), name="w").transform(frame(t=[noon * 1000])).tolist() == [[15]]  # 14 o'clock there


def test_texts_of_time_are_read():
    time = Time(("t",), cyclic=False, format="%y%m%d%H").fit(frame(t=["14102100"]), name="t")
    assert time.transform(frame(t=["14102123"])).tolist() == [[24, 2]]  # a Tuesday
    with pytest.raises(DataError, match="does not read as"):
        time.transform(frame(t=["noon"]))
    minutes = Time(("t",), parts=("hour",), cyclic=False, format="%Y-%m-%d %H:%M").fit(frame(t=["x"]), name="t")
    assert minutes.transform(frame(t=["2020-01-02 10:59", None])).tolist() == [[11], [0]]
    dates = Time(("t",), parts=("month", "day"), cyclic=False, format="%d.%m.%Y").fit(frame(t=["x"]), name="t")
    assert dates.transform(frame(t=["31.12.2020"])).tolist() == [[12, 31]]


def test_gaps_by_hand():
    data = frame(user=["u", "v", "u", "u"], timestamp=[100.0, 0.0, 100 + np.e - 1, 100.0])
    fitted = TimeGap().fit(data, name="gap")
    assert fitted.scaler.fill.tolist() == pytest.approx([0.5])  # gaps of 0 and e - 1 seconds: logarithms 0 and 1
    assert fitted.transform(data) == pytest.approx(np.array([[0, 1], [0, 1], [1, 0], [-1, 0]]), abs=1e-6)


def test_text_equals_scikit_learn():
    text = pytest.importorskip("sklearn.feature_extraction.text")
    vectorizer = text.TfidfVectorizer(min_df=2)
    svd = decomposition.TruncatedSVD(5, random_state=0).fit(vectorizer.fit_transform(TRAIN["text"].to_list()))
    asked = [*OTHER["text"].to_list(), "", "Word1, WORD1; word2! unheard"]
    ours = Text(n_components=5).fit(TRAIN, name="text").transform(frame(text=asked))
    np.testing.assert_allclose(ours, svd.transform(vectorizer.transform(asked)), atol=1e-6)
    with pytest.raises(DataError, match="must be less than both"):
        Text(n_components=50).fit(TRAIN, name="text")


NUMBERS = np.random.default_rng(0).normal(size=(60, 6)) @ np.diag([5, 3, 1, 1, 0.5, 0.1])
COUNTS = np.random.default_rng(1).poisson(1.0, (60, 9)).astype(float)
CLASSES = np.random.default_rng(2).integers(0, 4, 60)


def test_projections_equal_scikit_learn():
    discriminant = pytest.importorskip("sklearn.discriminant_analysis")
    for ours, theirs, values in (
        (PCA(("x",), 3), decomposition.PCA(3), NUMBERS),
        (TruncatedSVD(("x",), 3), decomposition.TruncatedSVD(3, random_state=0), NUMBERS),
        (LinearDiscriminant(("x",), 2), discriminant.LinearDiscriminantAnalysis(n_components=2), NUMBERS),
        (TopicModel(("x",), 3), decomposition.LatentDirichletAllocation(3, random_state=0), COUNTS),
    ):
        made = ours.fit(values[:40], CLASSES[:40]).apply(values[40:])
        expected = theirs.fit(values[:40], CLASSES[:40]).transform(values[40:])
        np.testing.assert_allclose(made, expected, atol=1e-6, err_msg=type(ours).__name__)


def test_reductions_refuse_what_they_cannot():
    with pytest.raises(OptionError, match="needs classes"):
        LinearDiscriminant(("x",)).fit(NUMBERS, None)
    with pytest.raises(OptionError, match="at most 3 components here, and 4"):
        LinearDiscriminant(("x",), 4).fit(NUMBERS, CLASSES)
    with pytest.raises(DataError, match="takes counts"):
        TopicModel(("x",)).fit(NUMBERS, None)


def test_codes_become_numbers():
    fields = [Field("a", "dense", 1, 1), Field("b", "categorical", 3, 1)]
    arrays = [np.array([[0.5], [1.5]], np.float32), np.array([[2], [0]], np.int32)]
    assert as_numbers(fields, arrays).tolist() == [[0.5, 0, 1], [1.5, 0, 0]]


def test_vectors_of_files_by_hand(tmp_path):
    np.save(tmp_path / "v.npy", np.array([[3.0, 4.0], [0.0, 2.0]]))
    (tmp_path / "ids.txt").write_text("i2\ni1\n")
    options = {"path": str(tmp_path / "v.npy"), "ids": str(tmp_path / "ids.txt")}
    fitted = Dense(**options, scale="length").fit(frame(item=["i1", "i2"]), name="item")
    asked = frame(item=["i2", "i1", "none", None])
    assert fitted.transform(asked).tolist() == [pytest.approx([0.6, 0.8]), [0, 1], [0, 0], [0, 0]]
    np.save(tmp_path / "v.npy", np.array([[3.0, 4.0], [0.0, 3.0]]))
    with pytest.raises(DataError, match="changed since"):
        fitted.transform(asked)
    with pytest.raises(DataError, match="no vector for any training value"):
        Dense(**options).fit(frame(item=["x"]), name="item")


def test_vectors_are_standardised_by_those_of_training_rows(tmp_path):
    fitted = Dense(write_vectors(tmp_path), id="item", scale="standard").fit(frame(item=["i1", "i2"]), name="v")
    assert np.abs(fitted.transform(frame(item=["i1", "i2"]))) == pytest.approx(1, abs=1e-6)


def test_sentences_need_their_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(OptionError, match=r"pip install 'curriculum-rec\[sentences\]'"):
        SentenceVectors(("text",)).fit(TRAIN, name="text")


def test_sentences_are_encoded_by_it(monkeypatch):
    class Encoder:
        def __init__(self, name):
            assert name == "small"

        def get_sentence_embedding_dimension(self):
            return 2

        def encode(self, texts, *, batch_size, show_progress_bar):
            return [[len(text), batch_size] for text in texts]

    monkeypatch.setitem(sys.modules, "sentence_transformers", types.SimpleNamespace(SentenceTransformer=Encoder))
    fitted = SentenceVectors(model="small", batch_size=4).fit(frame(t=["abc"]), name="t")
    assert fitted.transform(frame(t=["ab", None])).tolist() == [[2, 4], [0, 4]]
