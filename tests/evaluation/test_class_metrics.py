"""Metrics of classes against scikit-learn and brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_rec.evaluation.class_metrics import auc, correct, log_probabilities, row_log_loss

oracle = pytest.importorskip("sklearn.metrics")


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=60))
def test_auc_counts_pairs_and_equals_scikit_learn(rows):
    score, positive = np.array([row[0] for row in rows], float), np.array([row[1] for row in rows])
    if positive.all() or not positive.any():
        assert np.isnan(auc(score, positive))
        return
    above = [float(p > n) + (p == n) / 2 for p in score[positive] for n in score[~positive]]
    assert auc(score, positive) == pytest.approx(np.mean(above), abs=1e-12)
    assert auc(score, positive) == pytest.approx(oracle.roc_auc_score(positive, score), abs=1e-12)
    assert auc(-score, positive) == pytest.approx(1 - auc(score, positive), abs=1e-12)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_log_loss_and_accuracy_equal_scikit_learn(n_classes):
    rng = np.random.default_rng(n_classes)
    outputs = 3 * rng.normal(size=(50, 1 if n_classes == 2 else n_classes))
    label = rng.integers(0, n_classes, 50)
    log_p = log_probabilities(outputs)
    assert row_log_loss(log_p, label).mean() == pytest.approx(
        oracle.log_loss(label, np.exp(log_p), labels=range(n_classes))
    )
    assert correct(log_p, label).mean() == oracle.accuracy_score(label, log_p.argmax(axis=1))
    if n_classes == 2:
        assert np.exp(log_p[:, 1]) == pytest.approx(1 / (1 + np.exp(-outputs[:, 0])))


def test_a_sure_mistake_costs_what_it_costs():
    """The logit of a certain answer is no infinity, and nothing is clipped."""
    assert row_log_loss(log_probabilities(np.array([[1000.0]])), np.array([0])).tolist() == [1000.0]
