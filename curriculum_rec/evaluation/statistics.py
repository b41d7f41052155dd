"""What a difference between runs is worth (host): paired tests, intervals, corrections, matched budgets.

A difference is always ours minus the baseline's, so that above 0 means that ours is better. Runs are paired by seed:
two runs of one seed share the data, the noise and the initial weights.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from scipy import stats

from curriculum_rec.errors import OptionError, RunError
from curriculum_rec.ranges import check_value, one_of
from curriculum_rec.streams import host_stream

Alternative = Literal["two-sided", "greater"]
FEWEST_SEEDS = 5
BLOCK = 2**22
"""Numbers that are resampled at once."""


def sign_flip_test(
    difference: np.ndarray, *, alternative: Alternative = "two-sided", draws: int = 100_000, seed: int = 0
) -> tuple[np.ndarray, float]:
    """Test whether the mean of paired differences is 0, by flipping their signs.

    If neither side is better, each difference is as likely with the other sign. The test is exact where all ``2^n``
    flips are at most ``draws``; else as many random ones are compared and the observed one counts among them.

    Args:
        difference: ``[..., n]``, ours minus the baseline's; each row is a test of its own.
        alternative: ``two-sided``, or ``greater`` where ours being worse shall never give a small p.
        draws: Most flips.
        seed: Decides the random ones.

    Returns:
        The p-values ``[...]``, and the smallest that so few differences can reach.

    Raises:
        OptionError: There is no difference, or the alternative does not exist.

    Source: Fisher (1935), The Design of Experiments.

    >>> p, smallest = sign_flip_test(np.array([1.0, 2.0, 3.0]))
    >>> float(p), smallest
    (0.25, 0.25)
    """
    difference = np.asarray(difference, np.float64)
    n = difference.shape[-1] if difference.ndim else 0
    if n < 1 or not np.isfinite(difference).all():
        raise OptionError("a sign-flip test needs at least one paired difference, and numbers only")
    check_value("alternative", alternative, one_of(*get_args(Alternative)))
    flat, two_sided = difference.reshape(-1, n), alternative == "two-sided"
    exact = 2**n <= draws
    n_flips, stream = 2**n if exact else draws, host_stream(seed, "sign flips")
    # Sums of the same numbers in another order differ by rounding; such a tie is a tie.
    observed = flat.sum(axis=1)
    level = (np.abs(observed) if two_sided else observed) - 1e-12 * np.abs(flat).sum(axis=1)
    count, block = np.zeros(len(flat), np.int64), max(1, BLOCK // n)
    for begin in range(0, n_flips, block):
        number = np.arange(begin, min(begin + block, n_flips))
        negative = (number[:, None] >> np.arange(n)) & 1 if exact else stream.integers(2, size=(len(number), n))
        flipped = flat @ (1.0 - 2.0 * negative).T
        count += ((np.abs(flipped) if two_sided else flipped) >= level[:, None]).sum(axis=1)
    p = count / n_flips if exact else (1 + count) / (1 + n_flips)
    return p.reshape(difference.shape[:-1]), (1 + two_sided) / n_flips if exact else 1 / (1 + n_flips)


def bootstrap_interval(
    values: np.ndarray, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Give the bias-corrected and accelerated bootstrap interval of a mean.

    Args:
        values: ``[n]``, at least two.
        level: How often such intervals shall hold the true mean.
        resamples: Bootstrap samples.
        seed: Decides them.

    Raises:
        OptionError: There are fewer than two values.

    Source: Efron (1987), Better Bootstrap Confidence Intervals.

    >>> bootstrap_interval(np.array([1.0, 1.0, 1.0]))
    (1.0, 1.0)
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise OptionError(f"a bootstrap interval needs at least two values in one row; got shape {values.shape}")
    if np.ptp(values) <= 1e-12 * np.abs(values).max():  # equal but for rounding: there is nothing to resample
        return float(values.min()), float(values.max())
    found = stats.bootstrap(
        (values,),
        np.mean,
        axis=-1,
        confidence_level=level,
        n_resamples=resamples,
        method="BCa",
        vectorized=True,
        batch=max(1, BLOCK // len(values)),
        rng=host_stream(seed, "bootstrap"),
    ).confidence_interval
    return float(found.low), float(found.high)


def cluster_interval(
    values: np.ndarray, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Give the bootstrap interval of a mean over users, each of whom was measured under several seeds.

    Users are resampled, each with all of its seeds, because one user's values under two seeds are no two users: an
    interval from ``users x seeds`` values as if they were independent would be too short. It says how the mean varies
    with the users; the seeds are taken as they are.

    Args:
        values: ``[n_seeds, n_users]``, such as differences of NDCG.
        level: As in :func:`bootstrap_interval`.
        resamples: As there.
        seed: As there.
    """
    return bootstrap_interval(np.asarray(values).mean(axis=0), level=level, resamples=resamples, seed=seed)


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Adjust the p-values of several comparisons so that the chance of any false claim among them is bounded.

    Returns:
        float64 ``[m]`` in the given order, never below the raw ones.

    Source: Holm (1979).

    >>> holm([0.01, 0.04, 0.03]).round(6).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    result = np.empty_like(p)
    result[order] = adjusted
    return result


