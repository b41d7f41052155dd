import pytest

from curriculum_rec.errors import OptionError
from curriculum_rec.growth.stacking_law import stacking_tokens


@pytest.mark.parametrize(
    ("parameters", "data", "tokens"),
    [(8e9, 15e12, 6.58e9), (7e9, 2e12, 11.11e9), (13e9, 2e12, 15.84e9), (70e9, 2e12, 42.48e9)],
)
def test_the_published_rows(parameters, data, tokens):
    assert stacking_tokens(parameters, 6 * parameters * data) == pytest.approx(tokens, rel=5e-4)


@pytest.mark.parametrize(("parameters", "data"), [(1e6, 1e8), (1e7, 1e9)])
def test_a_recommender_has_fewer_tokens_than_it_asks_for(parameters, data):
    assert stacking_tokens(parameters, 6 * parameters * data) > data


def test_arguments_out_of_range_are_refused():
    with pytest.raises(OptionError, match="operations=1"):
        stacking_tokens(1e6, 1)
