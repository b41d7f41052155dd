import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_rec.curriculum.pacing import (
    BabyStep,
    Clock,
    Competence,
    Constant,
    Cosine,
    Exponential,
    Geometric,
    Linear,
    Logarithmic,
    OnePass,
    Plateau,
    Polynomial,
    Root,
    Staircase,
    Step,
)
from curriculum_rec.errors import OptionError

GROWING = [Linear, Polynomial, Root, Step, Exponential, Logarithmic, Competence, Geometric, Cosine]
STAIRS = [Staircase, BabyStep]
starts = st.floats(1e-4, 1.0)
full_ats = st.floats(1e-4, 10.0)
totals = st.integers(1, 10**9)


def clock(total_steps, steps_per_epoch=10):
    return Clock(total_steps, steps_per_epoch)


def assert_a_share(share, start):
    assert np.isfinite(share).all()
    assert (np.diff(share) >= 0).all()
    assert (share >= start).all()
    assert (share <= 1).all()


@pytest.mark.parametrize("pacing", GROWING)
@given(start=starts, full_at=full_ats, total=totals)
def test_begins_at_start_ends_at_one_and_never_falls(pacing, start, full_at, total):
    schedule = pacing(start=start, full_at=full_at)
    full = math.ceil(full_at * total)
    steps = np.unique(np.concatenate([np.linspace(0, 2 * full, 50).astype(np.int64), [full - 1, full, full + 1]]))
    share = schedule(steps, clock(total))
    assert schedule(0, clock(total)) == pytest.approx(start, abs=1e-15)
    np.testing.assert_allclose(share[steps >= full], 1, rtol=0, atol=1e-12)
    assert_a_share(share, start)


@pytest.mark.parametrize("pacing", STAIRS)
@given(start=starts, total=totals, per_epoch=st.integers(1, 10**6))
def test_stairs_begin_at_start_and_never_fall(pacing, start, total, per_epoch):
    steps = np.unique(np.linspace(0, 10 * total, 50).astype(np.int64))
    share = pacing(start=start)(steps, clock(total, per_epoch))
    assert share[0] == start
    assert_a_share(share, start)


@given(start=starts, full_at=full_ats, total=totals, fraction=st.floats(0, 1))
def test_families_lie_above_each_other_as_their_shapes_do(start, full_at, total, fraction):
    step = int(fraction * full_at * total)
    ordered = (Polynomial, Linear, Competence, Root, Logarithmic)
    shares = [pacing(start=start, full_at=full_at)(step, clock(total)) for pacing in ordered]
    assert (np.diff(shares) >= -1e-12).all()
    assert Exponential(start=start, full_at=full_at)(step, clock(total)) <= shares[1] + 1e-12


@given(start=starts, full_at=full_ats, total=totals, fraction=st.floats(0, 1))
def test_powers_that_are_other_families(start, full_at, total, fraction):
    step, common = int(fraction * full_at * total), {"start": start, "full_at": full_at}
    for one, other in (
        (Competence(power=1.0, **common), Linear(**common)),
        (Polynomial(power=1.0, **common), Linear(**common)),
        (Polynomial(power=0.5, **common), Root(**common)),
    ):
        assert one(step, clock(total)) == pytest.approx(other(step, clock(total)), abs=1e-12)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Linear(start=1 / 4, full_at=1 / 2), 1 / 4 + 3 / 4 * 1 / 2),
        (Polynomial(start=1 / 4, full_at=1 / 2), 1 / 4 + 3 / 4 * 1 / 4),
        (Polynomial(start=1 / 4, full_at=1 / 2, power=3), 1 / 4 + 3 / 4 * 1 / 8),
        (Root(start=1 / 4, full_at=1 / 2), 1 / 4 + 3 / 4 * math.sqrt(1 / 2)),
        (Root(start=1 / 4, full_at=1 / 2, power=1), 1 / 4 + 3 / 4 * 1 / 2),
        (Exponential(start=1 / 4, full_at=1 / 2, rate=2), 1 / 4 + 3 / 4 * (math.e - 1) / (math.e**2 - 1)),
        (Logarithmic(start=1 / 4, full_at=1 / 2, rate=2), 1 / 4 + 3 / 4 * (1 + math.log(1 / 2 + math.exp(-2)) / 2)),
        (Competence(start=1 / 4, full_at=1 / 2), math.sqrt(1 / 16 + 15 / 16 * 1 / 2)),
        (Competence(start=1 / 4, full_at=1 / 2, power=3), (1 / 64 + 63 / 64 * 1 / 2) ** (1 / 3)),
        (Geometric(start=1 / 4, full_at=1 / 2), 1 / 2),
        (Cosine(start=1 / 4, full_at=1 / 2), 1 / 4 + 3 / 4 * 1 / 2),
        (Step(start=1 / 4, full_at=1 / 2), 1 / 4),
        (Staircase(start=0.1, factor=2.5, every=12), 0.1 * 2.5**2),
        (Staircase(start=0.1, factor=2.5, every=2, epochs=True), 0.1 * 2.5),
        (BabyStep(start=0.1, growth=0.2, every=0.1), 0.1 + 0.2 * 2),
        (OnePass(slices=4, full_at=0.4), 3 / 4),
        (Constant(), 1),
    ],
    ids=str,
)
def test_value_at_a_quarter_of_the_run_by_hand(schedule, expected):
    assert schedule(25, clock(100)) == pytest.approx(expected, abs=1e-14)


