"""Metrics: fractions by hand, and scikit-learn as an independent oracle."""

from math import log2

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.metrics import METRICS, mean_metrics, parse_metric, user_metrics

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


@pytest.mark.parametrize("kind", METRICS)
def test_every_metric_falls_with_the_rank_and_grows_with_k(kind):
    ranks = np.arange(1, 40) / 2 + 0.5
    values = np.stack([user_metrics(ranks, [f"{kind}@{k}"])[f"{kind}@{k}"] for k in (1, 5, 10, 20)])
    assert (np.diff(values, axis=1) <= 0).all()
    assert (np.diff(values, axis=0) >= 0).all()
    assert values.min() >= 0
    assert values.max() == 1


@pytest.mark.parametrize(
    "name", ["auc@10", "ndcg", "ndcg@", "ndcg@0", "ndcg@-1", "ndcg@1.5", "NDCG@10", "", "@5", "hr@²"]
)
def test_unknown_metrics_are_named_and_the_known_listed(name):
    with pytest.raises(OptionError) as caught:
        parse_metric(name)
    assert str(caught.value).startswith(f"'{name}' is no metric: write one of hr, ndcg, mrr, recall, then @")
