"""A Markdown table of runs that predict two classes: AUC on the test part with its 95 % interval, log loss, parameters.

python experiments/ctr/table.py runs/criteo/*
"""

import json
import sys
from pathlib import Path

import polars as pl

from curriculum_rec.evaluation.auc_interval import auc_interval


def row(run: Path) -> str:
    """Give the line of a run."""
    summary = json.loads((run / "summary.json").read_text())
    table = pl.read_parquet(run / "evaluation" / "test.parquet")
    positive = (table["label"] == table["label"].max()).to_numpy()
    low, high = auc_interval(table["probability"].to_numpy(), positive)
    auc, loss, size = summary["test"]["auc"], summary["test"]["log_loss"], summary["parameters"]
    return f"| {run.name} | {short(auc)} | {short(low)} to {short(high)} | {short(loss)} | {size:,} |"


def short(value: float) -> str:
    """Write a number below one."""
    return f"{value:.3f}".removeprefix("0")


if __name__ == "__main__":
    print("| `model=` | AUC | 95 % interval | log loss | parameters |", "|---|---|---|---|---|", sep="\n")
    for name in sys.argv[1:]:
        print(row(Path(name)))
