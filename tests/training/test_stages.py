import pytest

from curriculum_rec.errors import OptionError
from curriculum_rec.training.stages import Stage, check_stages


@pytest.mark.parametrize(
    ("stage", "expected"),
    [(Stage(steps=7), 7), (Stage(epochs=3), 30), (Stage(epochs=0.25), 2), (Stage(epochs=0.01), 1)],
)
def test_length_in_steps(stage, expected):
    assert stage.n_steps(10) == expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "a stage has epochs=None and steps=None"),
        ({"epochs": 1, "steps": 1}, "a stage has epochs=1 and steps=1"),
        ({"epochs": 0}, "stages.NAME.epochs=0: it must be a number above 0"),
        ({"steps": -1}, "stages.NAME.steps=-1: it must be at least 1"),
        ({"steps": 1, "depth": 0}, "stages.NAME.depth=0: it must be at least 1"),
        ({"epochs": float("nan")}, "stages.NAME.epochs=nan: it must be a number above 0"),
    ],
)
def test_a_stage_that_makes_no_sense_is_refused(options, words):
    with pytest.raises(OptionError, match=words):
        Stage(**options)


def stages(*depths):
    return {f"stage {number}": Stage(depth=depth, steps=1) for number, depth in enumerate(depths)}


@pytest.mark.parametrize(
    ("depths", "model_depth", "can_grow"),
    [
        ((None,), 2, False),
        ((2, 2), None, False),
        ((2, 4, 8), 1, True),
        ((1, None, 4), 2, True),
        ((1,), 2, False),  # a stage may begin shallower than the model's own depth
        ((None, 4), None, False),
    ],
)
def test_depths_that_never_fall_are_accepted(depths, model_depth, can_grow):
    check_stages(stages(*depths), model_depth=model_depth, can_grow=can_grow)


def test_depth_may_fall_where_growth_takes_blocks_away():
    check_stages(stages(4, 2), model_depth=2, can_grow=True, can_shrink=True)


@pytest.mark.parametrize(
    ("depths", "model_depth", "can_grow", "message"),
    [
        ((), 2, True, "at least one stage"),
        ((4, 2), 2, True, "depth 2 after depth 4"),
        ((4, None, 2), 2, True, "depth 2 after depth 4"),
        ((None, 1), 2, True, "depth 1 after depth 2"),
        ((2, 4), 2, False, "growth is none"),
        ((None, 4), 2, False, "grows from depth 2 to 4"),
    ],
)
def test_depths_that_cannot_be_are_refused(depths, model_depth, can_grow, message):
    with pytest.raises(OptionError, match=message):
        check_stages(stages(*depths), model_depth=model_depth, can_grow=can_grow)
