"""Made-up interactions in MovieLens-25M's shape: users of log-normal activity, items by Zipf's law, ties in time."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import polars as pl

USERS, ITEMS = 162_541, 59_047
LEAST = 20
"""Fewest rows of a user, as in MovieLens."""


def batches(n_rows: int, *, users: int = USERS, items: int = ITEMS, seed: int = 0) -> Iterator[pl.DataFrame]:
    """Give rows, user by user, about a million at a time: userId, movieId, rating, timestamp."""
    rng = np.random.default_rng(seed)
    activity = rng.lognormal(0, 1.2, users)
    least = min(LEAST, n_rows // users)
    counts = least + np.floor(activity / activity.sum() * (n_rows - least * users)).astype(np.int64)
    counts[: n_rows - counts.sum()] += 1
    share = 1 / np.arange(1, items + 1) ** 0.9
    edges, ids = np.cumsum(share) / share.sum(), rng.permutation(4 * items)[:items] + 1
    ends = np.cumsum(counts)
    bounds = np.unique([0, *np.searchsorted(ends, np.arange(10**6, n_rows, 10**6)), users])
    for begin, stop in pairwise(bounds.tolist()):
        n = counts[begin:stop]
        total = int(n.sum())
        first = rng.integers(789_652_009, 1_574_327_703, len(n))
        yield pl.DataFrame(
            {
                "userId": np.repeat(np.arange(begin + 1, stop + 1), n),
                "movieId": ids[np.minimum(np.searchsorted(edges, rng.random(total)), items - 1)],
                "rating": rng.integers(1, 11, total) / 2,
                # Many ratings are given in one sitting, some in the same second.
                "timestamp": np.repeat(first, n) + rng.integers(0, 3000, total) * rng.integers(1, 500, total),
            }
        )
