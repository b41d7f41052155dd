"""Off-policy evaluation (host): what a policy would have earned, from rewards that another policy's choices logged.

The log has rows ``(context, item, reward, propensity)``, the propensity being the probability with which the logging
policy showed the item in that context. Every estimate here is a ratio of two sums over rows, so that one interval does
for all: the bootstrap over users, each resampled with all of their rows (:func:`ratio_interval`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.evaluation.intervals import ratio_interval
from curriculum_rec.ranges import POSITIVE, check_value
from curriculum_rec.streams import host_stream


@dataclass(frozen=True)
class Feedback:
    """Logged rewards beside what a policy would have done in the same contexts.

    Attributes:
        user: int ``[n]``, any code; rows of one user are resampled together.
        reward: float64 ``[n]``.
        propensity: float64 ``[n]``, the logging policy's probability of the logged item, in (0, 1].
        probability: float64 ``[n]``, the evaluated policy's probability of the same item.
        predicted: float64 ``[n]``, a model's reward of the logged item; None without a model.
        expected: float64 ``[n]``, that model's mean reward of what the evaluated policy shows; None without a model.
    """

    user: np.ndarray
    reward: np.ndarray
    propensity: np.ndarray
    probability: np.ndarray
    predicted: np.ndarray | None = None
    expected: np.ndarray | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        shapes = {name: value.shape for name, value in given.items()}
        if set(shapes.values()) != {(len(self.user),)} or not len(self.user):
            raise DataError(f"a log needs columns of one length of at least 1; got {shapes}")
        for name in given.keys() - {"user"}:
            if not np.isfinite(given[name]).all():
                raise DataError(f"the log's {name} is not a finite number in {(~np.isfinite(given[name])).sum()} rows")
        if (self.propensity <= 0).any() or (self.propensity > 1).any():
            raise DataError("a propensity is the probability of what was shown: each must lie in (0, 1]")
        if (self.probability < 0).any() or (self.probability > 1 + 1e-9).any():
            raise DataError("the evaluated policy's probabilities must lie in [0, 1]")
        if (self.predicted is None) != (self.expected is None):
            raise OptionError("a reward model gives both predicted and expected rewards: give both, or none")

    @property
    def weight(self) -> np.ndarray:
        """How much more often the evaluated policy shows what was logged, float64 ``[n]``."""
        return self.probability / self.propensity


class Terms(NamedTuple):
    """An estimate as a ratio of sums over rows.

    Attributes:
        numerator: float64 ``[n]``.
        denominator: float64 ``[n]``, not below 0.
    """

    numerator: np.ndarray
    denominator: np.ndarray

    @property
    def value(self) -> float:
        """The estimate; NaN where nothing counts."""
        total = self.denominator.sum()
        return float(self.numerator.sum() / total) if total > 0 else math.nan


@dataclass(frozen=True)
class Estimate:
    """A policy's mean reward.

    Attributes:
        value: The estimate; NaN where no row counts.
        low: Lower end of its interval over users; None where too few users count.
        high: Upper end.
        rows: Rows that count.
    """

    value: float
    low: float | None
    high: float | None
    rows: int


def logged_mean(log: Feedback) -> Terms:
    """Give the logging policy's own mean reward."""
    return Terms(log.reward, np.ones_like(log.reward))


def ips(log: Feedback) -> Terms:
    """Weigh rewards by inverse propensities: unbiased where propensities are right and support is full.

    Source: Horvitz and Thompson (1952); for policies, Strehl et al., Learning from Logged Implicit Exploration Data
        (2010).

    >>> log = Feedback(np.arange(2), np.array([1.0, 0.0]), np.array([0.5, 0.5]), np.array([0.25, 0.75]))
    >>> ips(log).value
    0.25
    """
    return Terms(log.weight * log.reward, np.ones_like(log.reward))


