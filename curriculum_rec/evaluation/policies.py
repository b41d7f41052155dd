"""Policies (host): from a model's scores to the probabilities with which items are shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.ranges import POSITIVE, SHARE, at_least, check_ranges


@runtime_checkable
class Policy(Protocol):
    """Turns scores into what is shown."""

    def probabilities(self, scores: np.ndarray, candidates: np.ndarray, position: np.ndarray | None) -> np.ndarray:
        """Give the probability of every item.

        Args:
            scores: ``[rows, items]``, higher is better.
            candidates: bool ``[rows, items]``, what may be shown; at least one in every row.
            position: int ``[rows]``, the slot of a list that each row fills, from 1; None where one item is shown.

        Returns:
            float64 ``[rows, items]``, 1 in each row's sum.
        """
        ...


@dataclass(frozen=True)
class Greedy:
    """Show what scores highest.

    Args:
        k: Length of the list. Where the log has positions, the item of rank r fills slot r; where it has none, one of
            the k highest is shown, each as likely, so that the policy's value is the mean reward of a list's items
            if position does not matter.
        epsilon: How often any candidate is shown instead, each as likely; in [0, 1].
    """

    k: int = 1
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        check_ranges(self, "policy", {"k": at_least(1), "epsilon": SHARE})

    def probabilities(self, scores: np.ndarray, candidates: np.ndarray, position: np.ndarray | None) -> np.ndarray:
        """Give the probability of every item; equal scores are ranked in the order of the items.

        Raises:
            OptionError: The log fills more slots than the list has.
            DataError: There are fewer candidates than slots.

        >>> Greedy(k=2).probabilities(np.array([[3.0, 1.0, 2.0]]), np.ones((1, 3), bool), None).tolist()
        [[0.5, 0.0, 0.5]]
        """
        n_candidates = candidates.sum(axis=1)
        order = np.argsort(np.where(candidates, -scores, np.inf), axis=1, kind="stable")
        shown = np.zeros(scores.shape)
        if position is None:
            length = np.minimum(n_candidates, self.k)[:, None]
            top = np.arange(min(self.k, scores.shape[1])) < length
            np.put_along_axis(shown, order[:, : top.shape[1]], top / length, axis=1)
        else:
            self._check(position, n_candidates)
            np.put_along_axis(shown, np.take_along_axis(order, position[:, None] - 1, axis=1), 1.0, axis=1)
        return _with_chance(shown, candidates, self.epsilon)

    def _check(self, position: np.ndarray, n_candidates: np.ndarray) -> None:
        if position.max() > self.k:
            raise OptionError(f"the log fills position {position.max()} of a list: give policy.k={position.max()}")
        if (position > n_candidates).any():
            row = int(np.flatnonzero(position > n_candidates)[0])
            raise DataError(
                f"the log fills position {position[row]} of a list where there are only {n_candidates[row]} candidates"
            )


@dataclass(frozen=True)
class Softmax:
    """Show items by chance, with probabilities proportional to ``exp(score / temperature)``.

    Args:
        temperature: Above 0; the smaller, the nearer to :class:`Greedy`.
        epsilon: How often any candidate is shown instead, each as likely; in [0, 1].
    """

    temperature: float = 1.0
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        check_ranges(self, "policy", {"temperature": POSITIVE, "epsilon": SHARE})

    def probabilities(self, scores: np.ndarray, candidates: np.ndarray, position: np.ndarray | None) -> np.ndarray:
        """Give the probability of every item.

        Raises:
            OptionError: The log has positions, for which lists drawn from a softmax are not evaluated.

        >>> even = Softmax().probabilities(np.array([[1.0, 1.0, 5.0]]), np.array([[True, True, False]]), None)
        >>> even.tolist()
        [[0.5, 0.5, 0.0]]
        """
        if position is not None:
            raise OptionError("policy=softmax shows single items, but the log has positions in lists: take greedy")
        logits = np.where(candidates, scores / self.temperature, -np.inf)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return _with_chance(weights / weights.sum(axis=1, keepdims=True), candidates, self.epsilon)


def _with_chance(shown: np.ndarray, candidates: np.ndarray, epsilon: float) -> np.ndarray:
    if not epsilon:
        return shown
    return (1 - epsilon) * shown + epsilon * candidates / candidates.sum(axis=1, keepdims=True)
