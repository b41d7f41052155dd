"""A split by time (host): what happened from two moments on is held out, whoever did it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from curriculum_rec.data.interactions import Interactions
from curriculum_rec.data.splits.by_user import check_shares
from curriculum_rec.data.splits.parts import Part, Promise, Split
from curriculum_rec.data.splits.promises import check_promises
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.ranges import check_ranges, one_of

By = Literal["share", "moment"]


@dataclass(frozen=True)
class GlobalTime:
    """The latest interactions are test, those before them validation, the rest training, for all users at once.

    The only split in which nothing of the future is known, of other users neither. A user whose first interaction lies
    in the test part has no history and is not asked.

    Args:
        by: ``share`` cuts off shares of the interactions, ``moment`` begins at moments of the data's own unit.
        validation: Share of validation in (0, 1), or its first moment.
        test: Share of the test in (0, 1), or its first moment. Of equal times all go to the later part.

    Source: Ji et al., A Critical Study on Data Leakage in Recommender System Offline Evaluation (2023).
    """

    by: By = "share"
    validation: int | float = 0.1
    test: int | float = 0.1

    def __post_init__(self) -> None:
        check_ranges(self, "split", {"by": one_of(*get_args(By))})
        if self.by == "share":
            check_shares(self.validation, self.test)
        elif not self.validation < self.test:
            raise OptionError(
                f"split.validation={self.validation} must be an earlier moment than split.test={self.test}"
            )

    def __call__(self, interactions: Interactions) -> Split:
        """Split.

        Raises:
            DataError: There are no timestamps, or too few different ones.
        """
        time = interactions.timestamp
        if time is None:
            raise DataError("split=global_time needs timestamps, and the data have none")
        validation, test = self._begins(time)
        part = np.where(time >= test, Part.TEST, np.where(time >= validation, Part.VALIDATION, Part.TRAIN))
        if not (part == Part.TRAIN).any():
            raise DataError(f"there is no interaction before {validation} to train on")
        return check_promises(Split(interactions, part.astype(np.int8), promises=(Promise.TIME, Promise.ORDER)))

    def _begins(self, time: np.ndarray) -> tuple[int | float, int | float]:
        if self.by == "moment":
            return self.validation, self.test
        ordered, n = np.sort(time), len(time)
        test = ordered[max(n - max(1, round(self.test * n)), 0)]
        earlier = int(np.searchsorted(ordered, test))
        if not earlier:
            raise DataError(
                f"all interactions from {ordered[0]} on would be test, so many are level: take a smaller split.test"
            )
        validation = ordered[max(earlier - max(1, round(self.validation * n)), 0)]
        return validation.item(), test.item()
