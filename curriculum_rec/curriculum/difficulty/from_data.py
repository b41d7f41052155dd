"""Difficulties that depend on the data alone (host); they are scored once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.sparse import csr_array
from scipy.sparse.linalg import svds

from curriculum_rec.curriculum.difficulty.base import RunningLoss, Unit, check_targets, mean_by_example
from curriculum_rec.curriculum.difficulty.workshop import Workshop
from curriculum_rec.data.examples import Examples
from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import POSITIVE, at_least, check_ranges, one_of


class StaticDifficulty:
    """A difficulty of single targets that is scored once; a sequence has its targets' mean unless a class says else."""

    decay: None = None
    BY_BLOCKS: ClassVar[bool] = False
    """Whether examples can be scored some at a time, so that they need not all be in memory."""

    def __call__(
        self,
        examples: Examples,
        unit: Unit,
        losses: RunningLoss | None = None,
        workshop: Workshop | None = None,
    ) -> np.ndarray:
        """Score all units, float64 ``[n_units]``.

        Raises:
            OptionError: The examples lack what the score needs.
        """
        check_targets(self, examples)
        return np.concatenate([self._score(block, unit) for block in examples.blocks()])

    def _score(self, examples: Examples, unit: Unit) -> np.ndarray:
        scores = self.of_targets(examples).astype(np.float64)
        return scores if unit == "target" else self.of_sequences(examples, scores)

    def of_targets(self, examples: Examples) -> np.ndarray:
        """Score all targets, ``[n_targets]``."""
        raise NotImplementedError

    def of_sequences(self, examples: Examples, scores: np.ndarray) -> np.ndarray:
        """Turn the scores of targets into those of the sequences that they belong to, ``[n]``."""
        return mean_by_example(scores, examples.target_offsets)


@dataclass(frozen=True)
class Length(StaticDifficulty):
    """The number of items before the target; for a sequence, of its whole history after truncation.

    Source: sentence length in Platanios et al. (2019), equation for ``d_length``.
    """

    BY_BLOCKS: ClassVar[bool] = True

    def of_targets(self, examples: Examples) -> np.ndarray:
        """Score all targets."""
        return 1 + place_in_sequence(examples)

    def of_sequences(self, examples: Examples, scores: np.ndarray) -> np.ndarray:
        """Score all sequences."""
        return scores[examples.target_offsets[1:] - 1]


@dataclass(frozen=True)
class UserActivity(StaticDifficulty):
    """How little is known of the user, ``-sign * log(1 + number of training interactions)``, after truncation.

    Args:
        sign: 1 takes users with few interactions for hard, -1 those with many.

    Source: long-tail practice.
    """

    BY_BLOCKS: ClassVar[bool] = True

    sign: Literal[1, -1] = 1

    def __post_init__(self) -> None:
        check_ranges(self, "curriculum.difficulty", {"sign": one_of(1, -1)})

    def of_targets(self, examples: Examples) -> np.ndarray:
        """Score all targets."""
        n_targets = np.diff(examples.target_offsets)
        return -self.sign * np.log1p(np.repeat(1 + n_targets, n_targets))


@dataclass(frozen=True)
class Popularity(StaticDifficulty):
    """Rarity of the target item, ``-log((n + alpha) / (sum n + alpha * n_items))``; a sequence has its targets' mean.

    Args:
        alpha: Added to every item's training count, so that an unseen item stays finite.

    Source: the rarity of Platanios et al. (2019) with the target item as the word.
    """

    BY_BLOCKS: ClassVar[bool] = True

    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_ranges(self, "curriculum.difficulty", {"alpha": POSITIVE})

    def of_targets(self, examples: Examples) -> np.ndarray:
        """Score all targets."""
        return rarity(examples, self.alpha)[examples.targets]


@dataclass(frozen=True)
class SequenceRarity(StaticDifficulty):
    """Rarity of everything up to the target, ``-sum log p(item)``, which grows with the length, or its mean.

    Args:
        reduce: ``sum`` or ``mean`` over the history and the target.
        alpha: As in :class:`Popularity`.

    Source: sentence rarity of Platanios et al. (2019), the sum; vocabulary rarity of DeepSpeed, the mean.
    """

    BY_BLOCKS: ClassVar[bool] = True

    reduce: Literal["sum", "mean"] = "sum"
    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_ranges(self, "curriculum.difficulty", {"alpha": POSITIVE, "reduce": one_of("sum", "mean")})

    def of_targets(self, examples: Examples) -> np.ndarray:
        """Score all targets."""
        by_item = rarity(examples, self.alpha)
        total = running_sum(by_item[examples.targets], examples)
        total += np.repeat(by_item[examples.inputs[examples.target_offsets[:-1]]], np.diff(examples.target_offsets))
        return total if self.reduce == "sum" else total / (2 + place_in_sequence(examples))

    def of_sequences(self, examples: Examples, scores: np.ndarray) -> np.ndarray:
        """Score all sequences, up to their last targets."""
        return scores[examples.target_offsets[1:] - 1]


