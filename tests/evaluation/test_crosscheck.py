"""1,000 random cases without ties against ranx, ir_measures and scikit-learn, question by question."""

import warnings

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, ndcg_score, roc_auc_score

from curriculum_rec.evaluation.class_metrics import auc, expected_calibration_error, group_auc
from curriculum_rec.evaluation.metrics import Places, question_auc, user_metrics

N_CASES, N_ITEMS = 1000, 60
K = (1, 5, 10, 30)


@pytest.fixture(scope="module")
def cases():
    """Scores without ties that know something of what is relevant, 1 to 20 items a case."""
    rng = np.random.default_rng(7)
    relevant = np.zeros((N_CASES, N_ITEMS), bool)
    for row in relevant:
        row[rng.choice(N_ITEMS, rng.integers(1, 21), replace=False)] = True
    scores = rng.permuted(np.tile(np.arange(float(N_ITEMS)), (N_CASES, 1)), axis=1) + 25 * relevant
    scores += rng.permuted(np.tile(np.arange(N_ITEMS) / 100, (N_CASES, 1)), axis=1)
    assert all(len(set(row)) == N_ITEMS for row in scores)
    return scores, relevant


@pytest.fixture(scope="module")
def ours(cases):
    scores, relevant = cases
    question, item = np.nonzero(relevant)
    rank = 1.0 + (scores[question] > scores[question, item][:, None]).sum(axis=1)
    names = [f"{kind}@{k}" for kind in ("hr", "recall", "precision", "f1", "mrr", "ndcg", "map_n") for k in K]
    found = user_metrics(rank, [*names, f"map_n@{N_ITEMS}"], question=question)
    return found | {"auc": question_auc(Places.of(rank, question), N_ITEMS - relevant.sum(axis=1))}


def as_dicts(cases):
    scores, relevant = cases
    truth = {f"q{n}": {f"d{item}": 1 for item in np.flatnonzero(row)} for n, row in enumerate(relevant)}
    run = {f"q{n}": {f"d{item}": float(score) for item, score in enumerate(row)} for n, row in enumerate(scores)}
    return truth, run


def test_scikit_learn(cases, ours):
    scores, relevant = cases
    for k in K:
        theirs = [ndcg_score([truth], [row], k=k) for truth, row in zip(relevant, scores, strict=True)]
        np.testing.assert_allclose(ours[f"ndcg@{k}"], theirs, rtol=1e-10)
    both = list(zip(relevant, scores, strict=True))
    np.testing.assert_allclose(ours[f"map_n@{N_ITEMS}"], [average_precision_score(*pair) for pair in both], rtol=1e-10)
    np.testing.assert_allclose(ours["auc"], [roc_auc_score(*pair) for pair in both], rtol=1e-10)


def test_ir_measures(cases, ours):
    import ir_measures as measures

    truth, run = as_dicts(cases)
    names = {"hr": "Success", "recall": "R", "precision": "P", "mrr": "RR", "ndcg": "nDCG", "map_n": "AP"}
    wanted = {measures.parse_measure(f"{theirs}@{k}"): f"{kind}@{k}" for kind, theirs in names.items() for k in K}
    found = {name: np.full(N_CASES, np.nan) for name in wanted.values()}
    for each in measures.iter_calc(list(wanted), truth, run):
        found[wanted[each.measure]][int(each.query_id[1:])] = each.value
    for name, theirs in found.items():
        np.testing.assert_allclose(ours[name], theirs, rtol=1e-6, atol=1e-12, err_msg=name)


def test_ranx(cases, ours):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ranx  # which compiles at its import

        truth, run = as_dicts(cases)
        names = {"hr": "hit_rate", "recall": "recall", "precision": "precision", "f1": "f1"}
        names |= {"mrr": "mrr", "ndcg": "ndcg", "map_n": "map"}
        wanted = {f"{theirs}@{k}": f"{kind}@{k}" for kind, theirs in names.items() for k in K}
        found = ranx.evaluate(ranx.Qrels(truth), ranx.Run(run), list(wanted), return_mean=False)
    in_order = np.argsort(sorted(range(N_CASES), key=lambda number: f"q{number}"))
    for theirs, name in wanted.items():
        np.testing.assert_allclose(ours[name], found[theirs][in_order], rtol=1e-10, atol=1e-12, err_msg=name)


def test_metrics_of_labels_with_scikit_learn():
    rng = np.random.default_rng(1)
    label = rng.random(600) < 0.3
    score, user = np.round(rng.normal(size=600) + label, 1), rng.integers(0, 30, 600)
    assert auc(score, label) == pytest.approx(roc_auc_score(label, score))
    sizes = np.bincount(user)
    parts = {each: (label[user == each], score[user == each]) for each in range(30)}
    kept = {each: roc_auc_score(*pair) for each, pair in parts.items() if 0 < pair[0].sum() < len(pair[0])}
    expected = np.average(list(kept.values()), weights=[sizes[each] for each in kept])
    assert group_auc(score, label, user) == pytest.approx(expected)


def test_calibration_error_by_hand():
    p = np.array([0.05, 0.05, 0.32, 0.33, 0.98])
    label = np.array([0, 1, 0, 1, 1])
    log_p = np.log(np.stack([1 - p, p], axis=1))
    expected = (abs(0.10 - 1) + abs(0.65 - 1) + abs(0.98 - 1)) / 5  # bins of a fifteenth: 1, 5 and 15
    assert expected_calibration_error(log_p, label) == pytest.approx(expected)
    ten = np.log(np.array([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]]))
    assert expected_calibration_error(ten, np.array([0, 0])) == pytest.approx(abs(1.2 - 1) / 2)
