"""Metrics of numbers against scikit-learn, and an interval of the AUC against resampling."""

import numpy as np
import polars as pl
import pytest

from curriculum_rec.data.feature_table import FeatureTable
from curriculum_rec.data.features import Encoded, FittedFeatures
from curriculum_rec.data.rows import Rows, RowSplit
from curriculum_rec.data.splits import Part
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.evaluation.auc_interval import auc_interval
from curriculum_rec.evaluation.class_metrics import auc
from curriculum_rec.evaluation.classes import Classification, Predictions
from curriculum_rec.evaluation.intervals import bootstrap_interval
from curriculum_rec.evaluation.numbers import NumberPredictions, Regression, in_unit_of_label
from curriculum_rec.training.placement import Placement

oracle = pytest.importorskip("sklearn.metrics")
LABEL = np.array([1.0, 2.0, 4.0, 5.0, 3.0, 3.0])
PARTS = np.array([Part.TRAIN, Part.TRAIN, Part.TEST, Part.TEST, Part.TEST, Part.VALIDATION], np.int8)


def made(classes=()):
    split = RowSplit(Rows(pl.DataFrame({"user": list("abcdef")})), PARTS)
    encoded = Encoded((), np.zeros((6, 0), np.float32), np.zeros((6, 0), np.int32))
    return FeatureTable(split, FittedFeatures(classes=classes), encoded, LABEL)


def predictions():
    return NumberPredictions(made(), Part.TEST, Placement("jit").place(), Regression())


def test_metrics_equal_scikit_learn():
    answers = np.array([4.5, 3.0, 3.5])
    quality = predictions().quality(answers)
    label = np.array([4.0, 5.0, 3.0])
    assert list(quality) == ["r2", "rmse", "mae"]
    assert quality["rmse"] == pytest.approx(np.sqrt((0.25 + 4 + 0.25) / 3))
    assert quality["rmse"] == pytest.approx(oracle.root_mean_squared_error(label, answers))
    assert (
        quality["mae"]
        == pytest.approx((0.5 + 2 + 0.5) / 3)
        == pytest.approx(oracle.mean_absolute_error(label, answers))
    )
    assert quality["r2"] == pytest.approx(oracle.r2_score(label, answers))


def test_several_models_as_one():
    answers = [np.array([4.5, 3.0, 3.5]), np.array([3.5, 4.0, 3.5])]
    assert predictions().average(answers).tolist() == [4, 3.5, 3.5]
    classes = Predictions(made(("a", "b", "c")), Part.TEST, Placement("jit").place(), Classification())
    three = [np.log([[0.5, 0.25, 0.25]]), 7 + np.log([[0.25, 0.5, 0.25]])]  # logits: what is added says nothing
    assert np.exp(classes.average(three)) == pytest.approx(np.array([[3 / 8, 3 / 8, 1 / 4]]))
    two = [np.array([[0.0]]), np.log([[3.0]])]  # probabilities 1/2 and 3/4
    assert classes.average(two) == pytest.approx(np.log([[5 / 3]]))


def test_intervals_are_those_of_the_errors():
    answers = np.array([4.5, 3.0, 3.5])  # squared errors .25, 4 and .25
    found = predictions().intervals(answers)
    low, high = bootstrap_interval(np.array([0.25, 4.0, 0.25]))
    assert found["rmse"] == pytest.approx((np.sqrt(low), np.sqrt(high)))
    assert found["mae"] == bootstrap_interval(np.array([0.5, 2.0, 0.5]))


def test_rows_have_their_errors():
    table = predictions().table(np.array([4.5, 3.0, 3.5]))
    assert table.columns == ["row", "user", "label", "prediction", "squared_error", "absolute_error"]
    assert table["row"].to_list() == [3, 4, 5]
    assert table["user"].to_list() == ["c", "d", "e"]
    assert table["squared_error"].to_list() == [0.25, 4.0, 0.25]


def test_the_reference_predicts_the_training_mean():
    reference = predictions().reference()
    assert reference.name == "training mean"
    assert reference.quality["mae"] == pytest.approx((2.5 + 3.5 + 1.5) / 3)


def test_outputs_are_put_into_the_unit_of_the_label():
    assert in_unit_of_label(np.array([-1.0, 0.5]), (3.0, 2.0)).tolist() == [1.0, 4.0]
    with pytest.raises(OptionError, match="predicts classes"):
        in_unit_of_label(np.zeros(1), None)


def test_what_it_refuses():
    with pytest.raises(OptionError, match="evaluation=regression is for numbers"):
        Regression().check(made(("0", "1")))
    with pytest.raises(DataError, match="all validation rows have the same label"):
        Regression().check(made())


def test_the_interval_is_delongs():
    """The variance by its own definition, pair by pair; the interval by resampling is much the same."""
    rng = np.random.default_rng(0)
    positive = rng.random(300) < 0.3
    score = np.round(rng.normal(size=300) + positive, 1)  # with ties
    kernel = (score[positive][:, None] > score[~positive]) + (score[positive][:, None] == score[~positive]) / 2
    variance = kernel.mean(axis=1).var(ddof=1) / positive.sum() + kernel.mean(axis=0).var(ddof=1) / (~positive).sum()
    low, high = auc_interval(score, positive)
    area = auc(score, positive)
    assert kernel.mean() == pytest.approx(area)
    middle = np.log(area / (1 - area))
    half = 1.959964 * np.sqrt(variance) / (area * (1 - area))
    assert np.log([low / (1 - low), high / (1 - high)]) == pytest.approx([middle - half, middle + half], abs=1e-5)
    drawn = [auc(score[rows], positive[rows]) for rows in rng.integers(0, 300, (2000, 300))]
    assert [low, high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.01)


def test_a_perfect_order_says_no_more():
    assert auc_interval(np.arange(6.0), np.arange(6) > 2) == (1.0, 1.0)
    with pytest.raises(OptionError, match="two rows of each kind; got 1 and 5"):
        auc_interval(np.arange(6.0), np.arange(6) > 4)