@dataclass(frozen=True)
class TransitionSurprisal(StaticDifficulty):
    """How seldom the target follows the item before it, ``-log((c(j, y) + kappa p(y)) / (c(j) + kappa))``.

    ``c`` counts transitions of the training part, the target's own among them, and ``p`` is the share of the targets
    that an item is, smoothed by one.

    Args:
        kappa: Weight of ``p`` against the counts, above 0; without end it leaves ``-log p(y)`` alone.

    Source: ours; a bigram model with Dirichlet smoothing.
    """

    kappa: float = 10.0

    def __post_init__(self) -> None:
        check_ranges(self, "curriculum.difficulty", {"kappa": POSITIVE})

    def of_targets(self, examples: Examples) -> np.ndarray:
        """Score all targets."""
        before, target = examples.inputs, examples.targets
        n_rows = int(max(before.max(), target.max())) + 1
        pairs = before.astype(np.int64) * n_rows + target
        _, inverse, count = np.unique(pairs, return_inverse=True, return_counts=True)
        share = np.exp(-rarity(examples, 1.0))[target]
        return -np.log(
            (count[inverse] + self.kappa * share) / (np.bincount(before, minlength=n_rows)[before] + self.kappa)
        )


@dataclass(frozen=True)
class TimeGap(StaticDifficulty):
    """How long the user was away before the target, ``log(1 + hours)``.

    Args:
        unit_seconds: Seconds in a unit of the data's timestamps; 0.001 for milliseconds.

    Source: ours.
    """

    BY_BLOCKS: ClassVar[bool] = True

    unit_seconds: float = 1.0

    def __post_init__(self) -> None:
        check_ranges(self, "curriculum.difficulty", {"unit_seconds": POSITIVE})

    def of_targets(self, examples: Examples) -> np.ndarray:
        """Score all targets."""
        if examples.gaps is None:
            raise OptionError("difficulty TimeGap needs timestamps, which these examples do not have")
        return np.log1p(examples.gaps * (self.unit_seconds / 3600))


@dataclass(frozen=True)
class Arrival(StaticDifficulty):
    """When the target happened: what came first is learnt first, as if the data arrived while the run goes on.

    A sequence is as late as its last target. With the unit ``target`` and a pacing, the share that is available is the
    share of the interactions that have arrived.

    Source: continual training as in StackRec (Wang et al., 2021), whose model grows as the data do.
    """

    BY_BLOCKS: ClassVar[bool] = True

    def of_targets(self, examples: Examples) -> np.ndarray:
        """Score all targets."""
        if examples.times is None:
            raise OptionError("difficulty Arrival needs timestamps, which these examples do not have")
        return examples.times

    def of_sequences(self, examples: Examples, scores: np.ndarray) -> np.ndarray:
        """Score all sequences."""
        return np.maximum.reduceat(scores, examples.target_offsets[:-1])


