"""Several models as one (host and device): the average of their scores or of their ranks, evaluated and recommended.

What is averaged is looked at among the candidates of a question alone, so that neither the unit of a model's scores nor
how it scores what the user has seen makes a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from flax import nnx
from jaxtyping import Array, Bool, Float, Int32

from curriculum_rec.data.interactions import Interactions
from curriculum_rec.data.padded import by_width, pad_left_aligned
from curriculum_rec.data.splits import EvaluationRows
from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.evaluator import Ranking
from curriculum_rec.evaluation.questions import LeftOut
from curriculum_rec.evaluation.scoring import fold, target_ranks, top_items
from curriculum_rec.inference.recommend import asked_users, history_vectors, list_frame, no_lists
from curriculum_rec.inference.trained import TrainedRun, check_same_data
from curriculum_rec.models.contract import Recommender, ScoresItems
from curriculum_rec.models.items import is_candidate
from curriculum_rec.models.structure import Tree, join_model

Rule = Literal["mean", "borda"]
"""``mean``: a model's scores less their mean over a question's candidates, over their standard deviation there; then
the mean over the models. ``borda``: the mean over the models of how many candidates an item stands before, a tie being
half of that (de Borda, 1781)."""

SCORES = 2**24
"""Scores of one model that are held at once."""

BATCHES = 64
"""Batches that one call to the device answers."""


@dataclass(frozen=True)
class Member:
    """One model of an ensemble.

    Attributes:
        structure: Its static structure.
        params: Its parameters.
        max_length: Longest history that it takes; of longer ones the most recent part is used.
        lengths: Lengths to which histories are padded.
    """

    structure: nnx.GraphDef
    params: Tree
    max_length: int
    lengths: tuple[int, ...]

    def queries(self, rows: EvaluationRows) -> Callable[[np.ndarray], np.ndarray]:
        """Give by row numbers what scores come from: a vector each, or histories for a model that scores by itself."""
        if isinstance(join_model(self.structure, self.params), ScoresItems):
            return lambda chosen: _widened(
                pad_left_aligned(rows.items, rows.start[chosen], rows.stop[chosen], int(rows.lengths[chosen].max()))
            )
        return history_vectors(
            self.structure,
            self.params,
            rows.items,
            rows.start,
            rows.stop,
            timestamp=rows.timestamp,
            max_length=self.max_length,
            lengths=self.lengths,
            users=rows.user,
        ).__getitem__


@dataclass(frozen=True)
class Ensemble:
    """Models that number items alike, as one.

    Args:
        members: The models, at least two.
        rule: How they are averaged.
    """

    members: tuple[Member, ...]
    rule: Rule = "mean"

    def __post_init__(self) -> None:
        if len(self.members) < 2:
            raise OptionError("an ensemble needs at least two runs")
        if self.rule not in ("mean", "borda"):
            raise OptionError(f"ensemble={self.rule}: it must be one of mean, borda")
        sizes = {join_model(each.structure, each.params).n_items for each in self.members}
        if len(sizes) > 1:
            raise OptionError(f"models of an ensemble must know the same items; these know {sorted(sizes)} of them")

    @classmethod
    def of(cls, runs: Sequence[TrainedRun], rule: Rule = "mean") -> Ensemble:
        """Make one of runs.

        Args:
            runs: The runs.
            rule: How they are averaged.

        Raises:
            RunError: They were not trained on the same data, split alike.
            OptionError: They do not rank items.
        """
        check_same_data(runs)
        members = []
        for run in runs:
            examples = run.experiment.for_items("an ensemble").examples
            members.append(Member(*run.model(), examples.max_length, examples.bucket_lengths))
        return cls(tuple(members), rule)

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        return join_model(self.members[0].structure, self.members[0].params).n_items

    def answers(self, ranking: Ranking) -> np.ndarray:
        """Answer the questions of an evaluator, as a model does.

        Args:
            ranking: What is asked; its answers are measured by the same evaluator.
        """
        questions, k = ranking.evaluation.questions, ranking.judge.n_listed
        not_listed = questions.not_listed
        rank = self._of_batches(
            questions.rows,
            {
                "target": lambda rows: questions.rows.target[rows],
                "seen": lambda rows: not_listed.padded(questions.question[rows]),
            },
            lambda scores, batch: target_ranks(scores, batch["target"], batch["seen"], n_items=self.n_items),
        )[0].astype(np.float64)
        if not k:
            return ranking.judge.with_lists(rank, None)
        lists = self._of_batches(
            questions.asked,
            {"seen": not_listed.padded},
            lambda scores, batch: top_items(scores, batch["seen"], n_items=self.n_items, k=k),
        )[0]
        return ranking.judge.with_lists(rank, lists)

    def recommend(
        self, interactions: Interactions, *, k: int, users: list[str] | None = None, filter_seen: bool = True
    ) -> pl.DataFrame:
        """Recommend items after each user's whole history.

        Args:
            interactions: The histories and the id maps.
            k: Items a user, at most; fewer where fewer are candidates.
            users: Original ids, in the wanted order; None means all users.
            filter_seen: Whether items of the history are left out.

        Returns:
            Columns ``user``, ``rank`` (from 1), ``item`` (original ids) and ``score``, user by user.

        Raises:
            OptionError: ``k`` is larger than the catalogue.
            DataError: A user is unknown.
        """
        codes, start, stop, n_seen = asked_users(interactions, users, k=k, filter_seen=filter_seen)
        if not len(codes):
            return no_lists(interactions)
        zeros = np.zeros(len(codes), np.int32)
        rows = EvaluationRows(
            codes.astype(np.int32), zeros, start, stop, interactions.item, timestamp=interactions.timestamp
        )
        row = np.repeat(np.arange(len(codes)), n_seen)
        place = np.arange(len(row)) - np.repeat(np.cumsum(n_seen) - n_seen - start, n_seen)
        seen = LeftOut.of(row, interactions.item[place], len(codes))

        def top(scores: Array, batch: dict[str, Array]) -> tuple[Array, Array]:
            item = top_items(scores, batch["seen"], n_items=self.n_items, k=k)
            score = jnp.where(item > 0, jnp.take_along_axis(scores, item, axis=1), -jnp.inf)
            return score, item

        score, item = self._of_batches(rows, {"seen": seen.padded}, top)
        return list_frame(interactions, codes, score, item)

    def _of_batches(
        self,
        rows: EvaluationRows,
        arrays: Mapping[str, Callable[[np.ndarray], np.ndarray]],
        answer: Callable[[Array, dict[str, Array]], Any],
    ) -> list[np.ndarray]:
        """Ask about rows, some at a time.

        Args:
            rows: The histories.
            arrays: What ``answer`` needs, by the numbers of rows; among it ``seen``, what is no candidate.
            answer: Makes the answer of a batch of the ensemble's scores.

        Returns:
            Its arrays, one entry a row.
        """
        queries = [member.queries(rows) for member in self.members]
        params = tuple(member.params for member in self.members)
        structures = tuple(member.structure for member in self.members)
        ask = jax.jit(partial(_answer, structures=structures, answer=answer, rule=self.rule))
        asked, found = [], []
        for _, chosen in by_width(rows.lengths, (max(member.max_length for member in self.members),)):
            size = max(8, min(256, SCORES // (self.n_items + 1) // 8 * 8, -(-len(chosen) // 8) * 8))
            for begin in range(0, len(chosen), size * BATCHES):
                block = chosen[begin : begin + size * BATCHES]
                folded = {name: fold(_widened(of_rows(block)), size) for name, of_rows in arrays.items()}
                answers = ask(params, tuple(fold(of_rows(block), size) for of_rows in queries), folded)
                asked.append(block)
                found.append(
                    [np.asarray(each).reshape(-1, *each.shape[2:])[: len(block)] for each in jax.tree.leaves(answers)]
                )
        order = np.argsort(np.concatenate(asked))
        return [np.concatenate(parts)[order] for parts in zip(*found, strict=True)]


def _widened(array: np.ndarray) -> np.ndarray:
    """Fill rows up with zeros to a power of two, so that few shapes are compiled."""
    if array.ndim == 1:
        return array
    width = array.shape[1]
    return np.pad(array, ((0, 0), (0, (1 << max(width - 1, 0).bit_length()) - width)))


def _answer(
    params: Sequence[Tree],
    queries: tuple[Array, ...],
    arrays: dict[str, Array],
    *,
    structures: Sequence[nnx.GraphDef],
    answer: Callable[[Array, dict[str, Array]], Any],
    rule: Rule,
) -> Any:
    models = [join_model(*pair) for pair in zip(structures, params, strict=True)]
    n_items = models[0].n_items
    scorers = [_scorer(model) for model in models]

    def one_batch(batch: tuple[tuple[Array, ...], dict[str, Array]]) -> Any:
        queries, arrays = batch
        seen = arrays["seen"]
        candidate = jnp.broadcast_to(is_candidate(n_items + 1, n_items), (len(seen), n_items + 1))
        candidate = candidate.at[jnp.arange(len(seen), dtype=jnp.int32)[:, None], seen].set(False)
        scores = [score(query)[:, : n_items + 1] for score, query in zip(scorers, queries, strict=True)]
        return answer(average(scores, candidate, rule), arrays)

    return jax.lax.map(one_batch, (queries, arrays))


def _scorer(model: Recommender | ScoresItems) -> Callable[[Array], Array]:
    if isinstance(model, ScoresItems):
        return model.score_items
    vectors = model.item_vectors()
    return lambda queries: queries @ vectors.T


def average(
    scores: Sequence[Float[Array, "batch rows"]], candidate: Bool[Array, "batch rows"], rule: Rule
) -> Float[Array, "batch rows"]:
    """Average models' scores, or the places that these give.

    Args:
        scores: Of each model, ``[batch, rows]``.
        candidate: Which items are compared, ``[batch, rows]``; what comes out for others means nothing.
        rule: How.

    Returns:
        float32 ``[batch, rows]``, higher is better.

    >>> scores = [jnp.array([[0.0, 1.0, 2.0]]), jnp.array([[0.0, 30.0, 10.0]])]
    >>> average(scores, jnp.array([[False, True, True]]), "mean")[0, 1:].tolist()
    [0.0, 0.0]
    >>> average(scores, jnp.array([[True, True, True]]), "borda").tolist()
    [[0.0, 1.5, 1.5]]
    """
    one = {"mean": _standardised, "borda": _points}[rule]
    total = sum((one(each.astype(jnp.float32), candidate) for each in scores[1:]), one(scores[0], candidate))
    return total / len(scores)


def _standardised(scores: Float[Array, "batch rows"], candidate: Bool[Array, "batch rows"]) -> Array:
    """Give how many standard deviations each score lies above the mean of the candidates; 0 where all are alike."""
    scores = scores.astype(jnp.float32)
    n = jnp.maximum(candidate.sum(axis=1, keepdims=True), 1)
    mean = jnp.where(candidate, scores, 0).sum(axis=1, keepdims=True) / n
    apart = scores - mean
    spread = jnp.sqrt(jnp.where(candidate, apart**2, 0).sum(axis=1, keepdims=True) / n)
    return jnp.where(spread > 0, apart / jnp.where(spread > 0, spread, 1), jnp.where(jnp.isnan(spread), spread, 0))


def _points(scores: Float[Array, "batch rows"], candidate: Bool[Array, "batch rows"]) -> Array:
    """Count the candidates below each item, and those level with it as a half; exact up to 8 million items."""
    lowest = jnp.finfo(jnp.float32).min
    kept = jnp.where(jnp.isnan(scores), lowest, jnp.maximum(scores.astype(jnp.float32), lowest))
    kept = jnp.where(candidate, kept, -jnp.inf)

    def of_row(row: Float[Array, " rows"], n_others: Int32[Array, ""]) -> Float[Array, " rows"]:
        ordered = jnp.sort(row)
        below = jnp.searchsorted(ordered, row, side="left") + jnp.searchsorted(ordered, row, side="right")
        return (below - 2 * n_others - 1).astype(jnp.float32) / 2

    return jax.vmap(of_row)(kept, (~candidate).sum(axis=1, dtype=jnp.int32))
