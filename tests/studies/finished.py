"""Run directories as finished runs leave them, without any training."""

import json
from pathlib import Path

import numpy as np
import polars as pl

N_USERS = 40


def finished_run(
    folder: Path,
    *,
    seed=0,
    quality=0.2,
    config_hash="a",
    split_hash="s",
    steps=20,
    config=None,
    first=0,
    n_users=N_USERS,
) -> Path:
    """Write a finished run whose users' ndcg@10 have about a mean, evaluated every five steps."""
    folder.mkdir(parents=True)
    stream = np.random.default_rng(seed)
    ndcg = np.clip(stream.normal(quality, 0.05, n_users), 0, 1)
    users = pl.DataFrame(
        {
            "user": [f"u{first + n}" for n in range(n_users)],
            "item": [f"i{n % 7}" for n in range(n_users)],
            "rank": np.arange(n_users),
            "hr@10": (ndcg > 0.2).astype(float),
            "ndcg@10": ndcg,
        }
    )
    (folder / "evaluation").mkdir()
    users.write_parquet(folder / "evaluation" / "test.parquet")
    test = {name: float(users[name].mean()) for name in ("hr@10", "ndcg@10")}
    rows = [{"event": "stage", "step": 0, "stage": "train", "depth": 2}]
    for step in range(5, steps + 1, 5):
        rows.append({"event": "train", "step": step, "loss": 1 / step, "operations": step * 1e9, "share": 1.0})
        rows.append({"event": "speed", "step": step, "seconds": 1.5, "compile_seconds": 0.5 if step == 5 else 0.0})
        value = test["ndcg@10"] * step / steps
        rows.append({"event": "evaluation", "step": step, "operations": step * 1e9, "hr@10": value, "ndcg@10": value})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary = {
        "test": test,
        "validation": test,
        "reference": {"model": "mostpop", "hr@10": 0.1, "ndcg@10": 0.05},
        "metric": "ndcg@10",
        "train_seconds": 6.0,
        "compile_seconds": 0.5,
        "positions_per_second": 1000.0,
        "steps": steps,
        "best_step": steps,
        "operations": steps * 1e9,
        "parameters": 1234,
        "stages": [{"name": "train", "depth": 2}],
        "seed": seed,
        "split_hash": split_hash,
        "config_hash": config_hash,
        "versions": {"python": "3.11"},
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "config.yaml").write_text(json.dumps(config or {"seed": seed}))
    return folder
