"""Ranking metrics from the places of relevant items (host): first per question, then means a user, then their mean.

A question is asked after one history and has one or several relevant items. ``rank`` counts from 1; a rank between two
integers is the mean over a tied block, so that a scorer which cannot tell items apart is not rewarded for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from curriculum_rec.errors import OptionError


@dataclass(frozen=True)
class Places:
    """Where the relevant items of questions stand, question by question, each from the best place on.

    Attributes:
        place: float64 ``[m]``, from 1, among all candidates; two relevant items are at least 1 apart.
        first: int64 ``[q]``, where each question begins; every question has a relevant item.
        order: int64 ``[m]``, the row that each of them comes from.
    """

    place: np.ndarray
    first: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, rank: np.ndarray, question: np.ndarray | None = None) -> Places:
        """Turn ranks, which are the same for all that is tied, into places.

        Relevant items that are tied with each other follow each other around the mean of their block.

        Args:
            rank: float64 ``[m]``, from 1, among all candidates.
            question: int64 ``[m]``, not falling; None where each question has one relevant item.

        >>> Places.of(np.array([4.0, 1.0, 1.0]), np.array([0, 0, 1])).place.tolist()
        [1.0, 4.0, 1.0]
        >>> Places.of(np.array([3.0, 3.0]), np.array([0, 0])).place.tolist()  # tied, with three others beside them
        [2.5, 3.5]
        """
        rank = np.asarray(rank, np.float64)
        if question is None:
            every = np.arange(len(rank))
            return cls(rank, every, every)
        order = np.lexsort((rank, question))
        rank, starts = rank[order], np.diff(question, prepend=-1) != 0
        block = np.flatnonzero(starts | (np.diff(rank, prepend=np.nan) != 0))
        size = np.diff(block, append=len(rank))
        within = np.arange(len(rank)) - np.repeat(block, size)
        return cls(rank + within - np.repeat((size - 1) / 2, size), np.flatnonzero(starts), order)

    def among(self, rows: np.ndarray) -> Places:
        """Give the places of some of the relevant items where the others are no candidates.

        Args:
            rows: Which, bool ``[m]``; questions that have none of them are left out.

        >>> places = Places.of(np.array([1.0, 4.0, 6.0]), np.array([0, 0, 0]))
        >>> places.among(np.array([False, True, True])).place.tolist()
        [3.0, 5.0]
        """
        kept = rows[self.order]
        question = np.repeat(np.arange(len(self.first)), self.n)[kept]
        first = np.flatnonzero(np.diff(question, prepend=-1))
        before = np.arange(len(question)) - np.repeat(first, np.diff(first, append=len(question)))
        return Places((self.place - self.ordinal + 1)[kept] + before, first, self.order[kept])

    @cached_property
    def n(self) -> np.ndarray:
        """Relevant items of every question, int64 ``[q]``."""
        return np.diff(self.first, append=len(self.place))

    @cached_property
    def ordinal(self) -> np.ndarray:
        """The number of each relevant item in its question, from 1."""
        return np.arange(len(self.place)) - np.repeat(self.first, self.n) + 1

    def total(self, values: np.ndarray) -> np.ndarray:
        """Add up values of relevant items question by question."""
        return values if len(self.first) == len(values) else np.add.reduceat(values, self.first)

    def found(self, k: int) -> np.ndarray:
        """Say which relevant items are among the first ``k``, float64 ``[m]`` of 0 and 1."""
        return (self.place <= k).astype(np.float64)


def hit_rate(places: Places, k: int) -> np.ndarray:
    """``1[a relevant item is among the first k]``.

    >>> hit_rate(Places.of(np.array([1.0, 3.0])), 2).tolist()
    [1.0, 0.0]
    """
    return (places.place[places.first] <= k).astype(np.float64)


def recall(places: Places, k: int) -> np.ndarray:
    """``found among the first k / n``, with n relevant items.

    Divided by n itself as most do, not by ``min(n, k)`` (LensKit).

    >>> recall(Places.of(np.array([1.0, 5.0]), np.array([0, 0])), 2).tolist()
    [0.5]
    """
    return places.total(places.found(k)) / places.n


def precision(places: Places, k: int) -> np.ndarray:
    """``found among the first k / k``, also where the list is shorter.

    >>> precision(Places.of(np.array([1.0, 5.0]), np.array([0, 0])), 4).tolist()
    [0.25]
    """
    return places.total(places.found(k)) / k


def f1(places: Places, k: int) -> np.ndarray:
    """``2 P R / (P + R)`` of precision and recall, which is ``2 found / (k + n)``.

    >>> f1(Places.of(np.array([1.0, 6.0]), np.array([0, 0])), 4).round(4).tolist()
    [0.3333]
    """
    return 2 * places.total(places.found(k)) / (k + places.n)


def reciprocal_rank(places: Places, k: int) -> np.ndarray:
    """``1 / place`` of the first relevant item if it is among the first k, else 0.

    >>> reciprocal_rank(Places.of(np.array([4.0, 11.0])), 10).tolist()
    [0.25, 0.0]
    """
    return hit_rate(places, k) / places.place[places.first]


def ndcg(places: Places, k: int) -> np.ndarray:
    """``sum over those found of 1 / log2(1 + place)``, divided by the same sum over the first ``min(n, k)`` places.

    So 1 can be reached by every question; RecTools' default divides by the sum over all k places instead.

    Source: Järvelin and Kekäläinen (2002), with gains 0 and 1.

    >>> ndcg(Places.of(np.array([1.0, 3.0])), 10).tolist()
    [1.0, 0.5]
    """
    gain = places.total(places.found(k) / np.log2(1 + places.place))
    within = np.minimum(places.n, k)
    ideal = np.cumsum(1 / np.log2(1 + np.arange(1.0, within.max(initial=1) + 1)))
    return gain / ideal[within - 1]


def _precision_sum(places: Places, k: int) -> np.ndarray:
    return places.total(places.found(k) * places.ordinal / places.place)


def average_precision_n(places: Places, k: int) -> np.ndarray:
    """``sum over those found of the precision at their place / n``, as ranx and trec_eval have it.

    >>> average_precision_n(Places.of(np.array([1.0, 3.0, 7.0]), np.array([0, 0, 0])), 2).round(4).tolist()
    [0.3333]
    """
    return _precision_sum(places, k) / places.n


def average_precision_min(places: Places, k: int) -> np.ndarray:
    """``sum over those found of the precision at their place / min(n, k)``, as RecBole, RePlay and LensKit have it.

    >>> average_precision_min(Places.of(np.array([1.0, 3.0, 7.0]), np.array([0, 0, 0])), 2).tolist()
    [0.5]
    """
    return _precision_sum(places, k) / np.minimum(places.n, k)


METRICS: dict[str, Callable[[Places, int], np.ndarray]] = {
    "hr": hit_rate,
    "ndcg": ndcg,
    "mrr": reciprocal_rank,
    "recall": recall,
    "precision": precision,
    "f1": f1,
    "map_n": average_precision_n,
    "map_min": average_precision_min,
}
"""Metrics of places by their names, as they stand before the ``@``."""

STANDARD = ("hr", "ndcg", "mrr", "recall")
"""What is measured where nobody asks for anything else."""


def question_auc(places: Places, n_others: np.ndarray) -> np.ndarray:
    """Give how often a relevant item stands before one of the others, a tie being half of that; 0.5 without others.

    Args:
        places: The places of ``q`` questions.
        n_others: Candidates of each question that are not relevant, ``[q]``.

    >>> question_auc(Places.of(np.array([1.0, 3.0]), np.array([0, 0])), np.array([4])).tolist()
    [0.875]
    """
    above = places.total(places.place - places.ordinal)
    return np.where(n_others > 0, 1 - above / (places.n * np.maximum(n_others, 1)), 0.5)


def user_metrics(
    rank: np.ndarray, names: Sequence[str], *, question: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Compute metrics question by question.

    Args:
        rank: float64 ``[m]``, from 1, of relevant items among all candidates.
        names: Such as ``ndcg@10``.
        question: Which they belong to, int64 ``[m]``, not falling; None where each question has one relevant item.

    Returns:
        float64, one a question, for each name.

    Raises:
        OptionError: A name is no metric of places.

    >>> user_metrics(np.array([2.0]), ["hr@1", "mrr@5"])
    {'hr@1': array([0.]), 'mrr@5': array([0.5])}
    """
    places = Places.of(rank, question)
    return {name: kind(places, k) for name in names for kind, k in [_of_places(name)]}