@dataclass(frozen=True)
class HistoryDistance(StaticDifficulty):
    """How unlike the history the target is, ``1 - max cos(target, item)`` over the items before it.

    Item vectors are the singular vectors of the sequences' items, so that items of the same users are alike.

    Args:
        width: Size of the vectors, at least 1; cut to what the data allow.

    Source: ours.
    """

    width: int = 64

    def __post_init__(self) -> None:
        check_ranges(self, "curriculum.difficulty", {"width": at_least(1)})

    def of_targets(self, examples: Examples) -> np.ndarray:
        """Score all targets."""
        vectors = item_vectors(examples, self.width)
        distances = []
        for bucket in examples.buckets:
            history, target = bucket.arrays["history"], bucket.arrays["target"]
            distance = np.empty(target.shape)
            rows = max(1, 2**22 // target.shape[1] ** 2)
            causal = np.tril(np.ones((target.shape[1],) * 2, bool))
            for begin in range(0, len(target), rows):
                part = slice(begin, begin + rows)
                # The last item of a row has no successor and stands in no history; what precedes a target is known.
                cosine = np.einsum("btd,bsd->bts", vectors[target[part]], vectors[history[part]], optimize=True)
                distance[part] = 1 - np.where(causal & (history[part] > 0)[:, None], cosine, -np.inf).max(axis=2)
            distances.append(distance)
        return np.round(examples.collect_targets(distances), 9)  # what differs by rounding errors is equal


@dataclass(frozen=True)
class HistoryEntropy(StaticDifficulty):
    """How mixed the items before the target are, the entropy of their clusters.

    Args:
        clusters: Groups of items by their vectors (:class:`HistoryDistance`), at least 2; cut to what the data allow.
        seed: Decides the clusters' first centres.

    Source: ours.
    """

    clusters: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        check_ranges(self, "curriculum.difficulty", {"clusters": at_least(2)})

    def of_targets(self, examples: Examples) -> np.ndarray:
        """Score all targets."""
        vectors = item_vectors(examples, 64)
        known = np.flatnonzero(np.abs(vectors).sum(axis=1) > 0)
        n_clusters = min(self.clusters, len(known))
        cluster = np.zeros(len(vectors), np.int64)
        cluster[known] = kmeans2(vectors[known], n_clusters, minit="++", seed=np.random.default_rng(self.seed))[1]
        return entropy_so_far(cluster[examples.inputs], examples)


def entropy_so_far(group: np.ndarray, examples: Examples) -> np.ndarray:
    """Compute the entropy of the groups of each target's history.

    With ``n_c`` of ``t`` items in group ``c`` it is ``log t - sum n_c log n_c / t``, and one item more in a group of
    ``m`` adds ``(m + 1) log(m + 1) - m log m`` to the sum.

    Args:
        group: int ``[n_targets]``, the group of the item before each target.
        examples: Owns the targets.
    """
    sequence = np.repeat(np.arange(len(examples)), np.diff(examples.target_offsets))
    order = np.lexsort((np.arange(len(group)), group, sequence))  # within one sequence and group, oldest first
    same = np.concatenate([[False], (np.diff(group[order]) == 0) & (np.diff(sequence[order]) == 0)])
    begin = np.maximum.accumulate(np.where(same, 0, np.arange(len(group))))
    earlier = np.empty(len(group))
    earlier[order] = np.arange(len(group)) - begin
    added = (earlier + 1) * np.log(earlier + 1) - earlier * np.log(np.maximum(earlier, 1))
    t = 1.0 + place_in_sequence(examples)
    return np.log(t) - running_sum(added, examples) / t


def place_in_sequence(examples: Examples) -> np.ndarray:
    """Number the targets of each sequence from 0, int64 ``[n_targets]``."""
    begin = np.repeat(examples.target_offsets[:-1], np.diff(examples.target_offsets))
    return np.arange(len(examples.targets)) - begin


def running_sum(values: np.ndarray, examples: Examples) -> np.ndarray:
    """Add up the values of each sequence's targets, each with those before it, float64 ``[n_targets]``."""
    total = np.cumsum(values, dtype=np.float64)
    before = total[examples.target_offsets[:-1]] - values[examples.target_offsets[:-1]]
    return total - np.repeat(before, np.diff(examples.target_offsets))


def rarity(examples: Examples, alpha: float) -> np.ndarray:
    """Compute ``-log((n + alpha) / (sum n + alpha * n_items))`` of every item, float64 ``[n_items + 1]``.

    Raises:
        OptionError: The examples have no item counts.
    """
    if examples.item_counts is None:
        raise OptionError("this difficulty needs item counts, which these examples do not have")
    counts = examples.item_counts.astype(np.float64)
    return -np.log((counts + alpha) / (counts.sum() + alpha * (len(counts) - 1)))


def item_vectors(examples: Examples, width: int) -> np.ndarray:
    """Compute item vectors of length 1 from which sequences hold which items, float64 ``[n_items + 1, width]``.

    They are the leading right singular vectors, times the singular values, of the matrix of sequences by items with
    entries 0 and 1; an item in no sequence has the vector 0.
    """
    n_targets = np.diff(examples.target_offsets)
    first = examples.inputs[examples.target_offsets[:-1]]
    item = np.concatenate([examples.targets, first]).astype(np.int64)
    sequence = np.concatenate([np.repeat(np.arange(len(examples)), n_targets), np.arange(len(examples))])
    n_rows = int(item.max()) + 1 if examples.item_counts is None else len(examples.item_counts)
    pairs = np.unique(sequence * n_rows + item)
    held = csr_array((np.ones(len(pairs)), np.divmod(pairs, n_rows)), shape=(len(examples), n_rows))
    width = min(width, min(held.shape) - 1)
    if width < 1:
        raise OptionError("this difficulty needs at least two sequences and two items")
    _, values, right = svds(held, k=width, v0=np.ones(min(held.shape)), random_state=0)
    vectors = (values[:, None] * right).T
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(length > 1e-9, vectors / np.maximum(length, 1e-9), 0.0)
