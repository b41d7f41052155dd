"""The items of a simulated world (host): categories, popularity by Zipf's law, and what follows what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from curriculum_rec.streams import host_stream

SAME_CATEGORY = 0.8
"""How often a successor is of the item's own category."""
SUCCESSION = 0.5
"""Each successor of an item is so much less probable than the one before it."""
VECTOR_WIDTH = 8


@dataclass(frozen=True)
class Catalogue:
    """Items, numbered category by category.

    Attributes:
        ids: The items' public ids, int64 ``[n_items]``: a permutation, so that an id tells nothing.
        begin: First item of every category, int64 ``[n_categories + 1]``.
        cumulative: Popularity of all items before each, float64 ``[n_items + 1]``, from 0 to 1.
        successors: What may follow each item, int32 ``[n_items, n_successors]``, the most probable first.
        succession: Probabilities of the successors, float64 ``[n_successors]``.
    """

    ids: np.ndarray
    begin: np.ndarray
    cumulative: np.ndarray
    successors: np.ndarray
    succession: np.ndarray

    @classmethod
    def make(cls, *, n_items: int, n_categories: int, zipf: float, n_successors: int, seed: int) -> Catalogue:
        """Make one.

        Args:
            n_items: How many items.
            n_categories: How many categories, each of at least one item.
            zipf: The item of rank r is as popular as ``r ** -zipf``.
            n_successors: How many different draws make an item's successors.
            seed: Decides everything random.
        """
        stream = host_stream(seed, "simulated catalogue")
        extra = stream.integers(n_categories, size=n_items - n_categories)
        category = np.sort(np.concatenate([np.arange(n_categories), extra]))
        begin = np.searchsorted(category, np.arange(n_categories + 1))
        weight = np.empty(n_items)
        weight[stream.permutation(n_items)] = np.arange(1, n_items + 1, dtype=np.float64) ** -zipf
        cumulative = np.concatenate([[0.0], np.cumsum(weight) / weight.sum()])
        succession = SUCCESSION ** np.arange(1, n_successors + 1)
        shape = (n_items, n_successors)
        own = stream.random(shape) < SAME_CATEGORY
        low = np.where(own, cumulative[begin[category]][:, None], 0.0)
        high = np.where(own, cumulative[begin[category + 1]][:, None], 1.0)
        successors = draw(cumulative, low + stream.random(shape) * (high - low))
        ids = stream.permutation(n_items)
        return cls(ids, begin, cumulative, successors.astype(np.int32), succession / succession.sum())

    @property
    def n_items(self) -> int:
        """How many items."""
        return len(self.ids)

    @property
    def n_categories(self) -> int:
        """How many categories."""
        return len(self.begin) - 1

    @property
    def popularity(self) -> np.ndarray:
        """Probability of each item where nothing is known of the user, float64 ``[n_items]``."""
        return np.diff(self.cumulative)

    @property
    def category(self) -> np.ndarray:
        """Category of each item, int64 ``[n_items]``."""
        return np.repeat(np.arange(self.n_categories), np.diff(self.begin))

    @property
    def category_popularity(self) -> np.ndarray:
        """Popularity of the categories, float64 ``[n_categories]``."""
        return np.diff(self.cumulative[self.begin])

    def table(self, *, seed: int) -> pl.DataFrame:
        """Describe the items: ``item``, ``category``, ``price`` (each category has its own level) and ``vector``.

        A vector is that of the item's category with noise, so that it tells the category, and no more.

        Args:
            seed: Of the world.
        """
        stream = host_stream(seed, "simulated attributes")
        level = stream.normal(3.0, 0.7, self.n_categories)
        centre = stream.normal(size=(self.n_categories, VECTOR_WIDTH))
        category = self.category
        vector = centre[category] + 0.5 * stream.normal(size=(self.n_items, VECTOR_WIDTH))
        columns = {
            "item": self.ids,
            "category": pl.Series([f"category {number}" for number in range(self.n_categories)])[category],
            "price": np.exp(level[category] + 0.4 * stream.normal(size=self.n_items)).round(2),
            "vector": pl.Series(vector.astype(np.float32), dtype=pl.Array(pl.Float32, VECTOR_WIDTH)),
        }
        return pl.DataFrame(columns).sort("item")


def draw(cumulative: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Find the item whose share of the popularity holds a point.

    Args:
        cumulative: float64 ``[n + 1]``, from 0 to 1.
        at: Points in [0, 1], of any shape.

    >>> draw(np.array([0.0, 0.5, 0.75, 1.0]), np.array([0.1, 0.5, 0.9, 1.0])).tolist()
    [0, 1, 2, 2]
    """
    return np.minimum(np.searchsorted(cumulative, at, side="right") - 1, len(cumulative) - 2)
