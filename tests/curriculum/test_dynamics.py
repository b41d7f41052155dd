from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from curriculum_rec.curriculum.difficulty.dynamics import (
    ambiguity,
    area_under_margin,
    forgetting_events,
    lack_of_confidence,
    learnt_after,
    mean_mistakes,
    variability,
)


def column(*answers):
    return np.array(answers, bool)[:, None]


@pytest.mark.parametrize(
    ("answers", "before", "events"),
    [
        ((1, 1, 1, 1, 1), 0, 0),
        ((0, 0, 0, 0, 0), 5, np.inf),
        ((0, 1, 0, 1, 0), 5, 2),
        ((0, 0, 1, 1, 1), 2, 0),
        ((1, 0, 1, 1, 1), 2, 1),
        ((1, 1, 1, 1, 0), 5, 1),
    ],
)
def test_learning_and_forgetting_of_known_courses(answers, before, events):
    assert learnt_after(column(*answers)).tolist() == [before]
    assert forgetting_events(column(*answers)).tolist() == [events]
    assert mean_mistakes(column(*answers)) == pytest.approx([1 - sum(answers) / 5])


@given(hnp.arrays(bool, st.tuples(st.integers(2, 7), st.integers(1, 5))))
def test_learning_and_forgetting_equal_a_walk_through_the_epochs(correct):
    for target in range(correct.shape[1]):
        course = correct[:, target].tolist()
        expected = next(t for t in range(len(course) + 1) if all(course[t:]))
        assert learnt_after(correct)[target] == expected
        events = sum(before and not after for before, after in pairwise(course))
        assert forgetting_events(correct)[target] == (events if any(course) else np.inf)


def test_the_data_map_of_known_probabilities():
    probability = np.array([[1 / 4, 0.0], [3 / 4, 0.0], [1 / 2, 1.0]], np.float32)
    np.testing.assert_allclose(lack_of_confidence(probability), [1 / 2, 2 / 3])
    # The population's deviation, not a sample's: sqrt((1/16 + 1/16) / 3) and sqrt(1/3 * 2/3).
    np.testing.assert_allclose(variability(probability), [np.sqrt(1 / 24), np.sqrt(2 / 9)], rtol=1e-6)
    np.testing.assert_allclose(ambiguity(probability), [1 / 4, 2 / 9], rtol=1e-6)


@pytest.mark.parametrize("epochs", [1, 2, 9])
def test_the_same_margin_in_every_epoch_is_the_area_whatever_their_number(epochs):
    margin = np.array([1 / 2, -3.0], np.float32)
    np.testing.assert_array_equal(area_under_margin(np.tile(margin, (epochs, 1))), margin)
