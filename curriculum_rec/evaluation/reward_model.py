"""A plain model of rewards for off-policy evaluation (host): each item's mean, drawn towards the mean of all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curriculum_rec.errors import DataError
from curriculum_rec.ranges import at_least, check_ranges
from curriculum_rec.streams import host_stream


@dataclass(frozen=True)
class ItemMeans:
    """Options of the model.

    Users are dealt into folds, and each fold's rewards are foretold by the other folds' rows: a model that had seen a
    row's own reward, or others of its user, would make the doubly robust estimate biased.

    Args:
        folds: At least 2.
        prior_rows: As many rows of the mean reward are added to every item's own; at least 0.
        seed: Deals the users.
    """

    folds: int = 5
    prior_rows: float = 10.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_ranges(self, "reward_model", {"folds": at_least(2), "prior_rows": at_least(0)})

    def fit(
        self, user: np.ndarray, item: np.ndarray, reward: np.ndarray, *, n_items: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fit.

        Args:
            user: int ``[n]``, any code.
            item: int ``[n]``, codes from 1; 0 is an item that nobody asks for.
            reward: float64 ``[n]``.
            n_items: Size of the catalogue.

        Returns:
            Each row's fold ``[n]``, and the rewards that each fold foretells, ``[folds, n_items + 1]``.

        Raises:
            DataError: There are fewer users than folds.
        """
        ids, code = np.unique(user, return_inverse=True)
        if len(ids) < self.folds:
            raise DataError(f"a reward model of {self.folds} folds needs as many users; the log has {len(ids)}")
        fold = (host_stream(self.seed, "reward folds").permutation(len(ids)) % self.folds)[code]
        cell, shape = fold * (n_items + 1) + item, (self.folds, n_items + 1)
        counts = np.bincount(cell, minlength=np.prod(shape)).reshape(shape)
        sums = np.bincount(cell, reward, minlength=np.prod(shape)).reshape(shape)
        counts, sums = counts.sum(axis=0) - counts, sums.sum(axis=0) - sums  # of the other folds
        mean = sums.sum(axis=1, keepdims=True) / counts.sum(axis=1, keepdims=True)
        rows = counts + self.prior_rows
        return fold, np.where(rows > 0, (sums + self.prior_rows * mean) / np.maximum(rows, 1e-12), mean)
