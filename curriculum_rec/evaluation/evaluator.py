"""Full ranking (host and device): the target's rank among all items, by counting and without a sort."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from flax import nnx
from jaxtyping import Array, Float, Int32

from curriculum_rec.data.examples import BATCH_MULTIPLE, USER, SequenceExamples, bucket_lengths
from curriculum_rec.data.padded import pad_left_aligned
from curriculum_rec.data.splits import EvaluationRows, Part, Split
from curriculum_rec.data.task import Task
from curriculum_rec.data.times import history_times
from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.contract import DeviceSplit, Reference
from curriculum_rec.evaluation.metrics import METRICS, mean_metrics, parse_metric, user_metrics
from curriculum_rec.evaluation.mostpop import most_popular_ranks, seen_pairs
from curriculum_rec.models.contract import Recommender, ScoresItems, needs_time
from curriculum_rec.models.items import is_candidate
from curriculum_rec.models.queries import user_vectors
from curriculum_rec.models.structure import Tree, join_model
from curriculum_rec.ranges import POSITIVE, check_ranges


@dataclass(frozen=True)
class FullRanking:
    """Options of evaluation: every target is ranked among all items of the catalogue.

    Args:
        k: Cut-offs; every metric is reported at each.
        metric: The metric that decides which checkpoint is best and when a plateau is reached.
        filter_seen: Whether items of the user's history are no candidates (the target always is one).
        every_epochs: Passes over the full data between two evaluations; a stage's end is evaluated in any case.
        batch_size: Users scored at once; memory grows with it, not the result. A multiple of 8.
    """

    TASK: ClassVar[Task] = "next_item"

    k: tuple[int, ...] = (5, 10, 20)
    metric: str = "ndcg@10"
    filter_seen: bool = True
    every_epochs: float = 1.0
    batch_size: int = 128

    def __post_init__(self) -> None:
        if not self.k or min(self.k) < 1:
            raise OptionError(f"evaluation.k={list(self.k)}: it needs at least one cut-off, each at least 1")
        if parse_metric(self.metric)[1] not in self.k:
            raise OptionError(f"evaluation.metric={self.metric}: its cut-off is not in evaluation.k={list(self.k)}")
        check_ranges(self, "evaluation", {"every_epochs": POSITIVE})
        if self.batch_size < 8 or self.batch_size % 8:
            raise OptionError(f"evaluation.batch_size={self.batch_size}: it must be a multiple of 8")

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of all metrics at all cut-offs."""
        return tuple(f"{name}@{k}" for name in METRICS for k in self.k)

    def check(self, data: Split) -> None:
        """Refuse cut-offs beyond the catalogue."""
        self.check_catalogue(data.interactions.n_items)

    def check_catalogue(self, n_items: int) -> None:
        """Refuse cut-offs beyond the catalogue.

        Raises:
            OptionError: A cut-off is larger than the number of items.
        """
        if max(self.k) > n_items:
            raise OptionError(f"evaluation.k={max(self.k)} is larger than the catalogue of {n_items} items: lower it")

    def on(
        self, data: Split, part: Part, examples: SequenceExamples, placed: DeviceSplit, *, whole: bool = False
    ) -> Ranking:
        """Prepare to rank the targets of a part.

        Args:
            data: The split.
            part: The part.
            examples: How long histories may be.
            placed: The devices.
            whole: Whether histories of any length are looked at, for a model whose shapes do not limit them.
        """
        rows = data.rows(part)
        longest = max(int(rows.lengths.max(initial=1)), 1) if whole else examples.max_length
        return Ranking(Evaluation(self, rows, longest, examples.bucket_lengths, placed), data, part)


