"""From ranks and lists to numbers (host): metrics of questions, of users, and of all lists together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation import list_metrics
from curriculum_rec.evaluation.intervals import bootstrap_interval, ratio_interval
from curriculum_rec.evaluation.item_facts import ItemFacts
from curriculum_rec.evaluation.metric_names import OF_EXPOSURE, Name, parse_metric
from curriculum_rec.evaluation.metrics import METRICS, Places, question_auc, user_means
from curriculum_rec.evaluation.mostpop import most_popular_lists, most_popular_ranks
from curriculum_rec.evaluation.questions import Questions

EXPOSURE: Mapping[str, Callable[[np.ndarray], float]] = {
    "coverage": list_metrics.coverage,
    "gini": list_metrics.gini,
    "entropy": list_metrics.entropy,
}


@dataclass(frozen=True)
class Judge:
    """Measures answers to fixed questions.

    Answers are float64: ``[m]``, the rank of each row's relevant item among all candidates, the same for all that is
    tied; or, where a metric needs lists, ``[m, 1 + k]``, behind the rank the list of the row's question.

    Args:
        names: The metrics.
        questions: What is asked.
        facts: What is known of items.
    """

    names: tuple[str, ...]
    questions: Questions
    facts: ItemFacts

    @cached_property
    def parsed(self) -> tuple[Name, ...]:
        """The names taken apart."""
        return tuple(map(parse_metric, self.names))

    @property
    def n_listed(self) -> int:
        """How long lists must be; 0 where ranks are enough."""
        return max((name.k or 0 for name in self.parsed if name.needs_lists), default=0)

    @cached_property
    def _popular_ranks(self) -> np.ndarray:
        questions = self.questions
        return most_popular_ranks(
            self.facts.counts, questions.rows, filter_seen=questions.filter_seen, left_out=questions.left_out
        )

    def most_popular(self) -> np.ndarray:
        """Give MostPop's answers."""
        if not self.n_listed:
            return self._popular_ranks
        lists = most_popular_lists(self.facts.counts, self.questions.not_listed, self.n_listed)
        return np.column_stack([self._popular_ranks, lists[self.questions.question]])

    def with_lists(self, rank: np.ndarray, lists: np.ndarray | None) -> np.ndarray:
        """Make answers of ranks and of one list a question."""
        return rank if lists is None else np.column_stack([rank, lists[self.questions.question]])

    def places_of_rows(self, rank: np.ndarray) -> np.ndarray:
        """Give each row's place, which no other relevant item of its question has."""
        if self.questions.one_each:
            return rank
        places = Places.of(rank, self.questions.question)
        by_row = np.empty(len(rank))
        by_row[places.order] = places.place
        return by_row

    def of_questions(self, answers: np.ndarray, *, rows: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Give each metric of each question, float64 ``[q]``; metrics of all lists together are not among them.

        Args:
            answers: The answers.
            rows: Which relevant items count, bool ``[m]``; the questions that have none of them are left out, and so
                are metrics of lists where they would not be about those items. None takes all.
        """
        sample = _Sample(self, answers, rows)
        return {
            str(name): sample.values(name)
            for name in self.parsed
            if name.kind not in OF_EXPOSURE and not (rows is not None and name.needs_lists)
        }

    def quality(self, answers: np.ndarray, *, rows: np.ndarray | None = None) -> dict[str, float]:
        """Average each metric over a user's questions and then over users; ``gauc`` over relevant items.

        Args:
            answers: The answers.
            rows: As in :meth:`of_questions`.
        """
        found = self.of_questions(answers, rows=rows)
        sample = _Sample(self, answers, rows)
        result = {}
        for name in self.parsed:
            if name.kind in OF_EXPOSURE and rows is None:
                lists = sample.lists[:, : name.k]
                shown = list_metrics.exposure(lists, self.facts.split.interactions.n_items)
                result[str(name)] = EXPOSURE[name.kind](shown)
            elif str(name) in found:
                above, below = sample.of_users(name, found[str(name)])
                result[str(name)] = _ratio(above, below)
        return result

    def intervals(
        self, answers: np.ndarray, *, rows: np.ndarray | None = None, level: float = 0.95, seed: int = 0
    ) -> dict[str, tuple[float, float] | None]:
        """Give bootstrap intervals over users; None for what has no value of each user, and for fewer than two users.

        Args:
            answers: The answers.
            rows: As in :meth:`of_questions`.
            level: How often such intervals shall hold the true value.
            seed: Decides what is resampled.
        """
        sample = _Sample(self, answers, rows)
        result: dict[str, tuple[float, float] | None] = {}
        for name, values in self.of_questions(answers, rows=rows).items():
            above, below = sample.of_users(parse_metric(name), values)
            if len(above) < 2:
                result[name] = None
            elif below is None:
                result[name] = bootstrap_interval(above, level=level, seed=seed)
            else:
                result[name] = ratio_interval(above, below, level=level, seed=seed)
        return result

    def of_users(self, answers: np.ndarray, name: str) -> np.ndarray:
        """Give a metric of each user, in ascending order of their codes.

        Raises:
            OptionError: It has no value of each user.
        """
        found = self.of_questions(answers)
        if name not in found:
            raise OptionError(f"{name} has no value of each user")
        return user_means(found[name], self.questions.user)


@dataclass(frozen=True)
class _Sample:
    """The relevant items that count, with their answers."""

    judge: Judge
    answers: np.ndarray
    rows: np.ndarray | None

    @cached_property
    def places(self) -> Places:
        rank = self.answers if self.answers.ndim == 1 else self.answers[:, 0]
        questions = self.judge.questions
        places = Places.of(rank, None if questions.one_each else questions.question)
        return places if self.rows is None else places.among(self.rows)

    @cached_property
    def asked(self) -> np.ndarray:
        """The questions that are left, in order."""
        return self.judge.questions.question[self.places.order[self.places.first]]

    @cached_property
    def user(self) -> np.ndarray:
        return self.judge.questions.user[self.asked]

    @cached_property
    def lists(self) -> np.ndarray:
        """The list of each question, int64 ``[q, k]``."""
        return self.answers[self.judge.questions.first[self.asked], 1:].astype(np.int64)

    def values(self, name: Name) -> np.ndarray:
        """Give a metric of each question."""
        facts, k = self.judge.facts, name.k or 0
        if name.kind in METRICS:
            return METRICS[name.kind](self.places, k)
        if name.k is None:
            questions = self.judge.questions
            n_others = facts.split.interactions.n_items - questions.n_left_out - questions.n_relevant
            return question_auc(self.places, n_others[self.asked])
        if name.kind in ("serendipity", "calibration"):
            return self._serendipity(k) if name.kind == "serendipity" else self._calibration(k)
        lists = self.lists[:, :k]
        if name.kind.startswith("diversity"):
            vectors = facts.group_vectors if name.kind == "diversity_groups" else facts.vectors
            return list_metrics.intra_list_diversity(lists, vectors)
        of_item = {"novelty": "self_information", "popularity": "counts", "tail_share": "tail"}[name.kind]
        return list_metrics.list_mean(lists, getattr(facts, of_item))

    def _serendipity(self, k: int) -> np.ndarray:
        """Give the share of the k places that hold a relevant item which MostPop's first k do not hold.

        Source: Ge, Delgado-Battenfeld and Jannach (2010), with MostPop as the primitive model.
        """
        popular = self.judge.places_of_rows(self.judge._popular_ranks)  # noqa: SLF001 - beside each other
        unexpected = popular[self.places.order] > k
        return self.places.total(self.places.found(k) * unexpected) / k

    def _calibration(self, k: int) -> np.ndarray:
        rows, groups = self.judge.questions.asked, self.judge.facts.groups
        lists = self.lists[:, :k]
        n, result = len(lists), np.empty(len(lists))
        step = max(1, list_metrics.STEP // max(int(rows.lengths.max(initial=1)), groups.shape[1]))
        for begin in range(0, n, step):
            asked = self.asked[begin : begin + step]
            lengths = rows.lengths[asked]
            row = np.repeat(np.arange(len(asked)), lengths)
            within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            history = rows.items[np.repeat(rows.start[asked], lengths) + within]
            own = list_metrics.group_shares(row, history, groups, len(asked))
            block = lists[begin : begin + step]
            listed = list_metrics.group_shares(
                np.repeat(np.arange(len(block)), block.shape[1]), block.reshape(-1), groups, len(block)
            )
            result[begin : begin + step] = list_metrics.miscalibration(own, listed)
        return result

    def of_users(self, name: Name, values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Give what is averaged over users: their means; of ``gauc`` their sums and their numbers of relevant items."""
        known = ~np.isnan(values)
        if name.kind == "gauc":
            _, row = np.unique(self.user[known], return_inverse=True)
            n = self.places.n[known].astype(np.float64)
            return np.bincount(row, values[known] * n), np.bincount(row, n)
        return user_means(values[known], self.user[known]), None


def _ratio(above: np.ndarray, below: np.ndarray | None) -> float:
    if not len(above):
        return float("nan")
    return float(above.mean()) if below is None else float(above.sum() / below.sum())
