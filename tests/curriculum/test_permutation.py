import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_rec.curriculum import permutation as module
from curriculum_rec.curriculum.permutation import HELD_UP_TO, Permutation


@given(st.integers(1, 3000), st.integers(0, 2**64 - 1))
def test_every_number_comes_exactly_once(n, key):
    np.testing.assert_array_equal(np.sort(Permutation(n, key)(np.arange(n))), np.arange(n))


@given(st.integers(1, 10**12), st.integers(0, 2**64 - 1), st.integers(0, 2**32))
def test_a_part_is_that_of_the_whole_and_lies_in_the_range(n, key, seed):
    index = np.random.default_rng(seed).integers(0, n, 7)
    permutation = Permutation(n, key)
    place = permutation(index)
    assert ((place >= 0) & (place < n)).all()
    assert [int(permutation(index[i : i + 1])[0]) for i in range(7)] == place.tolist()


@pytest.mark.parametrize("n", [2, 3, 10, 33])
def test_keys_send_a_number_everywhere_equally_often(n):
    rng = np.random.default_rng(n)
    keys = rng.integers(0, 2**63, 3_000)
    place = np.array([Permutation(n, int(key))(np.array([0, n - 1])) for key in keys])
    for column in place.T:
        counts = np.bincount(column, minlength=n)
        chi_square = ((counts - len(keys) / n) ** 2 / (len(keys) / n)).sum()
        assert chi_square < n - 1 + 5 * np.sqrt(2 * n)


def test_an_order_does_not_follow_the_numbers():
    n = 10_000
    for key in range(20):
        place = Permutation(n, key)(np.arange(n))
        assert abs(np.corrcoef(np.arange(n), place)[0, 1]) < 4 / np.sqrt(n)
        assert abs(np.corrcoef(place[:-1], place[1:])[0, 1]) < 4 / np.sqrt(n)


def test_nothing_is_a_permutation_of_nothing():
    assert Permutation(0, 1)(np.zeros(0, np.int64)).tolist() == []


def test_no_number_of_a_long_one_is_held():
    """A range of a million million numbers takes no longer than one of ten."""
    assert Permutation(10**12, 3)(np.arange(5)).shape == (5,)


def test_a_held_one_is_the_one_that_is_computed_part_by_part(monkeypatch):
    index = np.array([[7, 0], [99, 7]])
    held = Permutation(100, 3)(index)
    monkeypatch.setattr(module, "HELD_UP_TO", 10)
    np.testing.assert_array_equal(Permutation(100, 3)(index), held)


def test_a_short_one_is_computed_once(monkeypatch):
    permutation, calls = Permutation(HELD_UP_TO, 3), []
    monkeypatch.setattr(Permutation, "_round", lambda _, half, number: calls.append(number) or half)
    permutation(np.arange(5))
    n_calls = len(calls)
    permutation(np.arange(5))
    assert n_calls == len(calls) > 0
