"""MostPop (host and device): the same list for everybody, items by how often they occur."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int32

from curriculum_rec.models.contract import FitOn, Known
from curriculum_rec.ranges import check_ranges, one_of


@dataclass(frozen=True)
class MostPop:
    """Options of MostPop, whose parameters are ``n_items + 1`` places in the list.

    Args:
        fit_on: Whether it counts the ``training`` part alone, or all that is ``known`` when an item is predicted; the
            latter is what published tables do.
    """

    fit_on: FitOn = "known"

    def __post_init__(self) -> None:
        check_ranges(self, "model", {"fit_on": one_of(*get_args(FitOn))})

    def __call__(self, *, n_items: int, max_length: int, depth: int | None = None, rngs: nnx.Rngs) -> MostPopModel:
        """Build the model before it is fitted."""
        del max_length, depth, rngs
        return MostPopModel(n_items)

    def fit(self, known: Known) -> dict[str, np.ndarray]:
        """Count; of items that occur as often, the lower code comes first.

        >>> MostPop().fit(Known(np.array([2, 2, 3], np.int32), np.array([0, 0, 3]), 3))["score"].tolist()
        [0.0, -3.0, -1.0, -2.0]
        """
        counts = np.bincount(known.items, minlength=known.n_items + 1)[1:]
        score = np.zeros(known.n_items + 1, np.float32)
        score[1 + np.argsort(-counts, kind="stable")] = -np.arange(1, known.n_items + 1)
        return {"score": score}


class MostPopModel(nnx.Module):
    """The list; see :class:`MostPop`."""

    def __init__(self, n_items: int) -> None:
        self.score = nnx.Param(jnp.zeros(n_items + 1))
        self.n_items = n_items

    def score_items(self, history: Int32[Array, "batch length"]) -> Float[Array, "batch rows"]:
        """Give everybody the same scores, the negative places."""
        return jnp.broadcast_to(self.score[...], (len(history), self.n_items + 1))
