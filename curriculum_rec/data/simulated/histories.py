"""What simulated users do (host), a block of users at a time: all of them take their next step together.

A block has random streams of its own. What it holds depends neither on the blocks before it nor on who reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from curriculum_rec.data.simulated.catalogue import Catalogue, draw
from curriculum_rec.streams import host_stream

BLOCK = 8192
"""Users that are simulated together."""
DAY = 86_400
EPOCH = 1_577_836_800
"""The first moment of a world: 1 January 2020, UTC, in seconds."""
TASTES = 2
"""A user's taste moves from the first to the second."""
DRIFT_STEPS = 10

FalseItems = Literal["uniform", "popularity"]


@dataclass(frozen=True)
class Behaviour:
    """How users behave.

    Attributes:
        mean_length: Mean number of interactions, before the bounds.
        spread: Standard deviation of its logarithm.
        shortest: Fewest interactions.
        longest: Most interactions.
        concentration: The greater, the more users are alike.
        drift: Share of the second taste that ten interactions bring.
        markov: How often an interaction follows from the one before, and not from the taste.
        span_days: In which users begin.
        false_positives: Share of interactions that are none of the user's own.
        false_items: How their items are drawn.
    """

    mean_length: float
    spread: float
    shortest: int
    longest: int
    concentration: float
    drift: float
    markov: float
    span_days: float
    false_positives: float
    false_items: FalseItems


@dataclass(frozen=True)
class Histories:
    """What some users did, user after user, oldest first.

    Attributes:
        lengths: int64 ``[n_users]``.
        item: Numbers in the catalogue, int64 ``[n]``.
        time: Seconds since 1970, int64 ``[n]``.
        false: bool ``[n]``, which are none of the user's own.
    """

    lengths: np.ndarray
    item: np.ndarray
    time: np.ndarray
    false: np.ndarray


def lengths_of(behaviour: Behaviour, n_users: int, *, block: int, seed: int) -> np.ndarray:
    """Draw how much every user of a block does, int64 ``[n_users]``."""
    stream = host_stream(seed, "simulated activity", block)
    mu = np.log(behaviour.mean_length) - behaviour.spread**2 / 2
    drawn = np.exp(mu + behaviour.spread * stream.standard_normal(n_users))
    return np.clip(np.round(drawn), behaviour.shortest, behaviour.longest).astype(np.int64)


def tastes_of(behaviour: Behaviour, catalogue: Catalogue, n_users: int, *, block: int, seed: int) -> np.ndarray:
    """Draw the tastes of a block's users, float64 ``[2, n_users, n_categories]``: distributions over categories."""
    stream, mean = host_stream(seed, "simulated tastes", block), catalogue.category_popularity
    shape = (TASTES, n_users, catalogue.n_categories)
    # Tiny shapes underflow to 0; a little of the mean keeps every row a distribution.
    drawn = stream.standard_gamma(behaviour.concentration * mean, shape) + 1e-9 * mean
    return drawn / drawn.sum(axis=2, keepdims=True)


def drifted(drift: float, steps: np.ndarray | int) -> np.ndarray | float:
    """Give the share of the second taste after some interactions.

    >>> drifted(0.1, np.array([0, 10, 20])).round(2).tolist()
    [0.0, 0.1, 0.19]
    """
    return 1.0 - (1.0 - drift) ** (np.asarray(steps) / DRIFT_STEPS)


def block_of_histories(
    behaviour: Behaviour, catalogue: Catalogue, lengths: np.ndarray, *, block: int, seed: int
) -> Histories:
    """Simulate a block.

    Args:
        behaviour: How users behave.
        catalogue: The items.
        lengths: Interactions of each user, int64 ``[n_users]``.
        block: Number of the block.
        seed: Of the world.
    """
    item = _real_items(behaviour, catalogue, lengths, block=block, seed=seed)
    time = _times(behaviour, lengths, block=block, seed=seed)
    real = Histories(lengths, item, time, np.zeros(len(item), bool))
    return real if behaviour.false_positives == 0 else _with_false(real, behaviour, catalogue, block=block, seed=seed)


def _real_items(
    behaviour: Behaviour, catalogue: Catalogue, lengths: np.ndarray, *, block: int, seed: int
) -> np.ndarray:
    stream = host_stream(seed, "simulated histories", block)
    order = np.argsort(-lengths, kind="stable")  # whoever still acts stands in front
    begin = (np.cumsum(lengths) - lengths)[order]
    tastes = tastes_of(behaviour, catalogue, len(lengths), block=block, seed=seed)[:, order]
    edges = np.cumsum(tastes, axis=2)[:, :, :-1].astype(np.float32)
    succession = np.cumsum(catalogue.succession)[:-1]
    active = len(lengths) - np.searchsorted(np.sort(lengths), np.arange(lengths.max()), side="right")
    item, last = np.empty(lengths.sum(), np.int64), np.zeros(len(lengths), np.int64)
    for step, n in enumerate(active):
        chance = stream.random((4, n))
        moved = np.where((chance[1] < drifted(behaviour.drift, step))[:, None], edges[1, :n], edges[0, :n])
        category = (moved < chance[2].astype(np.float32)[:, None]).sum(axis=1)
        low, high = (catalogue.cumulative[catalogue.begin[category + more]] for more in (0, 1))
        chosen = draw(catalogue.cumulative, low + chance[3] * (high - low))
        chosen = np.clip(chosen, catalogue.begin[category], catalogue.begin[category + 1] - 1)
        if step:
            follows = np.flatnonzero(chance[0] < behaviour.markov)
            which = np.searchsorted(succession, chance[2, follows], side="right")
            chosen[follows] = catalogue.successors[last[follows], which]
        last[:n] = chosen
        item[begin[:n] + step] = chosen
    return item


def _times(behaviour: Behaviour, lengths: np.ndarray, *, block: int, seed: int) -> np.ndarray:
    """Draw when users begin, and the gaps after that: many short ones, a few long ones."""
    stream = host_stream(seed, "simulated times", block)
    first = EPOCH + stream.random(len(lengths)) * behaviour.span_days * DAY
    gap = np.exp(stream.normal(np.log(DAY / 24), 2.0, lengths.sum()))
    begin = np.cumsum(lengths) - lengths
    gap[begin] = 0
    total = np.cumsum(gap)
    return (np.repeat(first - total[begin], lengths) + total).astype(np.int64)


def _with_false(real: Histories, behaviour: Behaviour, catalogue: Catalogue, *, block: int, seed: int) -> Histories:
    """Put false positives before real interactions, whose own draws do not depend on them."""
    stream, n = host_stream(seed, "simulated false positives", block), len(real.item)
    share = behaviour.false_positives
    before = stream.poisson(share / (1 - share), n)
    where = np.repeat(np.arange(n), before)
    if behaviour.false_items == "uniform":
        item = stream.integers(catalogue.n_items, size=len(where))
    else:
        item = draw(catalogue.cumulative, stream.random(len(where)))
    user = np.repeat(np.arange(len(real.lengths)), real.lengths)
    earlier = np.where(user[where] == user[where - 1], real.time[where - 1], real.time[where] - DAY)
    earlier = np.where(where > 0, earlier, real.time[where] - DAY)
    fraction = stream.random(len(where))
    fraction = fraction[np.lexsort((fraction, where))]
    time = earlier + (fraction * (real.time[where] - earlier)).astype(np.int64)
    return Histories(
        np.bincount(np.concatenate([user, user[where]]), minlength=len(real.lengths)),
        np.insert(real.item, where, item),
        np.insert(real.time, where, time),
        np.insert(real.false, where, values=True),
    )
