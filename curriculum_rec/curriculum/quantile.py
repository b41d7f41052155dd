"""Difficulty quantiles and the order modes (host)."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import check_value, one_of
from curriculum_rec.streams import host_stream

Order = Literal["curriculum", "anti", "random", "standard"]


def quantiles(difficulty: np.ndarray, *, seed: int) -> np.ndarray:
    """Turn difficulties into quantiles ``(rank + 0.5) / n``; equal difficulties are ranked by a seeded hash.

    Args:
        difficulty: ``[n]``, any finite or infinite numbers, higher is harder.
        seed: Decides between equal difficulties.

    Returns:
        float64 ``[n]``, all different, in (0, 1), with mean exactly one half.

    >>> quantiles(np.array([3.0, 1.0, 2.0, 9.0]), seed=0).tolist()
    [0.625, 0.125, 0.375, 0.875]
    """
    if np.isnan(difficulty).any():
        raise OptionError(f"the difficulty of {int(np.isnan(difficulty).sum()):,} examples is not a number")
    tie = host_stream(seed, "difficulty ties").permutation(len(difficulty))
    rank = np.empty(len(difficulty), np.int64)
    rank[np.lexsort((tie, difficulty))] = np.arange(len(difficulty))
    return (rank + 0.5) / len(difficulty)


def apply_order(quantile: np.ndarray, order: Order, *, seed: int) -> np.ndarray:
    """Reorder quantiles: easy first, hard first, or at random with the same pacing.

    ``random`` is the control that every claim about a curriculum needs: the same number of examples at every step,
    but not the easy ones. ``standard`` has no pacing at all; its quantiles do not matter.

    Args:
        quantile: float64 ``[n]``.
        order: The order mode.
        seed: Decides the random order.

    Returns:
        float64 ``[n]``.

    >>> apply_order(np.array([0.25, 0.75]), "anti", seed=0).tolist()
    [0.75, 0.25]
    """
    if order == "anti":
        return 1 - quantile
    if order == "random":
        return host_stream(seed, "random order").permutation(quantile)
    check_value("curriculum.order", order, one_of(*get_args(Order)))
    return quantile


def undo_order(ordered: np.ndarray, order: Order, *, seed: int) -> np.ndarray:
    """Undo :func:`apply_order`: give the quantiles of the difficulty itself.

    Args:
        ordered: float64 ``[n]``, what it returned.
        order: What it was given.
        seed: What it was given.

    Returns:
        float64 ``[n]``.

    >>> q = np.array([0.1, 0.5, 0.3, 0.9, 0.7])
    >>> undo_order(apply_order(q, "random", seed=4), "random", seed=4).tolist()
    [0.1, 0.5, 0.3, 0.9, 0.7]
    """
    if order != "random":
        return apply_order(ordered, order, seed=seed)  # which is its own inverse
    place = host_stream(seed, "random order").permutation(np.arange(len(ordered)))
    quantile = np.empty_like(ordered)
    quantile[place] = ordered
    return quantile
