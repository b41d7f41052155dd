"""Histories that were followed by the same item (host)."""

from __future__ import annotations

import numpy as np

from curriculum_rec.data.examples import Examples
from curriculum_rec.data.padded import pad_left_aligned
from curriculum_rec.streams import host_stream

TWINS = "twins"
"""Name of the array with histories, of other places in the data, that were followed by a row's last target."""


def with_twins(examples: Examples, k: int) -> Examples:
    """Let every row carry histories that were followed by its last target elsewhere.

    They are drawn once, of all occurrences of the item as a target, with replacement; where there is no other, they are
    the row's own history. The array has shape int32 ``[n_rows, length + 1, k]``, one position more than a history, so
    that nobody takes it for something of which a position belongs to a target.

    Args:
        examples: Sequences with targets.
        k: How many for each row, at least 1.
    """
    if all(TWINS in bucket.arrays for bucket in examples.buckets):
        return examples
    offsets, inputs = examples.target_offsets, examples.inputs
    drawn = draw_twins(examples.targets, offsets, k)
    begin = np.repeat(offsets[:-1], np.diff(offsets))[drawn]
    grids = []
    for bucket in examples.buckets:
        chosen = drawn[bucket.example].reshape(-1)
        rows = pad_left_aligned(inputs, begin[bucket.example].reshape(-1), chosen + 1, bucket.length)
        twins = rows.reshape(-1, k, bucket.length).transpose(0, 2, 1)
        grids.append({TWINS: np.pad(twins, ((0, 0), (0, 1), (0, 0)))})
    return examples.with_arrays(grids)


def draw_twins(targets: np.ndarray, offsets: np.ndarray, k: int) -> np.ndarray:
    """Draw, for the last target of each example, other places where the same item is a target.

    Args:
        targets: int32 ``[n_targets]``, example after example.
        offsets: int64 ``[n + 1]``, where each example's begin.
        k: How many for each.

    Returns:
        int64 ``[n, k]``, indices into ``targets``; the example's own last one where there is no other.

    >>> draw_twins(np.array([7, 5, 8, 5], np.int32), np.array([0, 2, 4]), 2).tolist()
    [[3, 3], [1, 1]]
    """
    order = np.argsort(targets, kind="stable")
    place = np.empty(len(targets), np.int64)
    place[order] = np.arange(len(targets))
    last = offsets[1:] - 1
    ranked = targets[order]
    first = np.searchsorted(ranked, targets[last])
    n_others = np.searchsorted(ranked, targets[last], side="right") - first - 1
    number = host_stream(0, "histories before the same item").integers(
        0, np.maximum(n_others, 1)[:, None], (len(last), k)
    )
    own = (place[last] - first)[:, None]
    other = order[np.minimum(first[:, None] + number + (number >= own), len(targets) - 1)]
    return np.where(n_others[:, None] > 0, other, last[:, None])