def self_normalised_ips(log: Feedback) -> Terms:
    """Divide by the sum of the weights instead of the number of rows: a little bias for much less variance.

    Source: Swaminathan and Joachims, The Self-Normalized Estimator for Counterfactual Learning (2015).

    >>> log = Feedback(np.arange(2), np.array([1.0, 0.0]), np.array([0.5, 0.5]), np.array([0.25, 0.5]))
    >>> round(self_normalised_ips(log).value, 6)
    0.333333
    """
    return Terms(log.weight * log.reward, log.weight)


def clipped_ips(log: Feedback, clip: float | None = None) -> Terms:
    """Bound the weights: biased towards 0 for rewards of at least 0, without the variance of single large weights.

    Args:
        log: The feedback.
        clip: The largest weight; None takes the square root of the number of rows.

    Source: Ionides, Truncated Importance Sampling (2008), whose bound is the default.

    >>> log = Feedback(np.arange(4), np.ones(4), np.full(4, 0.1), np.array([1.0, 0.0, 0.0, 0.1]))
    >>> clipped_ips(log).value, ips(log).value
    (0.75, 2.75)
    """
    check_value("clip", clip, POSITIVE.or_null())
    bound = math.sqrt(len(log.reward)) if clip is None else clip
    return Terms(np.minimum(log.weight, bound) * log.reward, np.ones_like(log.reward))


def direct(log: Feedback) -> Terms:
    """Trust the reward model alone.

    Raises:
        OptionError: There is no reward model.
    """
    _, expected = _modelled(log)
    return Terms(expected, np.ones_like(expected))


def doubly_robust(log: Feedback) -> Terms:
    """Correct the reward model by the weighted rewards that it did not foresee.

    Unbiased where the propensities are right, whatever the model, which must not have seen the row's own reward; the
    better the model, the smaller the variance.

    Raises:
        OptionError: There is no reward model.

    Source: Dudík, Langford and Li, Doubly Robust Policy Evaluation and Learning (2011).
    """
    predicted, expected = _modelled(log)
    return Terms(expected + log.weight * (log.reward - predicted), np.ones_like(expected))


def replay(log: Feedback, *, seed: int = 0) -> Terms:
    """Keep the rows that the evaluated policy might have made, and average their rewards.

    A row is kept with probability ``weight / largest weight``. Where the log is uniformly random and the policy has one
    choice, these are the rows in which both chose the same item.

    Args:
        log: The feedback.
        seed: Decides which rows are kept where that is chance.

    Source: Li et al., Unbiased Offline Evaluation of Contextual-Bandit-Based News Article Recommendation Algorithms
        (2011), algorithm 2; for other logs, rejection sampling.

    >>> log = Feedback(np.arange(3), np.array([1.0, 0.0, 1.0]), np.full(3, 0.5), np.array([1.0, 1.0, 0.0]))
    >>> replay(log).value
    0.5
    """
    weight = log.weight
    kept = host_stream(seed, "replay").random(len(weight)) * weight.max() < weight
    return Terms(np.where(kept, log.reward, 0.0), kept.astype(np.float64))


