"""EASE (host and device): an item-to-item matrix of least squares with a zero diagonal, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int32
from scipy.linalg import lapack

from curriculum_rec.errors import DataError
from curriculum_rec.models.contract import FitOn, Known
from curriculum_rec.models.history_sets import different_items
from curriculum_rec.ranges import POSITIVE, check_ranges, one_of

ROWS_AT_ONCE = 1024
"""Rows of the result that are made at once."""


@dataclass(frozen=True)
class EASE:
    """Options of EASE: scores are ``x B``, ``x`` being 1 for the items of the history.

    ``B`` minimises ``|X - X B|^2 + l2 |B|^2`` under a diagonal of 0, so that no item explains itself: ``B = I - P
    diag(P)^-1`` with ``P = (X'X + l2 I)^-1``. Parameters: ``(n_items + 1)^2``. Fitting takes ``8 n_items^2`` bytes, and
    half of that for the result, 1.8 GB for 12,101 items; time grows with ``n_items^3``.

    Args:
        l2: Weight of the penalty, above 0.
        fit_on: Whether it looks at the ``training`` part alone, as a trained model does, or at all that is ``known``
            when an item is predicted.

    Source: Steck (2019), Embarrassingly Shallow Autoencoders, equation 8.
    """

    l2: float = 500.0
    fit_on: FitOn = "training"

    def __post_init__(self) -> None:
        check_ranges(self, "model", {"l2": POSITIVE, "fit_on": one_of(*get_args(FitOn))})

    def __call__(self, *, n_items: int, max_length: int, depth: int | None = None, rngs: nnx.Rngs) -> EASEModel:
        """Build the model before it is fitted."""
        del max_length, depth, rngs
        return EASEModel(n_items)

    def fit(self, known: Known) -> dict[str, np.ndarray]:
        """Solve, in double precision and in place.

        Raises:
            DataError: The matrix cannot be inverted, since ``l2`` is too small for it.
        """
        matrix, n = known.matrix()[:, 1:], known.n_items
        gram = np.zeros((n, n), np.float64, order="F")
        product = (matrix.T @ matrix).tocoo()
        gram[product.row, product.col] = product.data
        gram[np.diag_indices(n)] += self.l2
        factor, failed = lapack.dpotrf(gram, lower=True, overwrite_a=True)
        inverse, failed_too = lapack.dpotri(factor, lower=True, overwrite_c=True)
        if failed or failed_too:
            raise DataError(f"model.l2={self.l2}: the matrix of EASE cannot be inverted in double precision; raise it")
        return {"weight": _weights(inverse)}


def _weights(inverse: np.ndarray) -> np.ndarray:
    """Make the weights from the lower half of a symmetric inverse, with a row and a column of 0 for padding."""
    n, diagonal = len(inverse), np.diag(inverse)
    weight = np.zeros((n + 1, n + 1), np.float32)
    for first in range(0, n, ROWS_AT_ONCE):
        rows = np.arange(first, min(first + ROWS_AT_ONCE, n))
        whole = np.where(np.arange(n) <= rows[:, None], inverse[rows], inverse[:, rows].T)
        weight[rows + 1, 1:] = -whole / diagonal
        weight[rows + 1, rows + 1] = 0
    return weight


class EASEModel(nnx.Module):
    """The matrix; see :class:`EASE`."""

    def __init__(self, n_items: int) -> None:
        self.weight = nnx.Param(jnp.zeros((n_items + 1, n_items + 1)))
        self.n_items = n_items

    def score_items(self, history: Int32[Array, "batch length"]) -> Float[Array, "batch rows"]:
        """Add up the rows of the different items of each history."""
        items, weight = different_items(history), self.weight[...]

        def add(place: Array, scores: Array) -> Array:
            return scores + weight[items[:, place]]

        n_places = (items > 0).sum(axis=1).max()
        return jax.lax.fori_loop(0, n_places, add, jnp.zeros((len(items), self.n_items + 1)))
