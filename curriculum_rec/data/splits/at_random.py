"""Splits at random (host), drawn so that the order of a file's rows does not matter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curriculum_rec.data.interactions import Interactions
from curriculum_rec.data.splits.by_user import check_shares
from curriculum_rec.data.splits.parts import Part, Split
from curriculum_rec.data.splits.promises import check_promises
from curriculum_rec.ranges import at_least, check_ranges
from curriculum_rec.streams import host_stream


@dataclass(frozen=True)
class RandomRows:
    """Interactions are held out at random.

    A user's training part may then hold what came after a tested interaction: fit for data without an order, and for
    comparison with papers that do it; it tells too well of the future.

    Args:
        validation: Share of validation, in (0, 1).
        test: Share of the test, in (0, 1).
        seed: Decides which; not the run's seed, so that runs of all seeds answer the same questions.
    """

    validation: float = 0.1
    test: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        check_shares(self.validation, self.test)
        check_ranges(self, "split", {"seed": at_least(0)})

    def __call__(self, interactions: Interactions) -> Split:
        """Split.

        Raises:
            DataError: A part has no interaction with a history.
        """
        n, place = len(interactions), shuffled_rows(interactions, seed=self.seed, name="split")
        part = np.full(n, Part.TRAIN, np.int8)
        n_test, n_validation = (max(1, round(share * n)) for share in (self.test, self.validation))
        part[place < n_test + n_validation] = Part.VALIDATION
        part[place < n_test] = Part.TEST
        return check_promises(Split(interactions, part))


def shuffled_rows(interactions: Interactions, *, seed: int, name: str) -> np.ndarray:
    """Give every interaction its place in a random order, int64 ``[n]``.

    Users, times and items decide who is who: equal times in another order of the file change nothing. Data without
    timestamps keep their order, which is all that is known of time.

    Args:
        interactions: Sorted by user and time.
        seed: Decides the order.
        name: Of the random stream.
    """
    n, time = len(interactions), interactions.timestamp
    order = np.arange(n) if time is None else np.lexsort((interactions.item, time, interactions.user))
    place = np.empty(n, np.int64)
    place[order] = host_stream(seed, name).permutation(n)
    return place


def shuffled_codes(n: int, *, seed: int, name: str) -> np.ndarray:
    """Give every code its place in a random order; code 0 is padding and comes last.

    Args:
        n: Codes, padding not counted.
        seed: Decides the order.
        name: Of the random stream.

    Returns:
        int64 ``[n + 1]``.
    """
    return np.concatenate([[n], host_stream(seed, name).permutation(n)])
