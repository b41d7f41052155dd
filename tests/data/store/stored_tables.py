"""Tables that are made into stores, and recipes for which a few kilobytes are much."""

import numpy as np
import polars as pl

from curriculum_rec.data.cleaning import DropDuplicates, DropMissing, KCore
from curriculum_rec.data.splits import LeaveOneOut
from curriculum_rec.data.store.inputs import count_rows
from curriculum_rec.data.store.prepare import BYTES_A_ROW, Recipe

RULES = {"missing": DropMissing(), "duplicates": DropDuplicates(), "k_core": KCore(3, 3)}


def write_table(path, *, n=3000, n_users=150, n_items=60, ids=str, seed=0):
    """Write rows in no order, some of them twice, some without an item, many with equal times."""
    rng = np.random.default_rng(seed)
    user, item = rng.zipf(1.4, n) % n_users, rng.zipf(1.3, n) % n_items
    frame = pl.DataFrame(
        {
            "user": [ids(number) for number in user],
            "item": [None if number == 7 and rng.random() < 0.3 else f"i{number}" for number in item],
            "timestamp": rng.integers(0, 400, n),
        }
    )
    frame = pl.concat([frame, frame.sample(n // 10, seed=seed)]).sample(fraction=1, shuffle=True, seed=seed)
    frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)
    return frame


def small(source, parts, rules=RULES):
    """Ask for a store made in so many parts."""
    size = count_rows([source]) * BYTES_A_ROW
    return Recipe(source, rules, LeaveOneOut(), memory_bytes=-(-size // parts))
