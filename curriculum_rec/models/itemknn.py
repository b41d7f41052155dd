"""ItemKNN (host and device): items that the same users have, a list of neighbours for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int32

from curriculum_rec.models.contract import FitOn, Known
from curriculum_rec.models.history_sets import different_items
from curriculum_rec.ranges import at_least, check_ranges, one_of

CHUNK = 2048
"""Items whose similarities to all others are held at once."""


@dataclass(frozen=True)
class ItemKNN:
    """Options of ItemKNN: a user's score of an item is the sum of its similarities to the items of the history.

    Similarity is ``|i and j| / (sqrt(|i| |j|) + shrinkage)`` of the sets of users who have two items: the cosine, lower
    where few users have either. Of each item of the history only the nearest neighbours count. Parameters: ``2 (n_items
    + 1) neighbours``, of which there are at most ``n_items - 1``.

    Args:
        neighbours: Neighbours of each item that count, at least 1.
        shrinkage: At least 0; higher trusts rare items less.
        fit_on: Whether it looks at the ``training`` part alone, as a trained model does, or at all that is ``known``
            when an item is predicted.

    Source: Sarwar et al. (2001); lists of neighbours after Deshpande and Karypis (2004), algorithm 3; shrinkage after
    Ferrari Dacrema et al. (2019).
    """

    neighbours: int = 100
    shrinkage: float = 10.0
    fit_on: FitOn = "training"

    def __post_init__(self) -> None:
        ranges = {"neighbours": at_least(1), "shrinkage": at_least(0), "fit_on": one_of(*get_args(FitOn))}
        check_ranges(self, "model", ranges)

    def __call__(self, *, n_items: int, max_length: int, depth: int | None = None, rngs: nnx.Rngs) -> ItemKNNModel:
        """Build the model before it is fitted."""
        del max_length, depth, rngs
        return ItemKNNModel(n_items, self._kept(n_items))

    def _kept(self, n_items: int) -> int:
        return min(self.neighbours, max(n_items - 1, 1))

    def fit(self, known: Known) -> dict[str, np.ndarray]:
        """Compute each item's neighbours, most similar first; 0 stands for none."""
        matrix = known.matrix()
        size, k = np.asarray(matrix.sum(axis=0)).ravel(), self._kept(known.n_items)
        neighbour = np.zeros((known.n_items + 1, k), np.int32)
        weight = np.zeros((known.n_items + 1, k), np.float32)
        by_item = matrix.T.tocsr()
        for first in range(1, known.n_items + 1, CHUNK):
            items = np.arange(first, min(first + CHUNK, known.n_items + 1))
            both = (by_item[items] @ matrix).toarray()
            similarity = both / np.maximum(np.sqrt(size[items][:, None] * size) + self.shrinkage, 1e-12)
            similarity[np.arange(len(items)), items] = 0
            # Of equally similar items the lower codes, whatever the partition made of them.
            nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
            value = np.take_along_axis(similarity, nearest, axis=1)
            neighbour[items], weight[items] = np.where(value > 0, nearest, 0), value
        return {"neighbour": neighbour, "weight": weight}


class ItemKNNModel(nnx.Module):
    """The lists; see :class:`ItemKNN`."""

    def __init__(self, n_items: int, neighbours: int) -> None:
        self.neighbour = nnx.Param(jnp.zeros((n_items + 1, neighbours), jnp.int32))
        self.weight = nnx.Param(jnp.zeros((n_items + 1, neighbours)))
        self.n_items = n_items

    def score_items(self, history: Int32[Array, "batch length"]) -> Float[Array, "batch rows"]:
        """Add up the similarities to the different items of each history."""
        items = different_items(history)
        neighbour, weight = self.neighbour[...], self.weight[...]
        row = jnp.arange(len(items), dtype=jnp.int32)[:, None]

        def add(place: Array, scores: Array) -> Array:
            item = items[:, place]
            return scores.at[row, neighbour[item]].add(weight[item])  # item 0 has weights of 0

        n_places = (items > 0).sum(axis=1).max()
        return jax.lax.fori_loop(0, n_places, add, jnp.zeros((len(items), self.n_items + 1)))
