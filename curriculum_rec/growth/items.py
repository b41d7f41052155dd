"""Vectors for items that a trained table does not know (host)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import rankdata

from curriculum_rec.errors import OptionError
from curriculum_rec.models.items import n_rows
from curriculum_rec.streams import host_stream

NEIGHBOURS = 10
NOISE = 0.01
"""Standard deviation of what is added to a mean, in terms of that of the known vectors."""


def new_item_rows(
    old_table: Float[np.ndarray, "old width"],
    *,
    matched: Int[np.ndarray, " new"],
    counts: Int[np.ndarray, " new"],
    seed: int,
    features: Float[np.ndarray, "new feature"] | None = None,
) -> Float[np.ndarray, "rows width"]:
    """Lay out the table of another catalogue: known items keep their vectors, new ones begin near others like them.

    A new item begins at the mean of the ``NEIGHBOURS`` known items whose features point most nearly the same way, where
    it has features; else at the mean of the known items of its popularity decile, or of the nearest decile that has
    any. A little noise keeps two new items apart.

    Args:
        old_table: The trained table; row 0 is padding, and rows may fill it up.
        matched: For every item of the new catalogue its row in the old table, -1 if it is new; entry 0 is padding's.
        counts: Training count of every item of the new catalogue; entry 0 does not matter.
        seed: Decides the noise.
        features: What is known of the items' content, a row of zeros where nothing is; None without any.

    Returns:
        float32 with the items' rows first and then rows of zeros up to a multiple of 128.

    Raises:
        OptionError: The two catalogues share no item.

    >>> table = np.array([[0.0, 0.0], [1.0, 2.0], [3.0, 4.0]], np.float32)
    >>> rows = new_item_rows(table, matched=np.array([0, 2, -1]), counts=np.array([0, 7, 7]), seed=0)
    >>> rows.shape, rows[1].tolist(), bool(np.abs(rows[2] - [3, 4]).max() < 0.1)
    ((128, 2), [3.0, 4.0], True)
    """
    matched = matched.copy()
    matched[0] = 0
    known, new = (matched >= 0) & (np.arange(len(matched)) > 0), np.flatnonzero(matched < 0)
    if not known.any():
        raise OptionError("the old and the new catalogue share no item, so a table of vectors carries nothing over")
    table = np.asarray(old_table, np.float32)
    rows = np.zeros((n_rows(len(matched) - 1), table.shape[1]), np.float32)
    rows[: len(matched)][matched >= 0] = table[matched[matched >= 0]]
    if len(new):
        rows[new] = _decile_means(rows[: len(matched)], known, counts)[new]
        if features is not None:
            described = new[np.abs(features[new]).sum(axis=1) > 0]
            rows[described] = _neighbour_means(rows, features, described, np.flatnonzero(known))
        spread = NOISE * table[matched[known]].std()
        rows[new] += spread * host_stream(seed, "new items").standard_normal((len(new), table.shape[1]))
    return rows


def _decile_means(rows: np.ndarray, known: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Give, for every item, the mean vector of the known items of its popularity decile."""
    share = (rankdata(counts[1:]) - 0.5) / (len(counts) - 1)
    decile = np.concatenate([[-1], np.minimum((share * 10).astype(int), 9)])
    there = np.unique(decile[known])
    means = np.stack([rows[known & (decile == each)].mean(axis=0) for each in there])
    return means[np.abs(decile[:, None] - there).argmin(axis=1)]


def _neighbour_means(rows: np.ndarray, features: np.ndarray, new: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Give the mean vector of the known items that are most like each new one."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    direction = features / np.where(length > 0, length, 1)
    known = known[length[known, 0] > 0]
    if not len(known):
        raise OptionError("no item that the old catalogue knows has features, so new ones have no neighbours by them")
    n = min(NEIGHBOURS, len(known))
    means = np.empty((len(new), rows.shape[1]), np.float32)
    for first in range(0, len(new), 1024):
        part = slice(first, first + 1024)
        likeness = direction[new[part]] @ direction[known].T
        nearest = known[np.argpartition(-likeness, n - 1, axis=1)[:, :n]]
        means[part] = rows[nearest].mean(axis=1)
    return means
