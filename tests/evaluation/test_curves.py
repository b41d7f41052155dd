"""Comparisons at equal budgets, from the rows of a run's log."""

import json

import numpy as np
import pytest

from curriculum_rec.errors import RunError
from curriculum_rec.evaluation.curves import Curve


def rows_of(events):
    return [json.loads(json.dumps(row)) for row in events]


def test_matched_budgets():
    rows = rows_of(
        [
            {"event": "stage", "step": 0},
            {"event": "speed", "step": 10, "seconds": 5.0, "compile_seconds": 4.0},
            {"event": "evaluation", "step": 10, "ndcg@10": 0.1},
            {"event": "speed", "step": 15, "seconds": 1.0, "compile_seconds": 0.0},
            {"event": "speed", "step": 20, "seconds": 2.0, "compile_seconds": 0.0},
            {"event": "evaluation", "step": 20, "ndcg@10": 0.3},
            {"event": "speed", "step": 30, "seconds": 3.0, "compile_seconds": 0.5},
            {"event": "evaluation", "step": 30, "ndcg@10": 0.25},
        ]
    )
    curve = Curve.from_rows(rows, "ndcg@10")
    assert curve.step.tolist() == [10, 20, 30]
    assert curve.seconds.tolist() == [1.0, 4.0, 6.5]
    assert [curve.best_within(step) for step in (10, 19, 20, 99)] == [0.1, 0.1, 0.3, 0.3]
    assert np.isnan(curve.best_within(9))
    assert curve.best_within(3.9, "seconds") == 0.1
    assert [curve.first_at(value) for value in (0.05, 0.3, 0.31)] == [10, 20, np.inf]
    assert curve.first_at(0.2, "seconds") == 4.0
    with pytest.raises(RunError, match="no evaluation with hr@10"):
        Curve.from_rows(rows, "hr@10")