def test_the_root_is_the_one_that_was_asked_for():
    """CurBench takes the square root whatever the power: .707 instead of .794 halfway."""
    assert Root(start=1e-12, full_at=1.0, power=3)(50, clock(100)) == pytest.approx(0.794, abs=5e-4)
    assert Competence(start=1e-12, full_at=1.0, power=3)(50, clock(100)) == pytest.approx(0.794, abs=5e-4)


def test_steps_of_a_baby_work_from_the_first_epoch_on():
    """CurBench's baby step and lambda step call tolist() on a list and fail in the first epoch."""
    assert BabyStep()(np.arange(0, 100, 20), clock(100)).tolist() == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])


def test_a_geometric_growth_from_nothing_is_refused():
    """CurBench's default there is 0, whose logarithm fails."""
    with pytest.raises(OptionError, match="start=0"):
        Geometric(start=0)


def test_an_early_exponential_does_not_overflow():
    """aucurriculum raises OverflowError for full_at=.01, which stands in the grid of Wu et al."""
    assert Exponential(full_at=0.01)(10**6, clock(10**6)) == 1


def test_stairs_of_any_growth_do_not_overflow():
    assert Staircase(start=1e-4, factor=1e300, every=1)(10**9, clock(10)) == 1


@pytest.mark.parametrize(
    "schedule",
    [*(pacing(start=0.1, full_at=0.7) for pacing in GROWING), *(pacing() for pacing in STAIRS), Constant(), OnePass()],
    ids=str,
)
@pytest.mark.parametrize("total", [100, 10**9])
def test_jit_equals_numpy(schedule, total):
    # Midway between the places where a stair may be; float32 holds no step of 1e9 exactly.
    steps = np.linspace(0, total, 41).astype(np.int32) + (0 if total == 100 else total // 300)
    for function in (schedule, schedule.skipped):
        on_device = jax.jit(lambda step, function=function: function(step, clock(total)))(jnp.asarray(steps))
        np.testing.assert_allclose(on_device, function(steps, clock(total)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("pacing", [pacing for pacing in GROWING if pacing is not Step])
def test_full_at_beyond_the_run_ends_with_less_than_everything(pacing):
    assert 0.2 < pacing(start=0.2, full_at=4.0)(100, clock(100)) < 1


@given(slices=st.integers(2, 50), full_at=full_ats, total=totals)
def test_one_pass_shows_every_slice_alone_and_then_everything(slices, full_at, total):
    pacing, steps = (
        OnePass(slices, full_at),
        np.arange(total) if total < 1000 else np.linspace(0, total, 999).astype(int),
    )
    begin, end = pacing.skipped(steps, clock(total)), pacing(steps, clock(total))
    all_at_once = steps >= full_at * total
    assert (begin[all_at_once] == 0).all() and (end[all_at_once] == 1).all()
    np.testing.assert_allclose((end - begin)[~all_at_once], 1 / slices, atol=1e-12)
    assert (np.diff(begin[~all_at_once]) >= 0).all()


@given(values=st.lists(st.floats(0, 1), max_size=30), patience=st.integers(1, 4))
def test_plateau_grows_only_after_patience_evaluations_without_a_better_one(values, patience):
    pacing = Plateau(start=0.1, factor=2.0, patience=patience)
    memory, best, since, expected = pacing.begin(), -math.inf, 0, 0.1
    for value in values:
        memory = pacing.evaluated(memory, value)
        since = 0 if value > best else since + 1
        best = max(best, value)
        if since == patience:
            expected, since = min(1.0, 2 * expected), 0
        assert pacing(0, clock(1), memory) == expected


def test_plateau_counts_only_what_is_better_by_enough():
    pacing = Plateau(start=0.5, patience=1, min_delta=0.1)
    memory = pacing.evaluated(pacing.begin(), 0.3)
    assert pacing(0, clock(1), memory) == 0.5
    assert pacing(0, clock(1), pacing.evaluated(memory, 0.41)) == 0.5
    assert pacing(0, clock(1), pacing.evaluated(memory, 0.39)) == 0.75


@pytest.mark.parametrize(
    ("pacing", "options"),
    [
        *[
            (pacing, {"start": value})
            for pacing in [*GROWING, *STAIRS, Plateau]
            for value in (0.0, -0.1, 1.1, math.nan)
        ],
        *[(pacing, {"full_at": value}) for pacing in [*GROWING, OnePass] for value in (0.0, -1.0, math.nan, math.inf)],
        *[
            (pacing, {"power": value})
            for pacing in (Root, Competence)
            for value in (0.9, 0.0, -2.0, math.nan, math.inf)
        ],
        *[(Polynomial, {"power": value}) for value in (0.0, -2.0, math.nan, math.inf)],
        *[(pacing, {"rate": value}) for pacing in (Exponential, Logarithmic) for value in (0.0, -1.0, 51.0, math.nan)],
        *[(pacing, {"factor": value}) for pacing in (Staircase, Plateau) for value in (1.0, 0.5, math.nan, math.inf)],
        *[(BabyStep, {name: value}) for name in ("growth", "every") for value in (0.0, -1.0, math.nan)],
        (Staircase, {"every": 0}),
        (OnePass, {"slices": 1}),
        (Plateau, {"patience": 0}),
        *[(Plateau, {"min_delta": value}) for value in (-0.1, math.nan)],
    ],
)
def test_options_out_of_range_are_refused_by_name(pacing, options):
    with pytest.raises(OptionError, match=next(iter(options))):
        pacing(**options)
