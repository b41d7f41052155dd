import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_rec.errors import OptionError
from curriculum_rec.growth.layer_maps import (
    Gradual,
    Interleave,
    Middle,
    PartialInterleave,
    PartialStack,
    Stack,
    copied_again,
)


@pytest.mark.parametrize(
    ("layer_map", "old", "new", "expected"),
    [
        (Stack(), 3, 6, [0, 1, 2, 0, 1, 2]),
        (Stack(), 3, 12, [0, 1, 2] * 4),
        (Stack(), 2, 5, [0, 1, 0, 1, 0]),
        (Interleave(), 3, 6, [0, 0, 1, 1, 2, 2]),
        (Interleave(), 2, 5, [0, 0, 0, 1, 1]),
        (Interleave(), 1, 3, [0, 0, 0]),
        (PartialStack(top=6), 18, 24, [*range(18), *range(12, 18)]),
        (PartialStack(top=2), 3, 8, [0, 1, 2, 1, 2, 1, 2, 1]),
        (PartialInterleave(top=6), 18, 24, [*range(12), 12, 12, 13, 13, 14, 14, 15, 15, 16, 16, 17, 17]),
        (PartialInterleave(top=2), 3, 4, [0, 1, 1, 2]),
        (Gradual(), 4, 6, [0, 1, 2, 3, 2, 3]),
        (Gradual(), 3, 6, [0, 1, 2, 0, 1, 2]),
        (Middle(group=1), 4, 5, [0, 1, 1, 2, 3]),
        (Middle(group=1), 3, 4, [0, 1, 1, 2]),
        (Middle(group=1), 4, 6, [0, 1, 1, 1, 2, 3]),
        (Middle(), 6, 8, [0, 1, 2, 3, 2, 3, 4, 5]),
        (Middle(group=2), 8, 10, [0, 1, 2, 3, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_maps_by_hand(layer_map, old, new, expected):
    source = layer_map(old, new)
    assert source.tolist() == expected
    assert copied_again(source).tolist() == [block in expected[:place] for place, block in enumerate(expected)]


@given(old=st.integers(1, 9), more=st.integers(0, 9))
def test_every_map_keeps_every_block_once_and_in_order(old, more):
    for layer_map in (Stack(), Interleave(), PartialStack(1), PartialInterleave(1), Middle(1)):
        source = layer_map(old, old + more)
        assert source.shape == (old + more,)
        assert source[~copied_again(source)].tolist() == list(range(old))


def test_interleaving_twice_equals_interleaving_once():
    to_four, to_eight = Interleave()(2, 4), Interleave()(4, 8)
    np.testing.assert_array_equal(to_four[to_eight], Interleave()(2, 8))


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (lambda: PartialStack(top=0), "growth.map.top=0"),
        (lambda: Middle(group=0), "growth.map.group=0"),
        (lambda: PartialStack(top=3)(2, 4), "only 2 blocks"),
        (lambda: PartialInterleave(top=3)(2, 4), "only 2 blocks"),
        (lambda: Gradual()(2, 5), "not 3 to 2"),
        (lambda: Middle()(3, 5), "fill neither 3 nor 5"),
        (lambda: Middle(group=2)(4, 7), "growth.map.group=2"),
    ],
)
def test_maps_that_cannot_be_are_refused(refused, message):
    with pytest.raises(OptionError, match=message):
        refused()
