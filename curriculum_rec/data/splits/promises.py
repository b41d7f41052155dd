"""What a split promises, checked (host): which interactions break it, and one sentence where any does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from curriculum_rec.data.splits.parts import Part, Promise, Split
from curriculum_rec.errors import DataError

WORDS = {
    Promise.ORDER: "a user's interaction comes after one that it must come before",
    Promise.TIME: "an interaction is not earlier than one that it must come before",
    Promise.USERS: "a user of one part has an interaction in another",
    Promise.ITEMS: "an item that is held out has an interaction in an earlier part",
}


def breaches(split: Split, promise: Promise) -> np.ndarray:
    """Find the interactions that break a promise, whether the split has given it or not.

    Args:
        split: Any.
        promise: What is looked for.

    Returns:
        Row numbers, int64, ascending.
    """
    return np.flatnonzero(_CHECKS[promise](split) & (split.part != Part.ASIDE))


def check_promises(split: Split) -> Split:
    """Check all that a split promises, and that there is something to validate and to test with.

    Returns:
        The split.

    Raises:
        DataError: A promise is broken, or a part has no interaction with a history.
    """
    for promise in split.promises:
        if len(found := breaches(split, promise)):
            data, row = split.interactions, found[:1]
            raise DataError(
                f"{WORDS[promise]}: {len(found):,} of them, the first of user '{data.users.decode(data.user[row])[0]}' "
                f"and item '{data.items.decode(data.item[row])[0]}'; the split promises '{promise}'"
            )
    for part in (Part.VALIDATION, Part.TEST):
        if not len(split.rows(part)):
            raise DataError(
                f"no interaction of the {part.name.lower()} part has a history: give it a greater share, or take "
                "another split"
            )
    return split


def _out_of_order(split: Split) -> np.ndarray:
    """Tell which rows have a row of a later part before them, of the same user."""
    user, part = split.interactions.user, split.part.astype(np.int64)
    part = np.where(part == Part.ASIDE, Part.TRAIN, part)
    # Four parts a user: the running maximum never falls back into the user before.
    latest = np.maximum.accumulate(user.astype(np.int64) * len(Part) + part) % len(Part)
    return split.part < latest


def _not_earlier(split: Split) -> np.ndarray:
    time = split.interactions.timestamp
    if time is None:
        return np.ones(len(split.part), bool)
    broken = np.zeros(len(split.part), bool)
    for part in (Part.VALIDATION, Part.TEST):
        inside = split.part == part
        if inside.any():
            broken |= (split.part < part) & (time >= time[inside].min())
    return broken


def _users_shared(split: Split) -> np.ndarray:
    return _shared(split, split.interactions.user)


def _items_shared(split: Split) -> np.ndarray:
    item, broken = split.interactions.item, np.zeros(len(split.part), bool)
    for part in (Part.VALIDATION, Part.TEST):
        held_out = np.zeros(split.interactions.n_items + 1, bool)
        held_out[item[split.part == part]] = True
        broken |= (split.part < part) & held_out[item]
    return broken


def _shared(split: Split, code: np.ndarray) -> np.ndarray:
    """Tell which rows have a code that is in several parts."""
    there = np.zeros((int(code.max(initial=0)) + 1, len(Part)), bool)
    there[code, split.part] = True
    return (there[:, : Part.ASIDE].sum(axis=1) > 1)[code]


_CHECKS: dict[Promise, Callable[[Split], np.ndarray]] = {
    Promise.ORDER: _out_of_order,
    Promise.TIME: _not_earlier,
    Promise.USERS: _users_shared,
    Promise.ITEMS: _items_shared,
}
