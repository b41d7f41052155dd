"""The k-core (host): rare users and items are removed until none is left that is too rare."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from curriculum_rec.data.interactions import ITEM, USER
from curriculum_rec.ranges import at_least, check_ranges


@dataclass(frozen=True)
class KCore:
    """Remove rare users and items, again and again until none is left that is too rare.

    Args:
        min_user_interactions: Fewest rows that a user keeps.
        min_item_interactions: Fewest rows that an item keeps.

    Source: the k-core of the bipartite user-item graph (Seidman, 1983).
    """

    min_user_interactions: int = 5
    min_item_interactions: int = 5

    def __post_init__(self) -> None:
        check_ranges(self, "", {"min_user_interactions": at_least(1), "min_item_interactions": at_least(1)})

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Apply the rule."""
        while True:
            kept = frame.filter(pl.len().over(USER) >= self.min_user_interactions)
            kept = kept.filter(pl.len().over(ITEM) >= self.min_item_interactions)
            if len(kept) == len(frame):
                return frame
            frame = kept
