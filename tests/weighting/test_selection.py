import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from curriculum_rec.errors import OptionError
from curriculum_rec.weighting import Oracle, Reducible, Seen, Selective
from curriculum_rec.weighting.groups import REFERENCE
from curriculum_rec.weighting.selection import PLANTED

N = 48
RNG = np.random.default_rng(0)
LOSSES = RNG.gamma(2.0, 2.0, N).astype(np.float32)
COUNTS = RNG.random(N) < 0.8
ALWAYS = {"start": 0.0, "end": 1.0, "interrupt": 0}


def seen(losses=LOSSES, counts=COUNTS, *, progress=0.6, step=0, key=0, axis_name=None, **facts):
    return Seen.of(
        jnp.asarray(losses, jnp.float32),
        jnp.asarray(counts),
        progress=jnp.float32(progress),
        axis_name=axis_name,
        step=step,
        key=jax.random.key(key),
        facts={name: jnp.asarray(fact, jnp.float32) for name, fact in facts.items()},
    )


@pytest.mark.parametrize("keep", [0.1, 0.3, 0.5, 0.99, 1.0])
def test_a_selection_keeps_exactly_its_share(keep):
    weight = np.asarray(Selective(keep=keep, **ALWAYS)(seen(), {})[0])
    assert set(np.unique(weight)) <= {0, 1}
    assert weight[COUNTS].sum() == math.floor(keep * COUNTS.sum() + 1e-4)
    assert weight[~COUNTS].sum() == 0


def test_a_selection_happens_between_start_and_end_and_pauses():
    rule = Selective(keep=0.5, start=0.5, end=0.9, interrupt=3)
    kept = {
        (progress, step): float(np.asarray(rule(seen(progress=progress, step=step), {})[0]).mean())
        for progress in (0.4, 0.5, 0.8, 0.9)
        for step in range(6)
    }
    whole = {place for place, mean in kept.items() if mean == 1}
    assert whole == {(p, s) for p in (0.4, 0.5, 0.8, 0.9) for s in range(6) if p in (0.4, 0.9) or s % 3 == 2}


def test_a_selection_draws_by_the_rank_of_the_loss_without_replacement():
    """Two of four losses, p in proportion to ((r + .5) / 4)^(1 / keep - 1) = 1/8, 3/8, 5/8, 7/8: all pairs counted."""
    losses, rule = np.array([0.3, 5.0, 1.0, 2.0]), Selective(keep=0.5, **ALWAYS)
    p = np.empty(4)
    p[np.argsort(losses)] = np.array([1, 3, 5, 7]) / 16
    expected = {(i, j): p[i] * p[j] / (1 - p[i]) + p[j] * p[i] / (1 - p[j]) for i in range(4) for j in range(i + 1, 4)}
    draws = 20_000

    def draw(key):
        losses_, counts, progress = jnp.asarray(losses, jnp.float32), jnp.ones(4, bool), jnp.float32(0.5)
        return rule(Seen.of(losses_, counts, progress=progress, axis_name=None, key=key), {})[0]

    weights = np.asarray(jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(0), draws)))
    for (i, j), probability in expected.items():
        share = ((weights[:, i] == 1) & (weights[:, j] == 1)).mean()
        assert abs(share - probability) < 4 * math.sqrt(probability * (1 - probability) / draws)


def test_another_step_selects_others():
    first, second = (np.asarray(Selective(**ALWAYS)(seen(key=key), {})[0]) for key in (0, 1))
    assert (first != second).any()


@pytest.mark.parametrize("keep", [0.01, 0.1, 0.5, 1.0])
def test_the_largest_reducible_losses_are_kept(keep):
    reference = RNG.gamma(2.0, 2.0, N).astype(np.float32)
    weight = np.asarray(Reducible("x", keep=keep)(seen(**{REFERENCE: reference}), {})[0])
    reducible = LOSSES - reference
    kept = COUNTS & (weight == 1)
    assert weight.sum() == kept.sum() == max(1, math.floor(keep * COUNTS.sum() + 1e-4))
    assert reducible[kept].min() >= reducible[COUNTS & ~kept].max(initial=-np.inf)


def test_of_equal_reducible_losses_the_first_are_kept():
    weight = Reducible("x", keep=0.5)(seen(np.ones(8), np.arange(8) > 0, **{REFERENCE: np.zeros(8)}), {})[0]
    np.testing.assert_array_equal(weight, [0, 1, 1, 1, 0, 0, 0, 0])


def test_the_oracle_leaves_out_what_was_planted_and_nothing_else():
    planted = RNG.random(N) < 0.4
    weight = np.asarray(Oracle()(seen(**{PLANTED: planted}), {})[0])
    np.testing.assert_array_equal(weight[COUNTS], ~planted[COUNTS])


def test_the_oracle_needs_planted_noise(tiny_examples):
    with pytest.raises(OptionError, match="choose noise=planted"):
        Oracle().facts(tiny_examples)
    planted = np.arange(len(tiny_examples.targets)) % 3 == 0
    facts = Oracle().facts(replace(tiny_examples, noise=planted))[PLANTED]
    np.testing.assert_array_equal(facts, planted)
    assert facts.dtype == np.float32  # travels with the losses, in the same words of 32 bits


@pytest.mark.parametrize("rule", [Selective(**ALWAYS), Reducible("x", keep=0.3)], ids=str)
@pytest.mark.parametrize("devices", [2, 4])
def test_weights_on_several_devices_are_those_on_one(rule, devices):
    reference = np.round(LOSSES)
    alone, _ = rule(seen(**{REFERENCE: reference}), {})

    def on_device(losses, counts, reference):
        return rule(seen(losses, counts, axis_name="data", **{REFERENCE: reference}), {})[0]

    parts = [jnp.asarray(array).reshape(devices, -1) for array in (LOSSES, COUNTS, reference)]
    np.testing.assert_array_equal(jax.vmap(on_device, axis_name="data")(*parts).reshape(-1), alone)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Selective(keep=0.0), "keep=0"),
        (lambda: Selective(start=-0.1), "start=-0.1"),
        (lambda: Selective(end=1.1), "end=1.1"),
        (lambda: Selective(interrupt=-1), "interrupt=-1"),
        (lambda: Reducible("x", keep=1.5), "keep=1.5"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
