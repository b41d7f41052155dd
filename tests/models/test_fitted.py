"""Models that are fitted at once: their parameters and scores against plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from curriculum_rec.data.splits import Part
from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.evaluator import target_ranks
from curriculum_rec.evaluation.mostpop import most_popular_ranks
from curriculum_rec.models import BPRMF, EASE, ItemKNN, MostPop
from curriculum_rec.models.contract import FitsModel, Known, ScoresItems
from curriculum_rec.models.structure import join_model, split_model
from curriculum_rec.training.fitted_run import known_before
from curriculum_rec.training.state import count_parameters

N_ITEMS, N_USERS = 9, 12


@pytest.fixture(scope="module")
def known():
    """Histories in which items repeat, and an item that nobody has."""
    rng = np.random.default_rng(3)
    lengths = rng.integers(1, 8, N_USERS)
    items = rng.integers(1, N_ITEMS, lengths.sum()).astype(np.int32)
    return Known(items, np.concatenate([[0, 0], np.cumsum(lengths)]), N_ITEMS)


def dense(known):
    """Who has which item, user after user and item after item, without padding."""
    matrix = np.zeros((N_USERS, N_ITEMS))
    for user in range(1, N_USERS + 1):
        for item in known.items[known.offsets[user] : known.offsets[user + 1]]:
            matrix[user - 1, item - 1] = 1
    return matrix


def fitted(options, known):
    structure, template = split_model(options(n_items=known.n_items, max_length=5, rngs=nnx.Rngs(0)))
    params = options.fit(known)
    assert {name: (leaf.shape, leaf.dtype) for name, leaf in params.items()} == {
        name: (leaf.shape, leaf.dtype) for name, leaf in template.items()
    }
    return join_model(structure, jax.tree.map(jnp.asarray, params))


HISTORIES = np.array([[2, 5, 2, 0], [7, 0, 0, 0], [1, 2, 3, 4], [9, 9, 0, 0]], np.int32)


def as_sets(histories):
    rows = np.zeros((len(histories), N_ITEMS))
    for row, history in zip(rows, histories, strict=True):
        row[[item - 1 for item in history if item]] = 1
    return rows


@pytest.mark.parametrize("l2", [1.0, 50.0])
def test_ease_is_the_closed_form(known, l2):
    x = dense(known)
    inverse = np.linalg.inv(x.T @ x + l2 * np.eye(N_ITEMS))
    expected = np.eye(N_ITEMS) - inverse / np.diag(inverse)[None, :]
    model = fitted(EASE(l2=l2), known)
    weight = np.asarray(model.weight[...])
    np.testing.assert_allclose(weight[1:, 1:], expected - np.diag(np.diag(expected)), rtol=1e-5, atol=1e-7)
    assert (np.diag(weight) == 0).all()
    assert (weight[0] == 0).all()
    assert (weight[:, 0] == 0).all()
    np.testing.assert_allclose(
        model.score_items(jnp.asarray(HISTORIES))[:, 1:], as_sets(HISTORIES) @ weight[1:, 1:], atol=1e-6
    )


def test_ease_is_the_best_matrix_with_a_zero_diagonal(known):
    """Each column solves its own ridge regression on the other items."""
    x, l2 = dense(known), 3.0
    weight = EASE(l2=l2).fit(known)["weight"][1:, 1:]
    for item in range(N_ITEMS):
        others = np.delete(np.arange(N_ITEMS), item)
        gram = x[:, others].T @ x[:, others] + l2 * np.eye(len(others))
        expected = np.linalg.solve(gram, x[:, others].T @ x[:, item])
        np.testing.assert_allclose(weight[others, item], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("neighbours", "shrinkage"), [(3, 0.0), (3, 10.0), (100, 2.5)])
def test_itemknn_is_the_brute_force(known, neighbours, shrinkage):
    x = dense(known)
    similarity = np.zeros((N_ITEMS, N_ITEMS))
    for i, j in np.ndindex(N_ITEMS, N_ITEMS):
        both, alone = (x[:, i] * x[:, j]).sum(), np.sqrt(x[:, i].sum() * x[:, j].sum()) + shrinkage
        similarity[i, j] = both / alone if i != j and both else 0
    for row in similarity:
        row[np.argsort(-row, kind="stable")[neighbours:]] = 0
    model = fitted(ItemKNN(neighbours=neighbours, shrinkage=shrinkage), known)
    scores = np.asarray(model.score_items(jnp.asarray(HISTORIES)))
    np.testing.assert_allclose(scores[:, 1:], as_sets(HISTORIES) @ similarity, rtol=1e-5, atol=1e-6)
    assert (scores[:, 0] == 0).all()


def test_mostpop_ranks_as_the_reference_row_does(tiny_split):
    rows = tiny_split.rows(Part.TEST)
    expected = most_popular_ranks(tiny_split.item_counts(Part.TEST), rows, filter_seen=False)
    model = fitted(MostPop(), known_before(tiny_split, Part.TEST))
    scores = model.score_items(jnp.ones((len(rows), 1), jnp.int32))
    nothing = jnp.zeros((len(rows), 1), jnp.int32)
    ranks = target_ranks(scores, jnp.asarray(rows.target), nothing, n_items=model.n_items)
    np.testing.assert_array_equal(ranks, expected)


def test_what_is_known_before_a_part_is_all_of_the_parts_before_it(tiny_split):
    for part in (Part.VALIDATION, Part.TEST):
        known, data = known_before(tiny_split, part), tiny_split.interactions
        for user in range(1, data.n_users + 1):
            expected = data.item[(data.user == user) & (tiny_split.part < part)]
            np.testing.assert_array_equal(known.items[known.offsets[user] : known.offsets[user + 1]], expected)


@pytest.mark.parametrize("options", [MostPop(), ItemKNN(), EASE()], ids=str)
def test_they_say_what_they_are(options, known):
    assert isinstance(options, FitsModel)
    assert isinstance(fitted(options, known), ScoresItems)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EASE(l2=0.0), "l2=0"),
        (lambda: ItemKNN(neighbours=0), "neighbours=0"),
        (lambda: ItemKNN(shrinkage=-1.0), "shrinkage=-1"),
        (lambda: MostPop(fit_on="all"), "fit_on=all: it must be one of training, known"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (MostPop(), 128),
        (ItemKNN(neighbours=100), 2 * 128 * 100),
        (ItemKNN(neighbours=200), 2 * 128 * 126),
        (EASE(), 128**2),
        (BPRMF(width=8, n_users=5), (6 + 256) * 8),
    ],
)
def test_number_of_parameters_is_the_documented_one(options, expected):
    model = nnx.eval_shape(lambda: options(n_items=127, max_length=4, rngs=nnx.Rngs(0)))
    assert count_parameters(split_model(model)[1]) == expected
