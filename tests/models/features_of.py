"""Small tables of features, for tests of models that read them."""

from functools import cache

import numpy as np

from curriculum_rec.data.features import Encoded, FeatureSet, Field

N_ITEMS, N_USERS = 20, 7


def table(n, owner, seed):
    """Numbers, one code and up to three codes for each of ``n`` rows after padding; some codes are unknown."""
    rng = np.random.default_rng(seed)
    schema = (
        Field(f"{owner}.text", "dense", 3, 3),
        Field(f"{owner}.brand", "categorical", 4, 1),
        Field(f"{owner}.genres", "multi_categorical", 6, 3),
    )
    brand, genres = rng.integers(0, 4, (n + 1, 1)), rng.integers(0, 6, (n + 1, 3))
    dense, codes = rng.standard_normal((n + 1, 3), np.float32), np.concatenate([brand, genres], axis=1).astype(np.int32)
    dense[0], codes[0] = 0, 0
    return Encoded(schema, dense, codes)


@cache
def feature_set(n_items=N_ITEMS):
    """Features of users and of items."""
    return FeatureSet(table(N_USERS, "user", 0), table(n_items, "item", 1))


def by_hand(known, projection, embedding):
    """What features add to each row, in loops."""
    rows = np.zeros((len(known), projection.shape[1]))
    for row, (dense, codes) in enumerate(zip(known.dense, known.codes, strict=True)):
        rows[row] = dense.astype(np.float64) @ projection + embedding[codes[0]]
        if several := [code for code in codes[1:] if code]:
            rows[row] += np.mean([embedding[4 + code] for code in several], axis=0)
    return rows
