"""Full ranking (host and device): the target's rank among all items, by counting and without a sort."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, get_args

import jax
import numpy as np
import polars as pl
from flax import nnx
from jaxtyping import Array

from curriculum_rec.data.examples import BATCH_MULTIPLE, USER, SequenceExamples, bucket_lengths
from curriculum_rec.data.padded import by_width, pad_left_aligned
from curriculum_rec.data.splits import EvaluationRows, Part, Split
from curriculum_rec.data.task import Task
from curriculum_rec.data.times import history_times
from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.contract import DeviceSplit, Reference
from curriculum_rec.evaluation.item_facts import ItemFacts
from curriculum_rec.evaluation.judge import Judge
from curriculum_rec.evaluation.metric_names import NOT_HIGHER_IS_BETTER, OF_GROUPS, at_cut_offs, parse_metric
from curriculum_rec.evaluation.metrics import STANDARD
from curriculum_rec.evaluation.questions import LeftOut, Questions, Targets
from curriculum_rec.evaluation.scoring import fold, list_batches, rank_batches, target_ranks
from curriculum_rec.models.contract import needs_time
from curriculum_rec.models.structure import Tree, join_model
from curriculum_rec.ranges import POSITIVE, at_least, check_ranges, one_of

__all__ = ["Evaluation", "FullRanking", "Ranking", "fold", "target_ranks"]


@dataclass(frozen=True)
class FullRanking:
    """Options of evaluation: every target is ranked among all items of the catalogue.

    Args:
        k: Cut-offs; every metric is reported at each.
        metric: The metric that decides which checkpoint is best and when a plateau is reached.
        filter_seen: Whether items of the user's history are no candidates (the target always is one).
        every_epochs: Passes over the full data between two evaluations; a stage's end is evaluated in any case.
        batch_size: Users scored at once; memory grows with it, not the result. A multiple of 8.
        metrics: What is reported beside ``metric``, names without a cut-off (at each of ``k``) or with one; None takes
            hr, ndcg, mrr and recall.
        targets: ``each`` held-out item is a question after all that the user did before it, or all of a user's are one,
            ``together``, after what came before the first; None takes ``each``.
        item_chunk: Items scored at once, for large catalogues; it costs a second pass of products and leaves the result
            as it is. None takes all.
        groups: The column of the data with an item's groups, such as genres, for diversity_groups and calibration.
    """

    TASK: ClassVar[Task] = "next_item"

    k: tuple[int, ...] = (5, 10, 20)
    metric: str = "ndcg@10"
    filter_seen: bool = True
    every_epochs: float = 1.0
    batch_size: int = 128
    metrics: tuple[str, ...] | None = None
    targets: Targets | None = None
    item_chunk: int | None = None
    groups: str | None = None

    def __post_init__(self) -> None:
        if not self.k or min(self.k) < 1:
            raise OptionError(f"evaluation.k={list(self.k)}: it needs at least one cut-off, each at least 1")
        deciding = parse_metric(self.metric)
        if deciding.k is not None and deciding.k not in self.k:
            raise OptionError(f"evaluation.metric={self.metric}: its cut-off is not in evaluation.k={list(self.k)}")
        if deciding.kind in NOT_HIGHER_IS_BETTER:
            raise OptionError(
                f"evaluation.metric={self.metric}: what decides must be better when higher; report it by "
                "evaluation.metrics"
            )
        ranges = {
            "every_epochs": POSITIVE,
            "item_chunk": at_least(1).or_null(),
            "targets": one_of(*get_args(Targets)).or_null(),
        }
        check_ranges(self, "evaluation", ranges)
        if self.batch_size < 8 or self.batch_size % 8:
            raise OptionError(f"evaluation.batch_size={self.batch_size}: it must be a multiple of 8")
        self._check_groups()

    def _check_groups(self) -> None:
        of_groups = [name for name in self.metric_names if parse_metric(name).kind in OF_GROUPS]
        if of_groups and self.groups is None:
            raise OptionError(
                f"{of_groups[0]} needs to know an item's groups: name the column of the data by "
                "evaluation.groups=COLUMN, such as genres"
            )
        if self.groups is not None and not of_groups:
            raise OptionError(
                f"evaluation.groups={self.groups} has no effect without one of {', '.join(OF_GROUPS)} in "
                "evaluation.metrics"
            )

    @cached_property
    def metric_names(self) -> tuple[str, ...]:
        """Names of all metrics at all cut-offs, that which decides among them."""
        kinds = STANDARD if self.metrics is None else self.metrics
        return tuple(dict.fromkeys((*at_cut_offs(kinds, self.k), self.metric)))

    def asking(self, *, k: tuple[int, ...] | None = None, **changed: Any) -> FullRanking:
        """Ask otherwise, of a model that is trained: the deciding metric follows the cut-offs.

        Args:
            k: Other cut-offs; None keeps them.
            changed: Other values of fields.
        """
        if k is not None:
            kind, at, _ = self.metric.partition("@")
            changed |= {"k": k, "metric": f"{kind}{at}{k[0]}" if at else kind}
        return replace(self, **changed)

    def check(self, data: Split) -> None:
        """Refuse cut-offs beyond the catalogue, and groups that the data do not have."""
        self.check_catalogue(data.interactions.n_items)
        if self.groups is not None:
            _ = ItemFacts(data, Part.VALIDATION, self.groups).groups

    def check_catalogue(self, n_items: int) -> None:
        """Refuse cut-offs beyond the catalogue.

        Raises:
            OptionError: A cut-off is larger than the number of items.
        """
        largest = max(*self.k, *(parse_metric(name).k or 0 for name in self.metric_names))
        if largest > n_items:
            raise OptionError(f"evaluation.k={largest} is larger than the catalogue of {n_items} items: lower it")

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
        evaluation = Evaluation(self, data.rows(part), examples.max_length, examples.bucket_lengths, placed, whole)
        return Ranking(evaluation, data, part)


Batches = list[tuple[np.ndarray, dict[str, Array]]]
"""Per group of rows of like lengths their numbers, and arrays ``[n_batches, batch, ...]`` on the devices."""


@dataclass
class Evaluation:
    """Ranks the targets of fixed rows with any state of a model; compiled once a group of rows and depth.

    Args:
        options: The evaluation's options.
        rows: The evaluation rows, one a held-out item, as a split lists them.
        max_length: Longest history that the model takes; of longer ones the most recent part is used.
        lengths: Lengths to which histories are padded.
        placed: Puts arrays on the devices.
        whole: Whether histories are used whole, though ``max_length`` is exceeded.
    """

    options: FullRanking
    rows: EvaluationRows
    max_length: int
    lengths: tuple[int, ...]
    placed: DeviceSplit
    whole: bool = False

    @cached_property
    def questions(self) -> Questions:
        """What is asked of the rows."""
        return Questions.of(self.rows, self.options.targets or "each", filter_seen=self.options.filter_seen)

    @cached_property
    def _batches(self) -> Batches:
        return self._lay_out(self.questions.rows, self.questions.left_out)

    @cached_property
    def _question_batches(self) -> Batches:
        """The same with one row a question, whose relevant items are all candidates."""
        if self.questions.one_each:
            return self._batches
        return self._lay_out(self.questions.asked, self.questions.not_listed)

    def _lay_out(self, rows: EvaluationRows, left_out: LeftOut) -> Batches:
        """Put rows on the devices, grouped by the longer of history and left-out items."""
        batches = []
        used = rows.lengths if self.whole else np.minimum(rows.lengths, self.max_length)
        sizes = np.maximum(used, np.diff(left_out.offsets))
        for width, chosen in by_width(sizes, bucket_lengths(self.lengths, self.max_length)):
            length = int(used[chosen].max()) if self.whole else min(width, self.max_length)
            multiple = math.lcm(BATCH_MULTIPLE, self.placed.n_shards)
            size = -(-min(self.options.batch_size, len(chosen)) // multiple) * multiple
            arrays = {
                "history": pad_left_aligned(rows.items, rows.stop[chosen] - used[chosen], rows.stop[chosen], length),
                "target": rows.target[chosen],
                USER: rows.user[chosen],
                "seen": left_out.padded(chosen) if len(left_out.row) else np.zeros((len(chosen), 0), np.int32),
            }
            folded = {name: self.placed.split(fold(array, size), 1) for name, array in arrays.items()}
            batches.append((chosen, folded))
        return batches

    @cached_property
    def _timed_batches(self) -> Batches:
        return self._with_times(self.questions.rows, self._batches)

    @cached_property
    def _timed_question_batches(self) -> Batches:
        return self._with_times(self.questions.asked, self._question_batches)

    def _with_times(self, rows: EvaluationRows, batches: Batches) -> Batches:
        """Add when each item of a history came."""
        timed = []
        for chosen, arrays in batches:
            _, size, length = arrays["history"].shape
            start, stop = rows.start[chosen], rows.stop[chosen]
            time = history_times(rows.timestamp, np.maximum(start, stop - length), stop, length)
            timed.append((chosen, arrays | {"time": self.placed.split(fold(time, size), 1)}))
        return timed

    def ranks(self, structure: nnx.GraphDef, params: Tree) -> np.ndarray:
        """Rank every relevant item among all candidates.

        Args:
            structure: The model's static structure.
            params: Its parameters.

        Returns:
            float64 ``[m]``, from 1; ties count as the mean rank over the tied block.
        """
        timed, chunk = needs_time(join_model(structure, params)), self.options.item_chunk
        found = self._ask(
            self._timed_batches if timed else self._batches,
            lambda arrays: rank_batches(structure, params, arrays, chunk),
        )
        return found.astype(np.float64)

    def lists(self, structure: nnx.GraphDef, params: Tree, k: int) -> np.ndarray:
        """List the ``k`` highest candidates of every question, int32 ``[q, k]``, 0 where there are fewer."""
        timed, chunk = needs_time(join_model(structure, params)), self.options.item_chunk
        return self._ask(
            self._timed_question_batches if timed else self._question_batches,
            lambda arrays: list_batches(structure, params, arrays, k, chunk),
        )

    def _ask(self, batches: Batches, ask: Callable[[dict[str, Array]], jax.Array]) -> np.ndarray:
        """Ask all batches, and put the answers in the order of the rows."""
        pending = [(chosen, ask(arrays)) for chosen, arrays in batches]
        answers: np.ndarray | None = None
        n_rows = sum(len(chosen) for chosen, _ in pending)
        for chosen, answer in pending:
            found = self.placed.fetch(answer)
            found = found.reshape(-1, *found.shape[2:])[: len(chosen)]
            answers = np.empty((n_rows, *found.shape[1:]), found.dtype) if answers is None else answers
            answers[chosen] = found
        return np.empty(0) if answers is None else answers


@dataclass(frozen=True)
class Ranking:
    """An :class:`Evaluation` as an :class:`~curriculum_rec.evaluation.contract.Evaluator`.

    Its answers are ranks, and lists beside them where a metric needs these (:class:`~.judge.Judge`).

    Args:
        evaluation: Ranks the targets.
        split: The data.
        part: The part that the targets are of.
    """

    evaluation: Evaluation
    split: Split
    part: Part

    def __len__(self) -> int:
        return len(self.evaluation.questions.rows)

    @cached_property
    def judge(self) -> Judge:
        """Makes numbers of the answers."""
        options = self.evaluation.options
        facts = ItemFacts(self.split, self.part, options.groups)
        return Judge(options.metric_names, self.evaluation.questions, facts)

    def answers(self, structure: nnx.GraphDef, params: Tree) -> np.ndarray:
        """Rank every target, and list what is on top where that is asked for."""
        ranks, k = self.evaluation.ranks(structure, params), self.judge.n_listed
        return self.judge.with_lists(ranks, self.evaluation.lists(structure, params, k) if k else None)

    def quality(self, answers: np.ndarray) -> dict[str, float]:
        """Average each metric over all targets."""
        return self.judge.quality(answers)

    def intervals(self, answers: np.ndarray) -> dict[str, tuple[float, float] | None]:
        """Give the 95 % bootstrap interval over users of each metric that has one."""
        return self.judge.intervals(answers)

    def table(self, answers: np.ndarray) -> pl.DataFrame:
        """Give one row a target: ``user``, ``item``, ``rank`` among all candidates, and the metrics of its question."""
        interactions, questions = self.split.interactions, self.evaluation.questions
        ranks = answers if answers.ndim == 1 else answers[:, 0]
        found = self.judge.of_questions(answers)
        return pl.DataFrame(
            {
                "user": interactions.users.decode(questions.rows.user),
                "item": interactions.items.decode(questions.rows.target),
                "rank": self.judge.places_of_rows(ranks),
                **{name: values[questions.question] for name, values in found.items() if name != "gauc"},
            }
        )

    def reference(self) -> Reference:
        """Measure MostPop, which knows what was there before the part."""
        return Reference("mostpop", self.judge.quality(self.judge.most_popular()))
