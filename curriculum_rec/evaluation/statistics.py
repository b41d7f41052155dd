"""What a difference between runs is worth (host): paired tests, their correction for many arms, whole comparisons.

A difference is always ours minus the baseline's, so that above 0 means that ours is better. Runs are paired by seed:
two runs of one seed share the data, the noise and the initial weights.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from curriculum_rec.errors import OptionError, RunError
from curriculum_rec.evaluation.effect_sizes import rank_biserial, share_won, standardised_mean_difference, wilcoxon_p
from curriculum_rec.evaluation.intervals import BLOCK, bootstrap_interval
from curriculum_rec.ranges import check_value, one_of
from curriculum_rec.streams import host_stream

Alternative = Literal["two-sided", "greater"]
FEWEST_SEEDS = 5


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
    n_flips = 2**n if exact else draws
    if exact:
        count = _count_flips(flat, n_flips, two_sided=two_sided, stream=None)
    else:  # the sign of a 0 changes no sum, and most users have the same list twice
        rows = [row[row != 0][None] for row in flat]
        streams = (host_stream(seed, "sign flips") for _ in rows)
        each = [_count_flips(row, n_flips, two_sided=two_sided, stream=s) for row, s in zip(rows, streams, strict=True)]
        count = np.concatenate(each) if each else np.zeros(0, np.int64)
    p = count / n_flips if exact else (1 + count) / (1 + n_flips)
    return p.reshape(difference.shape[:-1]), (1 + two_sided) / n_flips if exact else 1 / (1 + n_flips)


def _count_flips(flat: np.ndarray, n_flips: int, *, two_sided: bool, stream: np.random.Generator | None) -> np.ndarray:
    """Count the flips, all of them or random ones, whose sums are at least as far out as the observed ones."""
    n = flat.shape[1]
    total = flat.sum(axis=1, keepdims=True)
    # Sums of the same numbers in another order differ by rounding; such a tie is a tie.
    level = (np.abs(total) if two_sided else total) - 1e-12 * np.abs(flat).sum(axis=1, keepdims=True)
    count, block = np.zeros(len(flat), np.int64), max(1, BLOCK // max(n, 1))
    for begin in range(0, n_flips, block):
        number = np.arange(begin, min(begin + block, n_flips))
        negative = (number[:, None] >> np.arange(n)) & 1 if stream is None else _bits(stream, (len(number), n))
        flipped = total - 2.0 * (flat @ negative.T.astype(np.float64))
        count += ((np.abs(flipped) if two_sided else flipped) >= level).sum(axis=1)
    return count


def _bits(stream: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Draw fair bits, uint8."""
    size = shape[0] * shape[1]
    drawn = np.frombuffer(stream.bytes(-(-size // 8)), np.uint8)
    return np.unpackbits(drawn, count=size).reshape(shape)


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
        wilcoxon_p: Of Wilcoxon's two-sided signed-rank test, not corrected: a second opinion by ranks, no second try.
        effect: The difference in its own standard deviations, by Hedges' correction; None where it has none.
        won: Share of pairs in which ours is better, level ones counting half.
        rank_biserial: Effect size by ranks, in [-1, 1]; None where all pairs are level.
    """

    n: int
    difference: float
    low: float | None
    high: float | None
    p: float
    smallest_p: float
    adjusted_p: float
    n_arms: int
    wilcoxon_p: float
    effect: float | None
    won: float
    rank_biserial: float | None


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
            wilcoxon_p=wilcoxon_p(difference),
            effect=standardised_mean_difference(difference),
            won=share_won(difference),
            rank_biserial=rank_biserial(difference),
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
