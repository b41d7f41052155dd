"""Search spaces: what a file says, what is chosen from it, and what is refused."""

import itertools

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from searches import SPACE

from curriculum_rec.errors import OptionError
from curriculum_rec.tuning.space import Choices, FloatRange, IntRange, Space, word, words_of

QUANTILES = st.floats(0, 1, exclude_max=True)


@given(QUANTILES, st.sampled_from([FloatRange(1e-3, 10, log=True), FloatRange(-2, 3), FloatRange(0, 1, step=0.3)]))
def test_floats_stay_inside_and_rise_with_the_quantile(quantile, values):
    value = values.at(quantile)
    assert values.low <= value <= values.high
    assert values.at(quantile / 2) <= value


@given(QUANTILES, st.sampled_from([IntRange(1, 4), IntRange(8, 64, log=True), IntRange(0, 10, step=5)]))
def test_whole_numbers_stay_inside_and_on_their_steps(quantile, values):
    value = values.at(quantile)
    assert isinstance(value, int)
    assert values.low <= value <= values.high
    assert (value - values.low) % values.step == 0


def test_quantiles_are_equally_likely_values():
    quantiles = (np.arange(400) + 0.5) / 400
    assert np.bincount([IntRange(1, 4).at(q) for q in quantiles]).tolist() == [0, 100, 100, 100, 100]
    assert [Choices(("a", "b")).at(q) for q in (0, 0.4999, 0.5, 0.999)] == ["a", "a", "b", "b"]
    logs = np.log10([FloatRange(1e-4, 1e-2, log=True).at(q) for q in quantiles])
    np.testing.assert_allclose(np.diff(logs), 2 / 400)
    assert FloatRange(0, 1, step=0.25).values() == [0, 0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize(
    "value", [None, True, 3, 0.5, 1e-7, "a b", "it's", "null", "true", "10", "x,y", [1, "a"], {"a": 1}]
)
def test_words_mean_the_same_to_hydra(value):
    override = OverridesParser.create().parse_override(f"option={word(value)}")
    parsed = override.value()
    assert parsed == value
    assert type(parsed) is type(value)


def test_a_point_in_words():
    assert words_of({"a": 0.1, "b/c": "d", "e": 3, "f": "null"}) == ["a=0.1", "b/c=d", "e=3", "f=null"]


def test_options_exist_where_their_condition_holds():
    space = Space.parse(SPACE, "space")
    without = space.at([0.5, 0.0, 0.5, 0.99])
    assert without == {"optimizer.learning_rate": pytest.approx(10**-2.5), "curriculum": "none", "model.depth": 4}
    assert space.at([0, 0.5, 0.5, 0])["curriculum.pacing.start"] == pytest.approx(0.3)


def test_conditions_may_hang_on_one_another():
    node = {
        "model": {"choice": ["dnn", "sasrec"]},
        "growth": {"choice": ["none", "stack", "wider"], "when": {"model": ["sasrec"]}},
        "growth/map": {"choice": ["stack", "middle"], "when": {"growth": ["stack"]}},
    }
    space = Space.parse(node, "space")
    grid = space.grid()
    assert len(grid) == 1 + 2 + 2
    assert {"model": "sasrec", "growth": "stack", "growth/map": "middle"} in grid
    assert {"model": "dnn"} in grid
    cover = space.cover()
    seen = set(itertools.chain.from_iterable(point.items() for point in cover))
    assert seen == {(name, choice) for name, entry in node.items() for choice in entry["choice"]}
    assert all(point in grid for point in cover)


def test_a_grid_is_the_product():
    space = Space.parse({"a": {"int": [1, 3]}, "b": {"choice": [None, True]}, "c": {"float": [0, 1], "step": 0.5}}, "s")
    grid = space.grid()
    assert len(grid) == 3 * 2 * 3
    assert len({tuple(point.items()) for point in grid}) == len(grid)


@pytest.mark.parametrize(
    ("node", "sentence"),
    [
        (None, "space: it must name at least one option"),
        ({}, "space: it must name at least one option"),
        ({"a": 3}, "space.a: it must have one of float, int and choice"),
        ({"a": {"float": [0, 1], "int": [0, 1]}}, "space.a: it must have one of"),
        ({"a": {"float": [1]}}, r"space.a: it must be \{float: \[LOW, HIGH\]\} with two numbers"),
        ({"a": {"float": [0, "x"]}}, "with two numbers"),
        ({"a": {"float": [True, 2]}}, "with two numbers"),
        ({"a": {"int": [0, 1.5]}}, "with two whole numbers"),
        ({"a": {"float": [2, 1]}}, "the first end must be a number below the second"),
        ({"a": {"float": [0, float("nan")]}}, "the first end must be a number below the second"),
        ({"a": {"float": [0, 1], "log": True}}, "log needs ends above 0"),
        ({"a": {"float": [1, 2], "log": True, "step": 0.1}}, "step must be"),
        ({"a": {"int": [1, 2], "step": 5}}, "step must be"),
        ({"a": {"float": [1, 2], "logg": True}}, "option 'logg' does not exist; is 'log' meant"),
        ({"a": {"choice": [1], "log": True}}, "option 'log' does not exist"),
        ({"a": {"choice": "none"}}, "choice must be a list"),
        ({"a": {"choice": []}}, "at least one value"),
        ({"a": {"choice": ["x", "x"]}}, "none of them twice"),
        ({"a": {"choice": ["x"], "when": {"b": "y"}}}, "when names 'b', which is no choice that stands before it"),
        ({"b": {"int": [1, 2]}, "a": {"choice": ["x"], "when": {"b": 1}}}, "when names 'b'"),
        ({"b": {"choice": ["x"]}, "a": {"int": [1, 2], "when": {"b": "y"}}}, "'y' is none of the choices of b: x"),
        ({"a": {"int": [1, 2], "when": "b"}}, "when must be"),
        (
            {
                "m": {"choice": ["x", "y"]},
                "n": {"choice": ["p"], "when": {"m": "x"}},
                "a": {"int": [1, 2], "when": {"m": "y", "n": "p"}},
            },
            "space.a: its conditions never hold together",
        ),
    ],
)
def test_what_is_no_space_is_refused(node, sentence):
    with pytest.raises(OptionError, match=sentence):
        Space.parse(node, "space")


def test_a_grid_needs_steps():
    with pytest.raises(OptionError, match="space.a: a grid needs a step"):
        Space.parse({"a": {"float": [0, 1]}}, "space").grid()
