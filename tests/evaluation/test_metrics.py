"""Metrics: fractions by hand, and scikit-learn as an independent oracle."""

from math import log2

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.metrics import ndcg_score

from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.metric_names import ALL, at_cut_offs, can_decide, parse_metric
from curriculum_rec.evaluation.metrics import METRICS, Places, mean_metrics, question_auc, user_metrics

RANK = np.array([1, 2, 3.5, 5, 5.5, 11])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hr@1", [1, 0, 0, 0, 0, 0]),
        ("hr@5", [1, 1, 1, 1, 0, 0]),
        ("recall@5", [1, 1, 1, 1, 0, 0]),
        ("hr@11", [1, 1, 1, 1, 1, 1]),
        ("mrr@3", [1, 1 / 2, 0, 0, 0, 0]),
        ("mrr@5", [1, 1 / 2, 2 / 7, 1 / 5, 0, 0]),
        ("ndcg@3", [1, 1 / log2(3), 0, 0, 0, 0]),
        ("ndcg@11", [1, 1 / log2(3), 1 / log2(4.5), 1 / log2(6), 1 / log2(6.5), 1 / log2(12)]),
    ],
)
def test_by_hand(name, expected):
    np.testing.assert_allclose(user_metrics(RANK, [name])[name], expected, rtol=1e-12)
    assert mean_metrics(RANK, [name])[name] == pytest.approx(sum(expected) / 6)


@pytest.mark.parametrize("k", [1, 3, 10, 50])
def test_ndcg_agrees_with_scikit_learn(k):
    rng = np.random.default_rng(k)
    scores = rng.permuted(np.tile(np.arange(50.0), (40, 1)), axis=1)
    target = rng.integers(0, 50, 40)
    relevant = np.eye(50)[target]
    rank = 1.0 + (scores > scores[np.arange(40), target][:, None]).sum(axis=1)
    assert mean_metrics(rank, [f"ndcg@{k}"])[f"ndcg@{k}"] == pytest.approx(ndcg_score(relevant, scores, k=k))


@pytest.mark.parametrize("kind", ["hr", "ndcg", "mrr", "recall", "map_n", "map_min"])
def test_every_metric_falls_with_the_rank_and_grows_with_k(kind):
    ranks = np.arange(1, 40) / 2 + 0.5
    values = np.stack([user_metrics(ranks, [f"{kind}@{k}"])[f"{kind}@{k}"] for k in (1, 5, 10, 20)])
    assert (np.diff(values, axis=1) <= 0).all()
    assert (np.diff(values, axis=0) >= 0).all()
    assert values.min() >= 0
    assert values.max() == 1


@pytest.mark.parametrize(
    "name", ["auc@10", "ndcg", "ndcg@", "ndcg@0", "ndcg@-1", "ndcg@1.5", "NDCG@10", "", "@5", "hr@²", "gini", "map@5"]
)
def test_unknown_metrics_are_named_and_the_known_listed(name):
    with pytest.raises(OptionError) as caught:
        parse_metric(name)
    assert str(caught.value).startswith(f"'{name}' is no metric: write one of hr, ndcg, mrr, recall, precision, f1, ")


def test_names_at_cut_offs_and_which_may_decide():
    assert at_cut_offs(["ndcg", "gauc", "hr@3", "hr@3"], [5, 10]) == ("ndcg@5", "ndcg@10", "gauc", "hr@3")
    undecided = {kind for kind in ALL if not can_decide(kind if kind in ("auc", "gauc") else f"{kind}@5")}
    assert undecided == {"gini", "popularity", "calibration"}


# One question with relevant items at the places 1, 3 and 6, and one with a single one at 2.
TWO = {"rank": np.array([1.0, 3, 6, 2]), "question": np.array([0, 0, 0, 1])}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hr@1", [1, 0]),
        ("recall@1", [1 / 3, 0]),
        ("recall@5", [2 / 3, 1]),
        ("precision@5", [2 / 5, 1 / 5]),
        ("precision@6", [3 / 6, 1 / 6]),
        ("f1@5", [2 * (2 / 5) * (2 / 3) / (2 / 5 + 2 / 3), 2 * (1 / 5) * 1 / (1 / 5 + 1)]),
        ("mrr@5", [1, 1 / 2]),
        ("map_n@5", [(1 + 2 / 3) / 3, 1 / 2]),
        ("map_min@2", [1 / 2, 1 / 2]),
        ("map_n@2", [1 / 3, 1 / 2]),
        ("map_min@6", [(1 + 2 / 3 + 3 / 6) / 3, 1 / 2]),
        ("ndcg@2", [1 / (1 + 1 / log2(3)), 1 / log2(3)]),
        ("ndcg@6", [(1 + 1 / log2(4) + 1 / log2(7)) / (1 + 1 / log2(3) + 1 / 2), 1 / log2(3)]),
    ],
)
def test_several_relevant_items_by_hand(name, expected):
    found = user_metrics(TWO["rank"], [name], question=TWO["question"])[name]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_places_do_not_depend_on_the_order_of_a_question_s_items():
    shuffled = Places.of(np.array([6.0, 1, 3, 2]), TWO["question"])
    assert shuffled.place.tolist() == Places.of(**TWO).place.tolist() == [1, 3, 6, 2]


def test_tied_relevant_items_have_the_mean_of_their_block():
    # Three relevant items level with five others, two others above all of them: places 3 to 10.
    mean = np.arange(3, 11).mean()
    places = Places.of(np.full(3, mean), np.zeros(3, int))
    assert places.place.tolist() == [mean - 1, mean, mean + 1]
    assert question_auc(places, np.array([9])) == [1 - (2 + 5 / 2) / 9]


@pytest.mark.parametrize("kind", METRICS)
def test_metrics_stay_within_0_and_1_with_any_ties(kind):
    rng = np.random.default_rng(0)
    for _ in range(200):
        scores, n = rng.integers(0, 4, 30), int(rng.integers(1, 12))
        rank = rankdata(-scores)[:n]
        for k in (1, 3, 10):
            value = user_metrics(rank, [f"{kind}@{k}"], question=np.zeros(n, int))[f"{kind}@{k}"]
            assert 0 <= value[0] <= 1 + 1e-12


def test_the_best_order_has_the_metrics_of_perfection():
    rank, question = np.array([3.0, 1, 2, 4, 2, 1, 1]), np.array([0, 0, 0, 0, 1, 1, 2])
    found = user_metrics(rank, ["ndcg@3", "map_min@3", "hr@1", "mrr@3"], question=question)
    assert {name: values.tolist() for name, values in found.items()} == {name: [1.0, 1.0, 1.0] for name in found}
    assert question_auc(Places.of(rank, question), np.array([5, 5, 0])).tolist() == [1, 1, 0.5]


def test_some_relevant_items_alone_are_ranked_without_the_others():
    rng = np.random.default_rng(3)
    scores, relevant = rng.permutation(30), np.array([2, 5, 9, 14, 20])
    chosen = np.array([True, False, True, True, False])
    rank = rankdata(-scores)[relevant]
    left = np.setdiff1d(np.arange(30), relevant[~chosen])
    expected = sorted(rankdata(-scores[left])[np.searchsorted(left, relevant[chosen])])
    assert Places.of(rank, np.zeros(5, int)).among(chosen).place.tolist() == expected
