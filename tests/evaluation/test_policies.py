"""Policies: probabilities by hand, as limits of each other, and in sum."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.evaluation.policies import Greedy, Softmax

SCORES = np.array([[0.0, 4.0, 2.0, 3.0, 9.0], [0.0, 1.0, 1.0, 7.0, 0.5]])
CANDIDATES = np.array([[False, True, True, True, False], [False, True, True, False, True]])


def test_greedy_by_hand():
    assert Greedy().probabilities(SCORES, CANDIDATES, None).tolist() == [[0, 1, 0, 0, 0], [0, 1, 0, 0, 0]]
    assert Greedy(k=2).probabilities(SCORES, CANDIDATES, None).tolist() == [[0, 0.5, 0, 0.5, 0], [0, 0.5, 0.5, 0, 0]]
    whole = Greedy(k=9).probabilities(SCORES, CANDIDATES, None)
    np.testing.assert_allclose(whole, CANDIDATES / 3)
    mixed = Greedy(epsilon=0.3).probabilities(SCORES, CANDIDATES, None)
    np.testing.assert_allclose(mixed[0], [0, 0.8, 0.1, 0.1, 0])


def test_slots_of_a_list_hold_the_items_in_order():
    shown = Greedy(k=3).probabilities(SCORES, CANDIDATES, np.array([3, 1]))
    assert shown.tolist() == [[0, 0, 1, 0, 0], [0, 1, 0, 0, 0]]
    slots = [Greedy(k=3).probabilities(SCORES, CANDIDATES, np.full(2, slot)) for slot in (1, 2, 3)]
    np.testing.assert_allclose(np.mean(slots, axis=0), Greedy(k=3).probabilities(SCORES, CANDIDATES, None))


def test_softmax_by_hand_and_at_its_limits():
    hot = Softmax(temperature=1e9).probabilities(SCORES, CANDIDATES, None)
    np.testing.assert_allclose(hot, CANDIDATES / 3, atol=1e-6)
    cold = Softmax(temperature=1e-3).probabilities(SCORES[:1], CANDIDATES[:1], None)
    np.testing.assert_allclose(cold, Greedy().probabilities(SCORES[:1], CANDIDATES[:1], None))
    found = Softmax(temperature=2.0).probabilities(SCORES, CANDIDATES, None)[0]
    assert found[1] / found[2] == pytest.approx(np.exp((4 - 2) / 2))


@given(st.integers(0, 2**32 - 1), st.sampled_from([Greedy(), Greedy(3, 0.2), Softmax(), Softmax(0.1, 1.0)]))
def test_probabilities_add_up_over_the_candidates(seed, policy):
    rng = np.random.default_rng(seed)
    candidates = rng.random((4, 7)) < 0.5
    candidates[:, 0] = True
    shown = policy.probabilities(rng.normal(size=(4, 7)), candidates, None)
    np.testing.assert_allclose(shown.sum(axis=1), 1)
    assert (shown >= 0).all() and not shown[~candidates].any()


def test_mistakes():
    with pytest.raises(OptionError, match=r"fills position 2 of a list: give policy\.k=2"):
        Greedy().probabilities(SCORES, CANDIDATES, np.array([1, 2]))
    with pytest.raises(DataError, match="position 4 of a list where there are only 3 candidates"):
        Greedy(k=4).probabilities(SCORES, CANDIDATES, np.array([1, 4]))
    with pytest.raises(OptionError, match="has positions in lists: take greedy"):
        Softmax().probabilities(SCORES, CANDIDATES, np.array([1, 1]))
    with pytest.raises(OptionError, match=r"policy\.temperature=0"):
        Softmax(temperature=0)
    with pytest.raises(OptionError, match=r"policy\.epsilon=2"):
        Greedy(epsilon=2)
