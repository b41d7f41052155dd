import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_rec.curriculum.pacing import Constant, Exponential, Linear, Root
from curriculum_rec.errors import OptionError

GROWING = [Linear, Root, Exponential]
starts = st.floats(1e-4, 1.0)
full_ats = st.floats(1e-4, 10.0)
totals = st.integers(1, 10**9)


@pytest.mark.parametrize("pacing", GROWING)
@given(start=starts, full_at=full_ats, total=totals)
def test_begins_at_start_ends_at_one_and_never_falls(pacing, start, full_at, total):
    schedule = pacing(start=start, full_at=full_at)
    full = math.ceil(full_at * total)
    steps = np.unique(np.concatenate([np.linspace(0, 2 * full, 50).astype(np.int64), [full - 1, full, full + 1]]))
    share = schedule(steps, total)
    assert schedule(0, total) == pytest.approx(start, abs=1e-15)
    np.testing.assert_allclose(share[steps >= full], 1, rtol=0, atol=1e-12)
    assert np.isfinite(share).all()
    assert (np.diff(share) >= 0).all()
    assert (share >= start).all()
    assert (share <= 1).all()


@given(start=starts, full_at=full_ats, total=totals, fraction=st.floats(0, 1))
def test_exponential_lies_below_linear_below_root(start, full_at, total, fraction):
    step = int(fraction * full_at * total)
    low, middle, high = (pacing(start=start, full_at=full_at)(step, total) for pacing in (Exponential, Linear, Root))
    assert low <= middle + 1e-12
    assert middle <= high + 1e-12


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Linear(start=1 / 4, full_at=1 / 2), 1 / 4 + 3 / 4 * 1 / 2),
        (Root(start=1 / 4, full_at=1 / 2), 1 / 4 + 3 / 4 * math.sqrt(1 / 2)),
        (Root(start=1 / 4, full_at=1 / 2, power=1), 1 / 4 + 3 / 4 * 1 / 2),
        (Exponential(start=1 / 4, full_at=1 / 2, rate=2), 1 / 4 + 3 / 4 * (math.e - 1) / (math.e**2 - 1)),
        (Constant(), 1),
    ],
)
def test_value_halfway_by_hand(schedule, expected):
    assert schedule(25, 100) == pytest.approx(expected, abs=1e-14)


def test_cube_root_at_half_of_the_way():
    assert Root(start=1e-12, full_at=1.0, power=3)(50, 100) == pytest.approx(0.794, abs=5e-4)


@pytest.mark.parametrize("schedule", [*(pacing(start=0.1, full_at=0.7) for pacing in GROWING), Constant()])
@pytest.mark.parametrize("total", [100, 10**9])
def test_jit_equals_numpy(schedule, total):
    steps = np.linspace(0, total, 41).astype(np.int32)
    on_device = jax.jit(lambda step: schedule(step, total))(jnp.asarray(steps))
    np.testing.assert_allclose(on_device, schedule(steps, total), rtol=0, atol=1e-6)


@pytest.mark.parametrize("pacing", GROWING)
def test_full_at_beyond_the_run_ends_with_less_than_everything(pacing):
    assert 0.2 < pacing(start=0.2, full_at=4.0)(100, 100) < 1


@pytest.mark.parametrize(
    ("pacing", "options"),
    [
        *[(pacing, {"start": value}) for pacing in GROWING for value in (0.0, -0.1, 1.1, math.nan)],
        *[(pacing, {"full_at": value}) for pacing in GROWING for value in (0.0, -1.0, math.nan)],
        *[(Root, {"power": value}) for value in (0.9, 0.0, -2.0)],
        *[(Exponential, {"rate": value}) for value in (0.0, -1.0, 51.0, math.nan)],
    ],
)
def test_options_out_of_range_are_refused_by_name(pacing, options):
    with pytest.raises(OptionError, match=next(iter(options))):
        pacing(**options)


@pytest.mark.parametrize("power", [math.nan, math.inf])
def test_power_that_is_no_number_is_refused(power):
    with pytest.raises(OptionError, match="power"):
        Root(power=power)