def paired(ours: Mapping[int, float], baseline: Mapping[int, float]) -> np.ndarray:
    """Take the difference of every seed that both sides have, float64 ``[n]`` in the order of the seeds.

    Raises:
        RunError: They share no seed.
    """
    seeds = sorted(set(ours) & set(baseline))
    if not seeds:
        raise RunError(f"no seed is on both sides: {sorted(ours)} here, {sorted(baseline)} there")
    return np.array([ours[seed] - baseline[seed] for seed in seeds])


@dataclass(frozen=True)
class Comparison:
    """An arm against a baseline.

    Attributes:
        n: Paired differences: seeds, or users.
        difference: Their mean, ours minus the baseline's.
        low: Lower end of its 95 % bootstrap interval; None with a single pair.
        high: Upper end.
        p: Of the two-sided sign-flip test.
        smallest_p: The smallest that so many pairs can reach.
        adjusted_p: After Holm's correction over all arms of the family.
        n_arms: How many these were.
    """

    n: int
    difference: float
    low: float | None
    high: float | None
    p: float
    smallest_p: float
    adjusted_p: float
    n_arms: int


def compare(pairs: Mapping[str, tuple[Mapping[int, float], Mapping[int, float]]]) -> dict[str, Comparison]:
    """Compare arms over seeds with a baseline, the same or each its own control, as one family of tests.

    Args:
        pairs: Of every arm that was tried, its metric of each seed and its baseline's. Leaving out arms that were
            tried makes the correction a lie.

    Returns:
        One comparison an arm, warned of where there are fewer than five seeds.

    Raises:
        RunError: An arm and its baseline share no seed.
    """
    differences = {name: paired(ours, baseline) for name, (ours, baseline) in pairs.items()}
    fewest = min(map(len, differences.values()), default=FEWEST_SEEDS)
    if fewest < FEWEST_SEEDS:
        warnings.warn(
            f"{fewest} paired seeds are too few for a claim: with {fewest}, no p is below {2 / 2**fewest:g}; "
            f"take at least {FEWEST_SEEDS}, better 10",
            stacklevel=2,
        )
    return _family(differences)


def compare_by_user(differences: Mapping[str, np.ndarray]) -> dict[str, Comparison]:
    """Compare arms over users as one family of tests: what another sample of users would say, with these seeds.

    Args:
        differences: Of every arm that was tried, ``[n_seeds, n_users]``, each user's metric under each seed minus the
            baseline's. A user's seeds are kept together.

    Returns:
        One comparison an arm.
    """
    return _family({name: np.asarray(difference).mean(axis=0) for name, difference in differences.items()})


def _family(differences: Mapping[str, np.ndarray]) -> dict[str, Comparison]:
    tests = _sign_flip_tests(differences)
    adjusted = holm([p for p, _ in tests.values()])
    result = {}
    for (name, difference), corrected in zip(differences.items(), adjusted, strict=True):
        p, smallest = tests[name]
        low, high = bootstrap_interval(difference) if len(difference) > 1 else (None, None)
        result[name] = Comparison(
            n=len(difference),
            difference=float(difference.mean()),
            low=low,
            high=high,
            p=p,
            smallest_p=smallest,
            adjusted_p=float(corrected),
            n_arms=len(differences),
        )
    return result


