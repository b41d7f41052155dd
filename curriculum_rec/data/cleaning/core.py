"""The k-core (host): rare users and items are removed until none is left that is too rare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import polars as pl

from curriculum_rec.data.interactions import ITEM, USER
from curriculum_rec.data.numbering import count, places
from curriculum_rec.ranges import at_least, check_ranges


@dataclass(frozen=True)
class KCore:
    """Remove rare users and items, again and again until none is left that is too rare.

    Args:
        min_user_interactions: Fewest rows that a user keeps.
        min_item_interactions: Fewest rows that an item keeps.

    Source: the k-core of the bipartite user-item graph (Seidman, 1983).
    """

    ANY_IDS: ClassVar[bool] = True

    min_user_interactions: int = 5
    min_item_interactions: int = 5

    def __post_init__(self) -> None:
        check_ranges(self, "", {"min_user_interactions": at_least(1), "min_item_interactions": at_least(1)})

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Apply the rule."""
        if frame.is_empty():
            return frame
        fewest = {USER: self.min_user_interactions, ITEM: self.min_item_interactions}
        value = {name: places(frame[name]) for name in fewest}
        n_values = {name: int(place.max()) + 1 for name, place in value.items()}
        stays, n_before = np.ones(len(frame), bool), -1
        while n_before != len(value[USER]):
            n_before = len(value[USER])
            for name, least in fewest.items():
                n_rows = count(value[name], n_values[name])
                if ((n_rows > 0) & (n_rows < least)).any():
                    often = (n_rows >= least)[value[name]]
                    stays[stays] = often
                    value = {each: place[often] for each, place in value.items()}
        return frame if n_before == len(frame) else frame.filter(pl.Series(stays))
