"""A table with a column of every kind, and one feature of every kind for it."""

import numpy as np
import polars as pl

from curriculum_rec.data.features import (
    Categorical,
    Dense,
    History,
    MultiCategorical,
    Numeric,
    Text,
    Time,
    TimeGap,
)

COLOURS = ("red", "green", "blue", "rare")
WORDS = [f"word{number}" for number in range(30)]


def make_table(n=80, seed=0):
    """Rows with ids, categories, genres, numbers with holes, texts and times."""
    rng = np.random.default_rng(seed)
    price = rng.lognormal(1, 1, n)
    price[rng.random(n) < 0.1] = np.nan
    return pl.DataFrame(
        {
            "user": rng.integers(0, 8, n),
            "item": rng.choice(["i1", "i2", "i3", "i4", "i5"], n),
            "timestamp": rng.integers(1_600_000_000, 1_700_000_000, n),
            "colour": pl.Series(
                rng.choice([*COLOURS, None], n, p=[0.4, 0.3, 0.2, 0.05, 0.05]).tolist(), dtype=pl.String
            ),
            "genres": ["|".join(rng.choice(["a", "b", "c", "d"], rng.integers(0, 4), replace=False)) for _ in range(n)],
            "price": price,
            "counts": rng.poisson(2.0, n).astype(float),
            "text": [" ".join(rng.choice(WORDS, 12)) for _ in range(n)],
        }
    )


def write_vectors(folder, *, seed=0):
    """Write vectors of the items as Parquet; i5 has none."""
    vectors = np.random.default_rng(seed).normal(2, 3, (4, 3))
    path = folder / "vectors.parquet"
    pl.DataFrame({"id": ["i1", "i2", "i3", "i4"], "vector": pl.Series(vectors.tolist())}).write_parquet(path)
    return str(path)


def all_features(folder):
    """One feature of every kind and scale."""
    return {
        "colour": Categorical(),
        "often": Categorical(("colour",), min_count=10),
        "genres": MultiCategorical(),
        "hot": MultiCategorical(("genres",), encoding="multi_hot"),
        **{scale: Numeric(("price",), scale=scale) for scale in ("standard", "min_max", "quantile", "log", "none")},
        "both": Numeric(("price", "counts"), indicator=True),
        "when": Time(("timestamp",)),
        "hour": Time(("timestamp",), cyclic=False),
        "gap": TimeGap(),
        "before": History(label="counts", positive_from=2),
        "text": Text(n_components=4),
        "vectors": Dense(write_vectors(folder), id="item", scale="standard"),
    }