def _sign_flip_tests(differences: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """Test every arm; arms of one length share their flips, which are what takes time."""
    by_length: dict[int, list[str]] = {}
    for name, difference in differences.items():
        by_length.setdefault(len(difference), []).append(name)
    found: dict[str, tuple[float, float]] = {}
    for names in by_length.values():
        p_values, smallest = sign_flip_test(np.stack([differences[name] for name in names]))
        found |= {name: (float(p), smallest) for name, p in zip(names, p_values, strict=True)}
    return {name: found[name] for name in differences}


Unit = Literal["step", "seconds", "operations"]
"""What the course of a run is told against."""


@dataclass(frozen=True)
class Curve:
    """How a run's validation metric went, one entry an evaluation.

    Attributes:
        step: int64 ``[n]``, steps trained until then.
        seconds: float64 ``[n]``, seconds of training until then, without compilation and evaluations.
        operations: float64 ``[n]``, what the model computed in training until then; NaN where it does not know.
        value: float64 ``[n]``.
    """

    step: np.ndarray
    seconds: np.ndarray
    operations: np.ndarray
    value: np.ndarray

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]], metric: str) -> Curve:
        """Take the rows of ``metrics.jsonl``, in any order.

        Raises:
            RunError: No row is an evaluation that has the metric.
        """
        rows = list(rows)
        points = [row for row in rows if row["event"] == "evaluation" and metric in row]
        if not points:
            raise RunError(f"the log has no evaluation with {metric}")
        timed = [row for row in rows if row["event"] == "speed"]
        spent = np.cumsum([0.0, *(row["seconds"] - row["compile_seconds"] for row in timed)])
        step = np.array([row["step"] for row in points])
        return cls(
            step,
            spent[np.searchsorted([row["step"] for row in timed], step, side="right")],
            np.array([np.nan if row.get("operations") is None else row["operations"] for row in points], float),
            np.array([row[metric] for row in points], float),
        )

    def best_within(self, budget: float, unit: Unit = "step") -> float:
        """Give the best value reached within a budget; NaN before the first evaluation.

        Raises:
            RunError: Operations are asked for, and the run does not know its own.

        >>> rows = [10, 20], [1.0, 2.5], [5.0, 9.0], [0.3, 0.2]
        >>> Curve(*map(np.array, rows)).best_within(2.0, "seconds")
        0.3
        """
        reached = self.value[self._spent(unit) <= budget]
        return float(reached.max()) if len(reached) else np.nan

    def first_at(self, value: float, unit: Unit = "step") -> float:
        """Give what had been spent when a value was first reached; infinity if it never was.

        Raises:
            RunError: As :meth:`best_within`.

        >>> rows = [10, 20], [1.0, 2.5], [5.0, 9.0], [0.1, 0.3]
        >>> Curve(*map(np.array, rows)).first_at(0.2)
        20.0
        """
        where = np.flatnonzero(self.value >= value)
        return float(self._spent(unit)[where[0]]) if len(where) else np.inf

    def _spent(self, unit: Unit) -> np.ndarray:
        spent: np.ndarray = getattr(self, unit)
        if np.isnan(spent).any():
            raise RunError("this run does not know its operations: compare by seconds, or by steps")
        return spent


def rank_agreement(scores: np.ndarray) -> float:
    """Average Spearman's rank correlation over all pairs of runs of a scorer.

    Args:
        scores: ``[n_seeds, n_units]``, at least two seeds.

    Raises:
        OptionError: There are fewer than two seeds.

    >>> round(rank_agreement(np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 25.0]])), 12)
    1.0
    """
    if len(scores) < 2:
        raise OptionError("the agreement of a scorer with itself needs at least two seeds")
    ranks = stats.rankdata(scores, axis=1)
    correlation = np.corrcoef(ranks)
    return float(correlation[np.triu_indices(len(scores), 1)].mean())


def roc_auc(score: np.ndarray, positive: np.ndarray) -> float:
    """Give the chance that a positive scores above a negative, ties counting half.

    Such as how well a difficulty finds planted noise.

    Args:
        score: ``[n]``.
        positive: bool ``[n]``.

    Raises:
        OptionError: All are of one kind.

    >>> roc_auc(np.array([1.0, 2.0, 2.0, 3.0]), np.array([False, False, True, True]))
    0.875
    """
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        raise OptionError("an area under the curve needs positives and negatives")
    above = stats.rankdata(score)[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(above / (n_positive * n_negative))
