"""The scoring pass against a dense computation in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from curriculum_rec.curriculum.difficulty.workshop import STATISTICS
from curriculum_rec.evaluation.target_statistics import TargetScorer, _ask_batches, target_statistics
from curriculum_rec.models import SASRec
from curriculum_rec.models.batch import Batch
from curriculum_rec.models.structure import join_model, split_model
from curriculum_rec.training.placement import Placement


def dense(hidden, target, vectors):
    """Every statistic of one target from its scores of all items, in float64; ``vectors`` are those of the items."""
    scores = vectors.astype(np.float64) @ hidden.astype(np.float64)
    likelihood = np.exp(scores - scores.max())
    likelihood /= likelihood.sum()
    own, others = scores[target], np.delete(scores, target)
    error = likelihood.copy()
    error[target] -= 1
    return {
        "loss": -np.log(likelihood[target]),
        "probability": likelihood[target],
        "rank": 1 + (others > own).sum() + (others == own).sum() / 2,
        "margin": own - others.max(),
        "error_norm": np.linalg.norm(error),
        "hidden_norm": np.linalg.norm(hidden),
    }


@pytest.fixture(scope="module")
def scored(tiny_split, tiny_examples):
    n_items = tiny_split.interactions.n_items
    model = SASRec(width=8, depth=1, dropout=0.5)(n_items=n_items, max_length=12, rngs=nnx.Rngs(0))
    structure, params = split_model(model)
    params = jax.tree.map(lambda leaf: 5 * leaf, params)  # scores far from each other
    scorer = TargetScorer(tiny_examples, Placement("jit").place(), batch_size=16)
    return structure, params, scorer, scorer(structure, params)


def test_all_targets_are_asked_in_their_order_with_the_whole_catalogue(scored, tiny_split, tiny_examples):
    structure, params, _, answers = scored
    model, n_items = join_model(structure, params), tiny_split.interactions.n_items
    vectors = np.asarray(model.item_vectors())[1 : n_items + 1]
    vector_of = jax.jit(lambda history: model(Batch({"history": history}, jnp.ones(len(history)))))
    checked = 0
    for bucket in tiny_examples.buckets:
        hidden = np.asarray(vector_of(bucket.arrays["history"]))
        for row, example in enumerate(bucket.example):
            begin, end = tiny_examples.target_offsets[example : example + 2]
            for place in range(end - begin):
                expected = dense(hidden[row, place], bucket.arrays["target"][row, place] - 1, vectors)
                for name in STATISTICS:
                    got = answers[name][begin + place]
                    np.testing.assert_allclose(got, expected[name], rtol=2e-4, atol=2e-5, err_msg=name)
                checked += 1
    assert checked == len(tiny_examples.targets) > 300


def test_answers_have_their_bounds(scored):
    answers = scored[3]
    assert (answers["error_norm"] >= 0).all()
    assert (answers["error_norm"] <= np.sqrt(2) * (1 + 1e-6)).all()
    assert answers["error_norm"].max() > 1
    assert (answers["loss"] >= 0).all()
    assert ((answers["rank"] == 1) == (answers["margin"] > 0)).all()


def test_neither_devices_nor_batches_change_the_answers(scored, tiny_examples):
    structure, params, _, answers = scored
    scorer = TargetScorer(tiny_examples, Placement("pmap", 4).place(), batch_size=8)
    for name, values in scorer(structure, params).items():
        np.testing.assert_allclose(values, answers[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_bucket_is_compiled_once(scored):
    structure, params, scorer, _ = scored
    before = _ask_batches._cache_size()
    scorer(structure, jax.tree.map(lambda leaf: leaf + 1, params))
    assert _ask_batches._cache_size() == before


def test_a_sure_right_answer_has_no_error_and_a_sure_wrong_one_the_greatest():
    vectors = jnp.zeros((128, 2)).at[1].set(jnp.array([50.0, 0.0])).at[2].set(jnp.array([0.0, 50.0]))
    hidden = jnp.array([[1.0, 0.0], [1.0, 0.0]])
    answers = target_statistics(hidden, jnp.array([1, 2]), vectors, n_items=2)
    np.testing.assert_allclose(answers["error_norm"], [0, np.sqrt(2)], atol=1e-6)
    assert answers["rank"].tolist() == [1, 2]
    assert answers["margin"].tolist() == [50, -50]


def test_level_items_count_half_and_what_is_no_number_wins_nothing():
    vectors = jnp.ones((128, 1))
    assert target_statistics(jnp.ones((1, 1)), jnp.array([2]), vectors, n_items=5)["rank"].tolist() == [3]
    broken = target_statistics(jnp.full((1, 1), jnp.nan), jnp.array([2]), vectors, n_items=5)
    assert broken["rank"].tolist() == [5]