@dataclass
class Evaluation:
    """Ranks the targets of fixed rows with any state of a model; compiled once a bucket and depth.

    Args:
        options: The evaluation's options.
        rows: The evaluation rows.
        max_length: Longest history that the model takes; of longer ones the most recent part is used.
        lengths: Lengths to which histories are padded.
        placed: Puts arrays on the devices.
    """

    options: FullRanking
    rows: EvaluationRows
    max_length: int
    lengths: tuple[int, ...]
    placed: DeviceSplit

    @cached_property
    def _batches(self) -> list[tuple[np.ndarray, dict[str, Array]]]:
        """Per bucket the row numbers, and arrays ``[n_batches, batch, ...]`` on the devices."""
        rows, batches = self.rows, []
        used = np.minimum(rows.lengths, self.max_length)
        lengths = bucket_lengths(self.lengths, self.max_length)
        bucket_of = np.searchsorted(lengths, used)
        seen = _SeenItems(rows) if self.options.filter_seen else None
        for number, length in enumerate(lengths):
            chosen = np.flatnonzero(bucket_of == number)
            if not len(chosen):
                continue
            multiple = math.lcm(BATCH_MULTIPLE, self.placed.n_shards)
            size = -(-min(self.options.batch_size, len(chosen)) // multiple) * multiple
            arrays = {
                "history": pad_left_aligned(rows.items, rows.stop[chosen] - used[chosen], rows.stop[chosen], length),
                "target": rows.target[chosen],
                USER: rows.user[chosen],
                "seen": np.zeros((len(chosen), 0), np.int32) if seen is None else seen.padded(chosen),
            }
            folded = {name: self.placed.split(fold(array, size), 1) for name, array in arrays.items()}
            batches.append((chosen, folded))
        return batches

    @cached_property
    def _timed_batches(self) -> list[tuple[np.ndarray, dict[str, Array]]]:
        """The batches, and when each item of a history came."""
        batches = []
        for chosen, arrays in self._batches:
            _, size, length = arrays["history"].shape
            start, stop = self.rows.start[chosen], self.rows.stop[chosen]
            time = history_times(self.rows.timestamp, np.maximum(start, stop - length), stop, length)
            batches.append((chosen, arrays | {"time": self.placed.split(fold(time, size), 1)}))
        return batches

    def ranks(self, structure: nnx.GraphDef, params: Tree) -> np.ndarray:
        """Rank every target.

        Args:
            structure: The model's static structure.
            params: Its parameters.

        Returns:
            float64 ``[m]``, from 1; ties count as the mean rank over the tied block.
        """
        batches = self._timed_batches if needs_time(join_model(structure, params)) else self._batches
        pending = [(chosen, _rank_batches(structure, params, arrays)) for chosen, arrays in batches]
        ranks = np.empty(len(self.rows), np.float64)
        for chosen, rank in pending:
            ranks[chosen] = self.placed.fetch(rank).astype(np.float64).reshape(-1)[: len(chosen)]
        return ranks


@dataclass(frozen=True)
class Ranking:
    """An :class:`Evaluation` as an :class:`~curriculum_rec.evaluation.contract.Evaluator`, whose answers are ranks.

    Args:
        evaluation: Ranks the targets.
        split: The data.
        part: The part that the targets are of.
    """

    evaluation: Evaluation
    split: Split
    part: Part

    def __len__(self) -> int:
        return len(self.evaluation.rows)

    def answers(self, structure: nnx.GraphDef, params: Tree) -> np.ndarray:
        """Rank every target."""
        return self.evaluation.ranks(structure, params)

    def quality(self, answers: np.ndarray) -> dict[str, float]:
        """Average each metric over all targets."""
        return mean_metrics(answers, self.evaluation.options.metrics, user=self.evaluation.rows.user)

    def table(self, answers: np.ndarray) -> pl.DataFrame:
        """Give one row a target: ``user``, ``item``, ``rank`` and the metrics."""
        interactions, rows = self.split.interactions, self.evaluation.rows
        return pl.DataFrame(
            {
                "user": interactions.users.decode(rows.user),
                "item": interactions.items.decode(rows.target),
                "rank": answers,
                **user_metrics(answers, self.evaluation.options.metrics),
            }
        )

    def reference(self) -> Reference:
        """Measure MostPop, which knows what was there before the part."""
        options, counts = self.evaluation.options, self.split.item_counts(self.part)
        ranks = most_popular_ranks(counts, self.evaluation.rows, filter_seen=options.filter_seen)
        return Reference("mostpop", mean_metrics(ranks, options.metrics, user=self.evaluation.rows.user))


@jax.jit(static_argnums=0)
def _rank_batches(structure: nnx.GraphDef, params: Tree, arrays: dict[str, Array]) -> Float[Array, "batches batch"]:
    model: Recommender = join_model(structure, params)
    score = scorer(model)

    def one_batch(batch: dict[str, Array]) -> Float[Array, " batch"]:
        scores = score(batch)
        return target_ranks(scores, batch["target"], batch["seen"], n_items=model.n_items)

    return jax.lax.map(one_batch, arrays)


def scorer(model: Recommender | ScoresItems) -> Callable[[Mapping[str, Array]], Float[Array, "batch rows"]]:
    """Say how a model scores all items after each history of a batch; what all batches share is computed once."""
    if isinstance(model, ScoresItems):
        return lambda batch: model.score_items(batch["history"])
    vectors = model.item_vectors()
    return lambda batch: user_vectors(model, batch) @ vectors.T


def target_ranks(
    scores: Float[Array, "batch rows"],
    target: Int32[Array, " batch"],
    seen: Int32[Array, "batch seen"],
    *,
    n_items: int,
) -> Float[Array, " batch"]:
    """Rank targets by counting the candidates above and level with them, in one pass over the scores.

    Args:
        scores: ``[batch, rows]``; columns 0 and those beyond ``n_items`` are no candidates.
        target: int32 ``[batch]``.
        seen: int32 ``[batch, n]``, different items that are no candidates either, 0 where there are fewer; the target
            is not among them.
        n_items: Size of the catalogue.

    Returns:
        float32 ``[batch]``: ``1 + above + level / 2``.

    >>> scores = jnp.array([[9.0, 3.0, 2.0, 2.0, 1.0, 9.0]])
    >>> target_ranks(scores, jnp.array([3]), jnp.array([[1, 0]]), n_items=4).tolist()
    [1.5]
    """
    own = jnp.take_along_axis(scores, target[:, None], axis=1)

    def halves(others: Array) -> Array:
        # "not below or level" rather than "above": a score that is not a number must not win a place for the target.
        return jnp.where(others <= own, (others == own).astype(jnp.int32), 2)

    left_out = jnp.concatenate([target[:, None], seen], axis=1)
    less = jnp.where(left_out > 0, halves(jnp.take_along_axis(scores, left_out, axis=1)), 0)
    among_all = jnp.where(is_candidate(scores.shape[1], n_items)[None, :], halves(scores), 0)
    return 1 + (among_all.sum(axis=1) - less.sum(axis=1)).astype(jnp.float32) / 2


class _SeenItems:
    """The different items of every row's history."""

    def __init__(self, rows: EvaluationRows) -> None:
        row, self._items = seen_pairs(rows)
        self._offsets = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(rows)))])

    def padded(self, chosen: np.ndarray) -> np.ndarray:
        start, stop = self._offsets[chosen], self._offsets[chosen + 1]
        return pad_left_aligned(self._items, start, stop, max(int((stop - start).max()), 1))


def fold(array: np.ndarray, size: int) -> np.ndarray:
    """Cut a leading axis into batches, the last one filled up with zeros.

    >>> fold(np.array([1, 2, 3]), 2).tolist()
    [[1, 2], [3, 0]]
    """
    missing = -len(array) % size
    filled = np.concatenate([array, np.zeros((missing, *array.shape[1:]), array.dtype)])
    return filled.reshape(len(filled) // size, size, *array.shape[1:])