def _of_places(name: str) -> tuple[Callable[[Places, int], np.ndarray], int]:
    kind, _, k = name.partition("@")
    if kind not in METRICS or not k.isdecimal() or int(k) < 1:
        raise OptionError(
            f"'{name}' is no metric: write one of {', '.join(METRICS)}, then @ and a number, as in ndcg@10"
        )
    return METRICS[kind], int(k)


def mean_metrics(rank: np.ndarray, names: Sequence[str], *, user: np.ndarray | None = None) -> dict[str, float]:
    """Average each metric: over a user's rows, then over users, so that every user counts the same.

    Args:
        rank: float64 ``[m]``, from 1, one relevant item a row.
        names: Such as ``ndcg@10``.
        user: Whose rows they are, int ``[m]``; None where each has one.

    >>> mean_metrics(np.array([1.0, 5.0, 5.0]), ["hr@1"], user=np.array([7, 8, 8]))
    {'hr@1': 0.5}
    >>> mean_metrics(np.array([1.0, 5.0, 5.0]), ["hr@1"], user=np.array([7, 7, 8]))
    {'hr@1': 0.25}
    """
    return {name: float(user_means(values, user).mean()) for name, values in user_metrics(rank, names).items()}


def user_means(values: np.ndarray, user: np.ndarray | None) -> np.ndarray:
    """Average the values of every user's rows.

    Args:
        values: float64 ``[m]``.
        user: int ``[m]``; None where each has one row.

    Returns:
        float64, one a user in ascending order; the values as they are where each has one row.
    """
    if user is None:
        return values
    distinct, row = np.unique(user, return_inverse=True)
    if len(distinct) == len(user):
        return values
    return np.bincount(row, values) / np.bincount(row)
