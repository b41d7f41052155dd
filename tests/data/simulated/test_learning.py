"""A model learns of a simulated world what popularity does not tell, and not more than is true."""

import json

import pytest

from curriculum_rec.cli import main
from curriculum_rec.data.false_positives import split_around
from curriculum_rec.data.interactions import clean
from curriculum_rec.data.simulated import Simulated, Truth
from curriculum_rec.data.splits import LeaveOneOut, Part
from curriculum_rec.evaluation.metrics import mean_metrics


@pytest.mark.slow
def test_a_small_sasrec_lies_between_popularity_and_the_truth(tmp_path):
    words = ["data=simulated", "model=sasrec", "model.width=32", "model.depth=1", "stages.train.epochs=30"]
    words += ["examples.max_length=30", "examples.bucket_lengths=[15]", "evaluation.every_epochs=10", "progress=none"]
    assert main(["train", *words, f"run_dir={tmp_path / 'run'}"]) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    split = split_around(LeaveOneOut(), clean(Simulated().read(), {}, source="a world"))
    best = mean_metrics(Truth(Simulated()).oracle_ranks(split, Part.TEST), ["ndcg@10"])["ndcg@10"]
    assert 1.3 * summary["reference"]["ndcg@10"] < summary["test"]["ndcg@10"] < best
