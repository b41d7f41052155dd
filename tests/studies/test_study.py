import pytest

from curriculum_rec.errors import OptionError
from curriculum_rec.studies.study import read_study, study_of

MINIMAL = {
    "question": "Which?",
    "arms": {"plain": [], "loss": {"options": ["curriculum=loss"], "controls": ["random"]}},
}


def study(**changes):
    return study_of({**MINIMAL, **changes}, "study")


def test_a_control_is_its_arm_and_one_thing_more():
    arms = study().all_arms()
    assert list(arms) == ["plain", "loss", "loss-random"]
    assert arms["loss-random"].options == ("curriculum=loss", "curriculum.order=random")
    assert arms["loss"].control == "loss-random"
    assert arms["loss-random"].control is None


def test_later_controls_are_compared_with_the_first_and_a_study_adds_its_own():
    arms = study(
        controls={"shallow": ["model.depth=1"]},
        arms={"plain": [], "loss": {"options": ["curriculum=loss"], "controls": ["random", "anti", "shallow"]}},
    ).all_arms()
    assert arms["loss-anti"].control == arms["loss-shallow"].control == arms["loss"].control == "loss-random"
    assert arms["loss-shallow"].options[-1] == "model.depth=1"


def test_an_arm_begins_with_the_options_of_what_it_extends():
    arms = study(
        arms={"plain": ["a=1"], "more": {"extends": "plain", "options": ["b=2"]}, "most": {"extends": "more"}}
    ).all_arms()
    assert arms["most"].options == ("a=1", "b=2")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"baseline": "none"}, "baseline names the arm 'none'; there are: plain, loss, loss-random"),
        ({"arms": {}}, "study.arms=null: it must be a mapping"),
        ({"seeds": []}, "at least one arm, one seed"),
        ({"seeds": [1, 1]}, "names a seed twice"),
        ({"seeds": [-1]}, "seeds=-1: it must be at least 0"),
        ({"arms": {"plain": [], "x": {"control": "y"}}}, "arms.x names the arm 'y'"),
        ({"arms": {"plain": [], "x": {"controls": ["rndom"]}}}, "there is no control 'rndom'"),
        ({"arms": {"plain": [], "x": {"controls": ["random"], "control": "plain"}}}, "say one of the two"),
        ({"arms": {"plain": {"extends": "x"}, "x": {"extends": "plain"}}}, "in a circle: plain -> x -> plain"),
        ({"arms": {"plain": {"extends": "x"}}}, "extends 'x'"),
        ({"arms": {"plain": [], "a/b": []}}, "'a/b' becomes a folder's name"),
        ({"arms": {"plain": [], "x": {"controls": ["random"]}, "x-random": []}}, "rename it"),
        ({"arms": {"plain": {"conditions": ["dark"]}}}, "names the condition 'dark'"),
        ({"arms": {"plain": {"optons": []}}}, "is 'options' meant"),
        ({"data": {"d": {"published": {"x": {"ndcg@10": 0.1}}}}}, "data.d.published names the arm 'x'"),
        ({"arm": {}}, "is 'arms' meant"),
        ({"share": 2}, "share=2"),
        ({"metrics": 3}, "study.metrics=3: it must be a list of texts"),
    ],
)
def test_a_mistake_is_named(changes, sentence):
    with pytest.raises(OptionError, match=sentence):
        study(**changes).all_arms()


@pytest.mark.parametrize(
    ("text", "sentence"), [("- a\n", "is no study"), ("a: [", "cannot be read"), (None, "cannot be")]
)
def test_a_file_that_is_none_is_named(tmp_path, text, sentence):
    path = tmp_path / "study.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(OptionError, match=sentence):
        read_study(path)
