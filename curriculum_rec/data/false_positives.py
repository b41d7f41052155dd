"""Interactions that are known to be false (host): they take part in training alone, and are marked there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from curriculum_rec.data.interactions import Interactions
from curriculum_rec.data.splits import Part, Promise, Split, Splitter, check_promises
from curriculum_rec.errors import DataError

FALSE_POSITIVE = "false_positive"
"""The column of truth values that marks them; a missing value counts as real."""


def split_around(splitter: Splitter, interactions: Interactions) -> Split:
    """Split the real interactions, and leave the false ones where both neighbours are trained on.

    So the questions of validation and test, and their histories but for what is false in training, do not depend on how
    much is false. A false interaction elsewhere is dropped.

    Args:
        splitter: The split.
        interactions: With or without the column ``false_positive``.

    Returns:
        The split; its ``noise`` marks the false ones where there is such a column.

    Raises:
        DataError: The column holds something other than truth values, or everything is false.
    """
    false = _marks(interactions)
    if false is None:
        return splitter(interactions)
    if false.all():
        raise DataError(f"every row is marked in the column '{FALSE_POSITIVE}': there is nothing real to train on")
    split = splitter(take(interactions, ~false))
    part = np.full(len(interactions), -1, np.int8)
    part[~false] = split.part
    before, after = _neighbours(interactions.user, np.where(false, -1, part))
    is_first = before < 0
    kept = false & (after == Part.TRAIN) & (is_first | (before == Part.TRAIN))
    if Promise.ITEMS in split.promises:
        kept &= split.item_counts(Part.TRAIN)[interactions.item] > 0
    part[kept] = Part.TRAIN
    there = ~false | kept
    whole = take(interactions, there)
    return check_promises(replace(split, interactions=whole, part=part[there], noise=false[there]))


def take(interactions: Interactions, chosen: np.ndarray) -> Interactions:
    """Take some rows; users and items keep their codes.

    Args:
        interactions: All.
        chosen: bool ``[n]``.
    """
    time, source, columns = interactions.timestamp, interactions.source, interactions.columns
    return replace(
        interactions,
        user=interactions.user[chosen],
        item=interactions.item[chosen],
        timestamp=None if time is None else time[chosen],
        source=None if source is None else source[chosen],
        columns=None if columns is None else columns.filter(pl.Series(chosen)),
    )


def _marks(interactions: Interactions) -> np.ndarray | None:
    columns = interactions.columns
    if columns is None or FALSE_POSITIVE not in columns.columns:
        return None
    if columns[FALSE_POSITIVE].dtype != pl.Boolean:
        raise DataError(
            f"the column '{FALSE_POSITIVE}' holds {columns[FALSE_POSITIVE].dtype}: it marks false interactions, so its "
            "values must be true or false"
        )
    return columns[FALSE_POSITIVE].fill_null(value=False).to_numpy()


def _neighbours(user: np.ndarray, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the part of the real row before and after each row, of the same user; -1 where there is none.

    Args:
        user: int32 ``[n]``, ascending.
        part: int8 ``[n]``, -1 for rows that are not real.
    """
    n = len(user)
    row = np.arange(n)
    last = np.maximum.accumulate(np.where(part >= 0, row, -1))
    next_ = np.minimum.accumulate(np.where(part >= 0, row, n)[::-1])[::-1]
    before = np.where((last >= 0) & (user[np.maximum(last, 0)] == user), part[np.maximum(last, 0)], -1)
    inside = np.minimum(next_, n - 1)
    after = np.where((next_ < n) & (user[inside] == user), part[inside], -1)
    return before, after
