"""What an option may be, and what is said of one that it may not be."""

import math
from types import SimpleNamespace

import pytest

from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import (
    ABOVE_0_TO_1,
    BELOW_ONE,
    INSIDE_ONE,
    POSITIVE,
    SHARE,
    above,
    at_least,
    between,
    check_ranges,
    one_of,
)


@pytest.mark.parametrize(
    ("allowed", "inside", "outside"),
    [
        (POSITIVE, [1e-300, 7], [0, -1, math.inf]),
        (BELOW_ONE, [0, 0.999], [-1e-9, 1]),
        (INSIDE_ONE, [1e-9, 0.999], [0, 1]),
        (ABOVE_0_TO_1, [1e-9, 1], [0, 1.001]),
        (SHARE, [0, 1], [-1e-9, 1.001]),
        (above(1), [1.001], [1, math.inf]),
        (at_least(2), [2, 3], [1, math.inf]),
        (between(-math.inf, 0), [-7.0], [-math.inf, 0]),
    ],
)
def test_ends_belong_to_a_range_or_do_not(allowed, inside, outside):
    assert all(map(allowed.contains, inside))
    assert not any(map(allowed.contains, [*outside, math.nan]))


@pytest.mark.parametrize("allowed", [SHARE, at_least(1), one_of("a", "b")])
def test_null_is_allowed_where_it_is_said(allowed):
    assert allowed.or_null().contains(None)
    assert not allowed.or_null().contains(-1)


@pytest.mark.parametrize(
    ("group", "ranges", "sentence"),
    [
        ("model", {"depth": at_least(2)}, "model.depth=1: it must be at least 2"),
        (
            "model",
            {"depth": at_least(1), "norm": one_of("layer", "rms")},
            "model.norm=null: it must be one of layer, rms",
        ),
        ("", {"depth": between(2, 4, high_too=True)}, "depth=1: it must be in (2, 4]"),
    ],
)
def test_an_option_outside_its_range_is_named(group, ranges, sentence):
    with pytest.raises(OptionError) as caught:
        check_ranges(SimpleNamespace(depth=1, norm=None), group, ranges)
    assert str(caught.value) == sentence


def test_options_inside_their_ranges_pass():
    check_ranges(SimpleNamespace(depth=1), "model", {"depth": at_least(1)})
