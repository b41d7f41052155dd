import jax
import jax.numpy as jnp
import numpy as np
import pytest

from curriculum_rec.errors import OptionError
from curriculum_rec.growth.leaves import along, grow_value
from curriculum_rec.growth.units import Copies, NewUnits, position_map
from curriculum_rec.models.axes import Axis, Joined, Product, consumed

MAPS = {
    "cyclic": Copies()("hidden", 3, 8, seed=0),
    "random": Copies(choice="random", share=0.7)("hidden", 4, 11, seed=0),
    "new": NewUnits()("hidden", 3, 5, seed=0),
    "positions": position_map(3, 5),
}


def matrix(grown, factor):
    """The map as a matrix ``[new, old]``."""
    dense = np.zeros((len(grown.source), grown.n_old))
    dense[np.arange(len(grown.source)), grown.source] = factor
    return dense


@pytest.mark.parametrize("name", MAPS)
def test_what_is_produced_and_consumed_is_as_before(name):
    grown = MAPS[name]
    axis = Axis("hidden", grown.n_old)
    produced, taken = (along(each, {"hidden": grown}) for each in (axis, consumed(axis)))
    np.testing.assert_allclose(matrix(produced, produced.value).T @ matrix(taken, taken.value), np.eye(axis.size))
    np.testing.assert_allclose(produced.gradient, taken.value)
    np.testing.assert_allclose(taken.gradient, produced.value)


@pytest.mark.parametrize(("old", "new"), [(2, 4), (3, 6), (2, 6)])
def test_scores_keep_their_size_when_heads_grow(old, new):
    """Plain copies would multiply the logits of twice as wide heads by the root of 2."""
    axis = Axis("head", old, kind="attention")
    for rule in (Copies(share=0.3), NewUnits()):
        grown = rule("head", old, new, seed=0)
        query, key = (along(each, {"head": grown}) for each in (axis, consumed(axis)))
        scores = matrix(query, query.value).T @ matrix(key, key.value) / np.sqrt(new)
        np.testing.assert_allclose(scores, np.eye(old) / np.sqrt(old), atol=1e-6)
    np.testing.assert_allclose(
        along(axis, {"head": Copies()("head", old, 2 * old, seed=0)}).value, 2 ** (-1 / 4), rtol=1e-6
    )


def test_factors_and_parts():
    heads, head = Axis("heads", 2), Axis("head", 2)
    axis = Joined((Product((heads, head)), Product((heads, consumed(head)))))
    grown = along(axis, {"head": Copies()("head", 2, 4, seed=0)})
    assert grown.source.tolist() == [0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 7, 6, 7]
    assert grown.value.tolist() == [1.0] * 8 + [0.5] * 8
    assert along(axis, {"hidden": MAPS["new"]}) is None


def test_shares_of_three_copies_by_hand():
    # share 2/3: the series 1, 1/2, 1/4 over its sum
    assert Copies(share=2 / 3)("hidden", 1, 3, seed=0).share.tolist() == pytest.approx([4 / 7, 2 / 7, 1 / 7])


def test_random_sources_depend_on_the_seed_and_keep_the_old_units():
    maps = [Copies(choice="random")("hidden", 50, 90, seed=seed).source for seed in (0, 0, 1)]
    assert maps[0].tolist() == maps[1].tolist() != maps[2].tolist()
    assert all(each[:50].tolist() == list(range(50)) for each in maps)


@pytest.mark.parametrize(
    ("rule", "options", "sentence"),
    [
        (Copies, {"share": 1.0}, "share=1.0"),
        (Copies, {"noise": -0.1}, "noise=-0.1"),
        (Copies, {"choice": "any"}, "choice=any"),
        (Copies, {"block": "last"}, "block=last"),
        (NewUnits, {"scale": 0.0}, "scale=0.0"),
    ],
)
def test_options_out_of_range_are_refused(rule, options, sentence):
    with pytest.raises(OptionError, match=sentence):
        rule(**options)


def test_random_weights_of_new_units_have_the_standard_deviation_that_was_asked_for():
    leaf = np.random.default_rng(0).standard_normal((30, 40), np.float32)
    axis = Product((Axis("heads", 2), Axis("head", 20)))
    axes = None, along(axis, {"heads": NewUnits(scale=0.1)("heads", 2, 4, seed=0)})
    grown = np.asarray(grow_value(jnp.asarray(leaf), axes, key=jax.random.key(0), stacked=False))
    np.testing.assert_array_equal(grown[:, :40], leaf)
    assert grown[:, 40:].std() == pytest.approx(0.1 * leaf.std(), rel=0.05)
