"""When items of histories came (host), for models that ask."""

from __future__ import annotations

import numpy as np

from curriculum_rec.errors import DataError

TIME = "time"
"""Name of the array with the time of each item of a history, which only models that ask for it get."""


def history_times(timestamp: np.ndarray | None, start: np.ndarray, stop: np.ndarray, length: int) -> np.ndarray:
    """Copy slices of timestamps into rows, from the left, as differences from the last of each.

    The newest items then have the smallest numbers, and so the most digits: an age of ten years has its seconds rounded
    to sixteens.

    Args:
        timestamp: ``[n]``.
        start: ``[m]``; no slice is longer than ``length``.
        stop: ``[m]``.
        length: Width of the result.

    Returns:
        float32 ``[m, length]``, 0 where a slice ends early.

    Raises:
        DataError: There are no timestamps.

    >>> history_times(np.array([10, 11, 15, 90]), np.array([0, 3]), np.array([3, 4]), 3).tolist()
    [[-5.0, -4.0, 0.0], [0.0, 0.0, 0.0]]
    """
    known = require_times(timestamp)
    index = start[:, None] + np.arange(length)
    inside = index < stop[:, None]
    differences = known[np.where(inside, index, 0)].astype(np.float64) - known[stop - 1].astype(np.float64)[:, None]
    return np.where(inside, differences, 0).astype(np.float32)


def require_times(timestamp: np.ndarray | None) -> np.ndarray:
    """Give timestamps.

    Raises:
        DataError: There are none.
    """
    if timestamp is None:
        raise DataError(
            "the model wants to know when items came, and these data have no timestamps: name their column by "
            "data.timestamp, or leave the time out by model.time_features=none, and of hstu by model.bias=position too"
        )
    return timestamp