def estimates(
    log: Feedback, *, clip: float | None = None, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> dict[str, Estimate]:
    """Estimate a policy's mean reward by every method, each with an interval over users.

    Args:
        log: The feedback.
        clip: As in :func:`clipped_ips`.
        level: How often such intervals shall hold the true value.
        resamples: Bootstrap samples of users.
        seed: Decides them, and what :func:`replay` keeps.

    Returns:
        ``logged`` (the logging policy's own), ``replay``, ``ips``, ``clipped_ips``, ``self_normalised_ips`` and, with a
        reward model, ``direct`` and ``doubly_robust``. The interval of ``direct`` knows nothing of the model's errors.

    Raises:
        DataError: The evaluated policy never shows what was logged.
    """
    if not log.weight.any():
        raise DataError(
            "the evaluated policy shows none of the logged items in their contexts, so that the log tells nothing of it"
        )
    terms = {
        "logged": logged_mean(log),
        "replay": replay(log, seed=seed),
        "ips": ips(log),
        "clipped_ips": clipped_ips(log, clip),
        "self_normalised_ips": self_normalised_ips(log),
    }
    if log.predicted is not None:
        terms |= {"direct": direct(log), "doubly_robust": doubly_robust(log)}
    return {name: _estimate(log, each, level, resamples, seed) for name, each in terms.items()}


def _estimate(log: Feedback, terms: Terms, level: float, resamples: int, seed: int) -> Estimate:
    _, unit = np.unique(log.user, return_inverse=True)
    sums = [np.bincount(unit, each) for each in terms]
    interval = None
    if len(sums[0]) > 1:
        interval = ratio_interval(*sums, level=level, resamples=resamples, seed=seed)
    low, high = interval or (None, None)
    return Estimate(terms.value, low, high, int((terms.denominator > 0).sum()))


def _modelled(log: Feedback) -> tuple[np.ndarray, np.ndarray]:
    if log.predicted is None or log.expected is None:
        raise OptionError("this estimate needs a reward model: give predicted and expected rewards")
    return log.predicted, log.expected


@dataclass(frozen=True)
class Overlap:
    """Whether a log can tell anything of a policy.

    Attributes:
        rows: Rows of the log.
        users: Their users.
        matched: Share of rows whose item the policy may show.
        effective_rows: ``(sum w)^2 / sum w^2``: as many rows of the policy's own would tell as much.
        max_weight: The largest weight.
        mean_weight: Their mean, which is 1 in expectation where propensities are right and support is full.
        mean_weight_error: Its standard error over rows.
        unsupported: How much of the policy's probability falls on items that the log never shows, in [0, 1].
    """

    rows: int
    users: int
    matched: float
    effective_rows: float
    max_weight: float
    mean_weight: float
    mean_weight_error: float
    unsupported: float

    @classmethod
    def of(cls, log: Feedback, unsupported: np.ndarray | float = 0.0) -> Overlap:
        """Measure.

        Args:
            log: The feedback.
            unsupported: Of each row, how much of the policy's probability falls on items that the log never shows.

        >>> log = Feedback(np.arange(4), np.ones(4), np.full(4, 0.5), np.array([1.0, 1.0, 0.0, 0.0]))
        >>> Overlap.of(log).effective_rows, Overlap.of(log).mean_weight
        (2.0, 1.0)
        """
        weight, n = log.weight, len(log.weight)
        squares = float((weight**2).sum())
        return cls(
            rows=n,
            users=len(np.unique(log.user)),
            matched=float((weight > 0).mean()),
            effective_rows=float(weight.sum() ** 2 / squares) if squares else 0.0,
            max_weight=float(weight.max()),
            mean_weight=float(weight.mean()),
            mean_weight_error=float(weight.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan,
            unsupported=float(np.mean(unsupported)),
        )

    def doubts(self) -> list[str]:
        """Say in a sentence each why the estimates are not to be trusted; nothing where there is no reason."""
        found = []
        if self.unsupported > UNSUPPORTED:
            found.append(
                f"{self.unsupported:.1%} of the policy's probability falls on items that the log never shows: their "
                "rewards count as 0 in ips and clipped_ips, and are left out or guessed in the others"
            )
        if self.effective_rows < FEWEST_ROWS:
            found.append(
                f"the {self.rows:,} rows of the log tell as much as {self.effective_rows:,.1f} of the policy's own: "
                "their intervals hold less often than they say"
            )
        if abs(self.mean_weight - 1) > DEVIATIONS * self.mean_weight_error + 1e-9:
            found.append(
                f"the weights' mean is {self.mean_weight:.3f} where 1 was expected: propensities are wrong, or the "
                "policy shows what the log does not"
            )
        return found

    def to_json(self) -> Mapping[str, float]:
        """Give it as JSON data."""
        return vars(self)


UNSUPPORTED, FEWEST_ROWS, DEVIATIONS = 0.01, 100, 4
"""From where on :meth:`Overlap.doubts` doubts."""
