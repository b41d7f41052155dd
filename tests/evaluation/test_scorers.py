"""Agreement and area under the curve of scorers, against SciPy and scikit-learn."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.scorers import rank_agreement, roc_auc


def test_rank_agreement_is_the_mean_spearman_correlation():
    scores = np.random.default_rng(7).integers(0, 20, (3, 50)).astype(float)
    pairs = [stats.spearmanr(scores[a], scores[b]).statistic for a, b in ((0, 1), (0, 2), (1, 2))]
    assert rank_agreement(scores) == pytest.approx(np.mean(pairs))
    assert rank_agreement(np.stack([scores[0], -(scores[0] ** 3)])) == pytest.approx(-1)
    with pytest.raises(OptionError, match="at least two seeds"):
        rank_agreement(scores[:1])


def test_roc_auc_equals_scikit_learns():
    rng = np.random.default_rng(8)
    score, positive = rng.integers(0, 9, 200).astype(float), rng.random(200) < 0.3
    assert roc_auc(score, positive) == pytest.approx(roc_auc_score(positive, score))
    with pytest.raises(OptionError, match="positives and negatives"):
        roc_auc(score, np.ones(200, bool))
