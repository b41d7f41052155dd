"""Interactions for tests of splits, as a person would write them down."""

import numpy as np
import polars as pl

from curriculum_rec.data.interactions import Interactions, clean
from curriculum_rec.data.splits import Part


def interactions_of(rows, *, timed=True) -> Interactions:
    """Take rows (user, item, time)."""
    frame = pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row")
    return clean(frame if timed else frame.drop("timestamp"), {}, source="s")


def many(n_users=60, n_items=40, *, seed=0, most=20, timed=True) -> Interactions:
    """Users of 1 to ``most`` interactions at times of 0 to 400, some of them equal."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"u{user:03}", f"i{rng.integers(n_items):02}", int(time))
        for user in range(n_users)
        for time in np.sort(rng.integers(0, 400, rng.integers(1, most + 1)))
    ]
    return interactions_of(rows, timed=timed)


def parts_by_user(split):
    """Give the parts of every user's interactions as letters, in order."""
    letters = np.array(["t", "v", "T", "-"])
    data = split.interactions
    return {
        data.users.ids[user - 1]: "".join(letters[split.part[data.user == user]]) for user in range(1, data.n_users + 1)
    }


def rows_of(split, part: Part):
    """Give (user, history, target) of every evaluation row, in codes."""
    rows = split.rows(part)
    return [
        (user, rows.items[start:stop].tolist(), target)
        for user, target, start, stop in zip(
            rows.user.tolist(), rows.target.tolist(), rows.start.tolist(), rows.stop.tolist(), strict=True
        )
    ]
