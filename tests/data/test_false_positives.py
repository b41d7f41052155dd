"""Interactions that are known to be false: only in training, marked, and without a say in what is asked for."""

import numpy as np
import polars as pl
import pytest

from curriculum_rec.data.false_positives import FALSE_POSITIVE, split_around
from curriculum_rec.data.interactions import clean
from curriculum_rec.data.splits import (
    ColdItems,
    ColdUsers,
    GlobalTime,
    InteractionFolds,
    LeaveOneOut,
    Part,
    RatioPerUser,
)
from curriculum_rec.errors import DataError

EVENTS = ["F1", "x", "y", "F2", "z", "F3", "v", "F4", "T", "F5"]


def interactions(rows):
    frame = pl.DataFrame(rows, schema=["user", "item", "timestamp", FALSE_POSITIVE], orient="row")
    return clean(frame, {}, source="s")


def test_false_ones_stay_between_what_is_trained_on_and_go_elsewhere():
    rows = [("a", item, time, item.startswith("F")) for time, item in enumerate(EVENTS)]
    rows += [("b", item, time, False) for time, item in enumerate(["x", "y", "z"])]
    split = split_around(LeaveOneOut(), interactions(rows))
    data = split.interactions
    of_a = [(data.items.ids[int(item) - 1], int(part)) for item, part in zip(data.item, split.part, strict=True)][:-3]
    # Real: x y z v T, of which v is validation and T test. F1 and F2 lie in training; F3 before validation, F4, F5 not.
    assert of_a == [("F1", 0), ("x", 0), ("y", 0), ("F2", 0), ("z", 0), ("v", 1), ("T", 2)]
    assert split.noise.tolist() == [True, False, False, True, False, False, False, False, False, False]


def random_rows(share, seed=0):
    rng, rows = np.random.default_rng(seed), []
    for user in range(80):
        for step in range(12):
            if rng.random() < share:
                rows.append((user, int(rng.integers(30)), 10 * step, True))
            rng_item = np.random.default_rng([user, step]).integers(30)
            rows.append((user, int(rng_item), 10 * step + 5, False))
    return rows + [(99, item, 0, False) for item in range(30)]


@pytest.mark.parametrize(
    "splitter",
    [LeaveOneOut(), RatioPerUser(), GlobalTime(), ColdUsers(), ColdItems(), InteractionFolds(fold=0)],
    ids=lambda each: type(each).__name__,
)
def test_questions_do_not_depend_on_how_much_is_false(splitter):
    whole, noisy = (split_around(splitter, interactions(random_rows(share))) for share in (0.0, 0.4))
    assert noisy.noise.sum() > 60 and (noisy.part[noisy.noise] == Part.TRAIN).all()
    real = ~noisy.noise
    assert noisy.interactions.item[real].tolist() == whole.interactions.item.tolist()
    assert noisy.part[real].tolist() == whole.part.tolist()
    for part in (Part.VALIDATION, Part.TEST):
        ours, theirs = noisy.rows(part), whole.rows(part)
        assert set(zip(theirs.user, theirs.target, strict=True)) <= set(zip(ours.user, ours.target, strict=True))
    assert noisy.promises == whole.promises


def test_without_the_column_nothing_is_marked():
    frame = pl.DataFrame({"user": ["a"] * 3 + ["b"], "item": ["x", "y", "z", "x"]})
    assert split_around(LeaveOneOut(), clean(frame, {}, source="s")).noise is None


@pytest.mark.parametrize(("values", "sentence"), [([1, 0, 1, 0], "true or false"), ([True] * 4, "nothing real")])
def test_a_column_that_marks_nothing_or_all_is_refused(values, sentence):
    frame = pl.DataFrame({"user": ["a"] * 3 + ["b"], "item": ["x", "y", "z", "x"], FALSE_POSITIVE: values})
    with pytest.raises(DataError, match=sentence):
        split_around(LeaveOneOut(), clean(frame, {}, source="s"))
