"""A study whose runs were never trained: folders as finished runs leave them, with a curriculum and a growing depth."""

import json
from pathlib import Path

import numpy as np
import polars as pl

from curriculum_rec.studies.findings import Report
from curriculum_rec.studies.grid import Place
from curriculum_rec.studies.planned import results_of_study
from curriculum_rec.studies.slices import Slices
from curriculum_rec.studies.study import study_of

QUESTION = "Is 1 < 2, and does </script><script>window.broken = 1</script> stay words?"
N_USERS, STEPS = 30, 40
CLEAN, NOISY = Place("d", "clean"), Place("d", "noisy")
QUALITIES = {"plain": 0.2, "order": 0.3, "order-random": 0.21, "order-anti": 0.15, "grown": 0.22, "weighted": 0.19}
CONTENT = {
    "question": QUESTION,
    "data": {"d": []},
    "conditions": {"clean": [], "noisy": []},
    "arms": {
        "plain": {},
        "order": {"controls": ["random", "anti"]},
        "grown": {"control": "plain"},
        "weighted": {"control": "plain"},
    },
}
STUDY = study_of(CONTENT, "study")


def rows_of(arm, value, *, seed):
    """Give the rows of a log: an evaluation every ten steps, an epoch too where there is a curriculum."""
    yield {"event": "stage", "step": 0, "stage": "first", "depth": 1}
    for step in range(10, STEPS + 1, 10):
        yield {"event": "train", "step": step, "loss": 1 / step, "operations": step * 1e9, "share": step / STEPS}
        yield {"event": "speed", "step": step, "seconds": 1.0 + seed / 10, "compile_seconds": 0.0}
        at = value * step / STEPS
        yield {"event": "evaluation", "step": step, "operations": step * 1e9, "hr@10": at, "ndcg@10": at}
        if arm.startswith("order"):
            available = step // 10 + 1
            deciles = [8] * available + [0] * (10 - available)
            deciles = deciles[::-1] if arm == "order-anti" else deciles
            yield {
                "event": "curriculum",
                "step": step,
                "epoch": step // 10,
                "share": available / 10,
                "deciles": deciles,
            }
        if arm == "grown" and step == 20:
            yield {"event": "stage", "step": step, "stage": "second", "depth": 2}


def write_run(folder: Path, arm, *, seed, quality, split_hash):
    """Write one finished run."""
    (folder / "evaluation").mkdir(parents=True)
    ndcg = np.clip(np.random.default_rng(seed).normal(quality, 0.05, N_USERS), 0, 1)
    users = {"user": [f"u{n}" for n in range(N_USERS)], "item": [f"i{n % 7}" for n in range(N_USERS)]}
    frame = pl.DataFrame({**users, "hr@10": (ndcg > 0.2).astype(float), "ndcg@10": ndcg})
    frame.write_parquet(folder / "evaluation" / "test.parquet")
    test = {name: float(frame[name].mean()) for name in ("hr@10", "ndcg@10")}
    rows = list(rows_of(arm, test["ndcg@10"], seed=seed))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    stages = [{"name": row["stage"], "depth": row["depth"]} for row in rows if row["event"] == "stage"]
    result = {"test": test, "validation": test, "metric": "ndcg@10", "stages": stages, "parameters": 1234}
    result["reference"] = {"model": "mostpop", "hr@10": 0.1, "ndcg@10": 0.05}
    spent = {"steps": STEPS, "best_step": STEPS, "operations": STEPS * 1e9, "train_seconds": 4.0}
    spent |= {"compile_seconds": 0.5, "positions_per_second": 1000.0}
    identity = {"seed": seed, "split_hash": split_hash, "config_hash": f"hash-of-{arm}"}
    summary = {**result, **spent, **identity, "versions": {"python": "3.11", "jax": "0.10"}}
    (folder / "summary.json").write_text(json.dumps(summary))
    order = "curriculum" if arm.startswith("order") else "standard"
    (folder / "config.yaml").write_text(f"seed: {seed}\ncurriculum:\n  order: {order}\nstages:\n  name: {arm}\n")


def write_study(root: Path, *, n_seeds=6) -> Path:
    """Write all runs of the study."""
    for place in (CLEAN, NOISY):
        for arm, quality in QUALITIES.items():
            for seed in range(n_seeds):
                worse = 0.05 * (place == NOISY) + 0.002 * ((seed * 7 + len(arm)) % 5)
                folder = root / place.data / place.condition / arm / f"seed-{seed}"
                write_run(folder, arm, seed=seed, quality=quality - worse, split_hash=f"{place.condition}-{seed}")
    return root


def make_report(root: Path, *, n_seeds=6) -> Report:
    """Write the study and compute its report."""
    results = results_of_study(write_study(root, n_seeds=n_seeds), STUDY)
    users = next(iter(results.cells[CLEAN]["plain"].values())).users["user"]
    third = np.arange(N_USERS) % 3
    slices = {place: Slices(users, third, third, ((1, 2), (3, 4))) for place in results.cells}
    return Report.of(results, slices, command="curriculum-rec study study=x")
