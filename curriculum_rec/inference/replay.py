"""A policy made of a run's model, on another policy's log (host and device): what it would have shown there."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from curriculum_rec.data.feedback import FeedbackLog
from curriculum_rec.data.interactions import Interactions
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.evaluation.off_policy import Feedback
from curriculum_rec.evaluation.policies import Policy
from curriculum_rec.evaluation.reward_model import ItemMeans
from curriculum_rec.inference.recommend import history_vectors
from curriculum_rec.models.structure import Tree, join_model

BLOCK = 2**22
"""Scores that are looked at together."""

Candidates = Literal["column", "log", "catalogue"]
"""What may be shown: a row's own column of candidates, all items that the log shows, or the whole catalogue."""


@dataclass(frozen=True)
class Replay:
    """Options of the look at a log.

    Args:
        policy: Turns scores into probabilities.
        candidates: What may be shown; None takes the log's column where it has one, else the items that it shows.
        filter_seen: Whether items of the user's history are no candidates.
        reward_model: Fitted to the log for the estimates that need a model; None leaves these out.
    """

    policy: Policy
    candidates: Candidates | None = None
    filter_seen: bool = True
    reward_model: ItemMeans | None = None

    def __call__(
        self,
        structure: nnx.GraphDef,
        params: Tree,
        interactions: Interactions,
        log: FeedbackLog,
        *,
        max_length: int,
        lengths: tuple[int, ...],
    ) -> tuple[Feedback, np.ndarray]:
        """Say what the policy would have done in every row of the log.

        A row's context is the user's history in the run's data: all of it, or, where both have timestamps, what came
        before the row. Rows of users without a history are left out, with a warning.

        Args:
            structure: The model's static structure.
            params: Its parameters.
            interactions: The histories and the id maps.
            log: The log, in the same codes.
            max_length: Longest history that the model takes.
            lengths: Lengths to which histories are padded.

        Returns:
            The feedback for the estimates, and of each row how much of the policy's probability falls on items that
            the log never shows.

        Raises:
            OptionError: The log has no column of candidates, and it is asked for.
            DataError: No user of the log has a history, or a row has no candidate.
        """
        source, n_items = self._source(log), interactions.n_items
        log, start, stop = with_history(interactions, log)
        context, inverse = np.unique(np.stack([start, stop]), axis=1, return_inverse=True)
        vectors = history_vectors(
            structure,
            params,
            interactions.item,
            *context,
            timestamp=interactions.timestamp,
            max_length=max_length,
            lengths=lengths,
            users=interactions.user[context[0]],
        )
        table = np.asarray(_item_vectors(structure, params))[: n_items + 1]
        shown = np.bincount(log.item, minlength=n_items + 1) > 0
        fold, means = np.zeros(len(log), np.int64), np.zeros((1, n_items + 1))
        if self.reward_model is not None:
            fold, means = self.reward_model.fit(log.user, log.item, log.reward, n_items=n_items)
        probability, unsupported, expected = (np.empty(len(log)) for _ in range(3))
        block = max(1, BLOCK // (n_items + 1))
        for begin in range(0, len(log), block):
            rows = np.arange(begin, min(begin + block, len(log)))
            candidates = _listed(log, rows, n_items) if source == "column" else np.ones((len(rows), n_items + 1), bool)
            if source == "log":
                candidates &= shown
            if self.filter_seen:
                _leave_out_seen(candidates, interactions.item, start[rows], stop[rows])
            chosen = self._probabilities(vectors[inverse.reshape(-1)[rows]] @ table.T, candidates, log, rows)
            probability[rows] = chosen[np.arange(len(rows)), log.item[rows]]
            unsupported[rows] = chosen[:, ~shown].sum(axis=1)
            expected[rows] = (chosen * means[fold[rows]]).sum(axis=1)
        modelled = (None, None) if self.reward_model is None else (means[fold, log.item], expected)
        return Feedback(log.user, log.reward, log.propensity, np.minimum(probability, 1.0), *modelled), unsupported

    def _probabilities(
        self, scores: np.ndarray, candidates: np.ndarray, log: FeedbackLog, rows: np.ndarray
    ) -> np.ndarray:
        """Ask the policy; an item that the run does not know, code 0, is never shown."""
        candidates[:, 0] = False
        if (empty := ~candidates.any(axis=1)).any():
            user = log.user_id[int(rows[np.flatnonzero(empty)[0]])]
            hint = (
                "set filter_seen=false, or name more by candidates" if self.filter_seen else "name more by candidates"
            )
            raise DataError(f"there is nothing that the policy may show to user '{user}': {hint}")
        position = None if log.position is None else log.position[rows]
        return self.policy.probabilities(scores.astype(np.float64), candidates, position)

    def _source(self, log: FeedbackLog) -> Candidates:
        has_column = log.candidate_items is not None
        if self.candidates == "column" and not has_column:
            raise OptionError("candidates=column: the log has no column 'candidates'; take log or catalogue")
        return self.candidates or ("column" if has_column else "log")


def with_history(interactions: Interactions, log: FeedbackLog) -> tuple[FeedbackLog, np.ndarray, np.ndarray]:
    """Leave out rows of users without a history, with a warning.

    Returns:
        The rest of the log, and its histories as :func:`contexts` gives them.

    Raises:
        DataError: Nothing is left.
    """
    start, stop = contexts(interactions, log)
    known = stop > start
    if not known.any():
        raise DataError("no user of the log has a history in the run's data: the model can say nothing of them")
    if not known.all():
        warnings.warn(
            f"{int((~known).sum()):,} of {len(log):,} rows of the log are left out: their users have no history in the "
            "run's data before them",
            stacklevel=3,
        )
    return log.take(known), start[known], stop[known]


def contexts(interactions: Interactions, log: FeedbackLog) -> tuple[np.ndarray, np.ndarray]:
    """Find the history that each row of a log follows, as a slice of the interactions.

    Returns:
        int64 ``[n]`` twice: its first row, and one past its last; equal where there is none.
    """
    offsets = interactions.user_offsets()
    start, stop = offsets[log.user], offsets[log.user + 1]
    if log.timestamp is None or interactions.timestamp is None:
        return start, stop
    times, rank = np.unique(np.concatenate([interactions.timestamp, log.timestamp]), return_inverse=True)
    of_data, of_log = np.split(rank, [len(interactions)])
    place = interactions.user.astype(np.int64) * len(times) + of_data  # ascending: by user, then time
    return start, np.searchsorted(place, log.user.astype(np.int64) * len(times) + of_log)


@partial(jax.jit, static_argnames="structure")
def _item_vectors(structure: nnx.GraphDef, params: Tree) -> Float[Array, "rows width"]:
    return join_model(structure, params).item_vectors()


def _listed(log: FeedbackLog, rows: np.ndarray, n_items: int) -> np.ndarray:
    if log.candidate_items is None or log.candidate_offsets is None:
        raise AssertionError("a log without candidates has none to list")
    first, last = log.candidate_offsets[rows[0]], log.candidate_offsets[rows[-1] + 1]
    listed = np.zeros((len(rows), n_items + 1), bool)
    row = np.repeat(np.arange(len(rows)), np.diff(log.candidate_offsets)[rows])
    listed[row, log.candidate_items[first:last]] = True
    return listed


def _leave_out_seen(candidates: np.ndarray, items: np.ndarray, start: np.ndarray, stop: np.ndarray) -> None:
    lengths = stop - start
    row = np.repeat(np.arange(len(start)), lengths)
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    candidates[row, items[start[row] + within]] = False
