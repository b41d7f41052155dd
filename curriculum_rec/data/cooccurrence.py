"""Items that come together (host): the neighbours of every item, by how often histories hold both close by."""

from __future__ import annotations

import numpy as np

from curriculum_rec.data.examples import Examples

SIMILAR = "similar"
"""Name of the array with items that are like those of the history."""

WINDOW = 5
"""Items at most this far apart count as coming together."""


def with_similar(examples: Examples, k: int) -> Examples:
    """Let every bucket carry the items most like those of its histories, int32 ``[n_rows, length, k]``.

    Args:
        examples: Sequences with targets.
        k: How many for each item, at least 1; 0 where there are fewer.
    """
    if all(SIMILAR in bucket.arrays for bucket in examples.buckets):
        return examples
    table = similar_items(examples.inputs, examples.target_offsets, k)
    grids = examples.spread_targets(examples.inputs, padding=0)
    return examples.with_arrays([{SIMILAR: table[grid]} for grid in grids])


def similar_items(items: np.ndarray, offsets: np.ndarray, k: int, *, window: int = WINDOW) -> np.ndarray:
    """List the items with the highest cosine of co-occurrence, ``pairs(a, b) / sqrt(count(a) count(b))``.

    Args:
        items: int32 ``[n]``, histories one after the other.
        offsets: int64 ``[m + 1]``, where each begins.
        k: How many an item; of equal ones the lower codes come first.
        window: Items at most this far apart make a pair.

    Returns:
        int32 ``[largest item + 1, k]``, best first, 0 where there are fewer.

    >>> similar_items(np.array([1, 2, 1, 2, 3], np.int32), np.array([0, 2, 5]), 2, window=1).tolist()
    [[0, 0], [2, 0], [1, 3], [2, 0]]
    """
    history = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    size = int(items.max(initial=0)) + 1
    keys = []
    for distance in range(1, window + 1):
        first, second = items[:-distance].astype(np.int64), items[distance:].astype(np.int64)
        kept = (history[:-distance] == history[distance:]) & (first != second)
        first, second = first[kept], second[kept]
        keys += [first * size + second, second * size + first]
    pairs, counts = np.unique(np.concatenate(keys), return_counts=True)
    a, b = pairs // size, pairs % size
    occurs = np.maximum(np.bincount(items, minlength=size), 1)
    order = np.lexsort((b, -counts / np.sqrt(occurs[a] * occurs[b]), a))
    a, b = a[order], b[order]
    rank = np.arange(len(a)) - np.searchsorted(a, a)
    table = np.zeros((size, k), np.int32)
    table[a[rank < k], rank[rank < k]] = b[rank < k]
    return table
