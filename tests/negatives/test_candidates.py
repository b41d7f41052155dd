"""Negatives chosen by their scores: what they choose, how schedules move it, and what they never choose."""

import math
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.negatives import Adaptive, Asked, CachedHard, Hardest, Mixed, Quantile, SoftmaxNegatives, Uniform
from curriculum_rec.negatives.candidates import Scored, quantile_of, rank
from curriculum_rec.negatives.known import FILL

ROWS, LENGTH, N, M, N_ITEMS = 20, 10, 2, 16, 2000
"""Shapes of most tests: what is compiled for one serves the others."""
BY_SCORE = [Hardest(candidates=M), Hardest(candidates=M, top=4)]
BY_SCORE += [rule(candidates=M) for rule in (SoftmaxNegatives, Quantile, Adaptive, Mixed)]


@dataclass
class FixedModel:
    """Item vectors that are given."""

    table: jax.Array

    def __call__(self, batch, rng=None):
        return jnp.ones((*batch["history"].shape, self.table.shape[1]))

    def item_vectors(self, items=None):
        return self.table if items is None else self.table[items]

    @property
    def n_items(self):
        return len(self.table) - 1


def ask(rows=ROWS, length=LENGTH, n_items=N_ITEMS, progress=1.0, known=None, width=3, positive=0.5, seed=0):
    """Positions of random vectors in a catalogue of random vectors; nobody knows anything unless said so."""
    rng = np.random.default_rng(seed)
    model = FixedModel(jnp.asarray(rng.standard_normal((n_items + 1, width)), jnp.float32))
    hidden = jnp.asarray(rng.standard_normal((rows, length, width)), jnp.float32)
    nothing = jnp.zeros((rows, length), jnp.int32)
    arrays = {"history": nothing, "target": nothing}
    arrays["positives"] = jnp.full((rows, 1), FILL, jnp.int32) if known is None else jnp.asarray(known, jnp.int32)
    batch = Batch(arrays, jnp.ones(rows), progress=jnp.float32(progress))
    return Asked(model, hidden, jnp.full((rows, length), positive, jnp.float32), batch)


def at(asked, progress):
    return replace(asked, batch=replace(asked.batch, progress=jnp.float32(progress)))


def rng_for(rows, seed=0):
    return BatchRng.for_rows(jax.random.key(seed), jnp.arange(rows, dtype=jnp.int32))


def draw(rule, asked, n=N, seed=0):
    return rule.per_position(asked, n, rng_for(len(asked.hidden), seed))


def scores_of(asked, items):
    vectors = np.asarray(asked.model.table, np.float64)[np.asarray(items)]
    return np.einsum("bld,bln...d->bln...", np.asarray(asked.hidden, np.float64), vectors)


def candidates_of(rule, asked, seed=0):
    """The candidates that a rule draws: those of its first stream of numbers."""
    bits = rng_for(len(asked.hidden), seed).bits(asked.hidden.shape[1], N, rule.candidates)
    return 1 + np.asarray(bits) % asked.model.n_items


@pytest.mark.parametrize(
    "rule",
    [
        Hardest(candidates=1),
        Hardest(candidates=1, schedule="growing"),
        SoftmaxNegatives(candidates=1),
        Mixed(candidates=1),
        Hardest(candidates=4, schedule="growing"),
        Hardest(candidates=4, top=4),
    ],
    ids=str,
)
def test_one_candidate_is_a_uniform_negative(rule):
    asked = ask(rows=1000, length=1000, n_items=50, width=1, progress=0.0)
    items = np.asarray(jax.jit(lambda: draw(rule, asked, n=1).items)())
    assert items.size == 1_000_000
    assert chisquare(np.bincount(items.ravel(), minlength=51)[1:]).pvalue > 1e-4


def test_the_hardest_of_m_has_the_mean_quantile_of_their_maximum():
    asked, quantiles = ask(), []
    everything = np.sort(np.asarray(asked.hidden, np.float64) @ np.asarray(asked.model.table, np.float64)[1:].T)
    for seed in range(10):
        chosen = scores_of(asked, draw(Hardest(candidates=M), asked, seed=seed).items)
        pairs = zip(everything.reshape(-1, N_ITEMS), chosen.reshape(-1, 2), strict=True)
        quantiles += [(np.searchsorted(row, scores - 1e-5) + 0.5) / N_ITEMS for row, scores in pairs]
    deviation = math.sqrt(M / (M + 2)) / (M + 1)  # of Beta(M, 1)
    assert abs(np.mean(quantiles) - M / (M + 1)) < 4 * deviation / math.sqrt(np.size(quantiles))


def test_a_growing_pool_never_gets_easier_and_ends_as_the_whole():
    asked, rule = ask(), Hardest(candidates=M, schedule="growing")
    steps = np.linspace(0, 1, 21)
    drawn = [draw(rule, at(asked, p)) for p in steps]
    scores = np.stack([scores_of(asked, one.items) for one in drawn])
    assert (np.diff(scores, axis=0) >= -1e-6).all()
    assert scores[0].mean() < scores[5].mean() < scores[10].mean()
    hardness = [float(one.hardness.mean()) for one in drawn]
    assert (np.diff(hardness) >= -1e-6).all()
    assert hardness[0] == pytest.approx(0.5, abs=0.05)
    assert hardness[-1] == pytest.approx(15.5 / 16, abs=1e-3)  # less where the hardest was drawn twice
    whole = draw(Hardest(candidates=M), asked)
    for one in drawn[10:]:
        np.testing.assert_array_equal(one.items, whole.items)


def test_the_pool_follows_its_formula_and_shrinking_is_growing_backwards():
    growing = Hardest(candidates=M, schedule="growing", start=0.25, full_at=0.5)
    shrinking = replace(growing, schedule="shrinking")
    asked = ask()
    for p in np.linspace(0, 1, 33):
        expected = 1 + round((M - 1) * (0.25 + 0.75 * min(1, p / 0.5)))
        assert int(growing.pool(jnp.float32(p))) == expected
        assert int(shrinking.pool(jnp.float32(1 - p))) == expected
    for p in (0.0, 0.25, 0.75):
        np.testing.assert_array_equal(draw(shrinking, at(asked, p)).items, draw(growing, at(asked, 1 - p)).items)


def test_one_program_serves_the_whole_schedule():
    asked, traces = ask(), []

    @jax.jit
    def drawn(progress):
        traces.append(1)
        one = draw(Hardest(candidates=M, schedule="growing"), at(asked, progress))
        return one.items

    shapes = {drawn(jnp.float32(p)).shape for p in np.linspace(0, 1, 9)}
    assert (len(traces), len(shapes)) == (1, 1)


def test_the_top_are_each_as_likely():
    asked, places = ask(n_items=100_000), []
    rule = Hardest(candidates=M, top=4)
    for seed in range(10):
        scores = scores_of(asked, candidates_of(rule, asked, seed))
        chosen = scores_of(asked, draw(rule, asked, seed=seed).items)
        places.append((scores > chosen[..., None] + 1e-6).sum(axis=-1))
    assert chisquare(np.bincount(np.ravel(places), minlength=4)).pvalue > 1e-4


@pytest.mark.parametrize("progress", [0.0, 0.2, 0.5, 1.0])
def test_the_quantile_that_is_wanted_is_reached(progress):
    asked, rule = ask(progress=progress, n_items=100_000), Quantile(candidates=M)
    drawn = draw(rule, asked)
    wanted = 0.5 + 0.45 * min(1, progress / 0.5)
    scores = scores_of(asked, candidates_of(rule, asked))
    chosen = scores_of(asked, drawn.items)[..., None]
    quantile = ((scores < chosen - 1e-9).sum(-1) + (np.abs(scores - chosen) <= 1e-9).sum(-1) / 2) / M
    assert np.abs(quantile - wanted).max() <= 1 / M
    np.testing.assert_allclose(drawn.hardness, quantile.mean(-1), atol=1e-6)


@pytest.mark.parametrize("power", [-1.0, -2.0, 0.0])
@pytest.mark.parametrize("positive", [-3.0, 0.5, 2.0])
def test_adaptive_takes_the_score_nearest_to_its_target(power, positive):
    asked, rule = ask(positive=positive), Adaptive(candidates=M, beta=0.3, power=power)
    scores = scores_of(asked, candidates_of(rule, asked))
    wanted = 0.3 if power == -1 else 0.3 * max(positive + 1, 1e-3) ** (power + 1)
    chosen = scores_of(asked, draw(rule, asked).items)
    np.testing.assert_allclose(np.abs(chosen - wanted), np.abs(scores - wanted).min(-1), rtol=1e-5, atol=1e-5)


def test_softmax_negatives_follow_the_softmax_of_the_scores():
    scores = jnp.broadcast_to(jnp.array([0.0, 1.0, -1.0, 0.5, 9.0]), (200, 100, 1, 5))
    allowed = jnp.broadcast_to(jnp.array([True, True, True, True, False]), scores.shape)
    rule = SoftmaxNegatives(temperature_start=1.0, temperature=0.25)
    for progress, temperature in ((0.0, 1.0), (0.25, 0.625), (1.0, 0.25)):
        scored = Scored(scores, allowed, jnp.zeros((200, 100, 1, 1)), jnp.float32(progress))
        index = np.asarray(rule.choose(scored, rng_for(200)).index)
        weight = np.exp(np.array([0.0, 1.0, -1.0, 0.5]) / temperature)
        assert chisquare(np.bincount(index.ravel(), minlength=4), index.size * weight / weight.sum()).pvalue > 1e-4


def test_mixed_takes_the_hardest_mixture_and_without_mixing_the_hardest():
    asked = ask(positive=1.5, progress=0.25)
    rule = Mixed(candidates=M, cap_start=0.2, cap=0.6)
    drawn = draw(rule, asked)
    mix = np.asarray(drawn.mix)
    assert 0 < mix.min() < mix.max() <= 0.4
    numbers = rng_for(ROWS).named("mix").bits(LENGTH, N, M)
    parts = 0.4 * (np.asarray(numbers, np.float64) / 2**32)
    best = (parts * 1.5 + (1 - parts) * scores_of(asked, candidates_of(rule, asked))).max(-1)
    np.testing.assert_allclose(mix * 1.5 + (1 - mix) * scores_of(asked, drawn.items), best, rtol=1e-5, atol=1e-5)
    bare = Mixed(candidates=M, cap_start=0.0, cap=0.0)
    np.testing.assert_array_equal(draw(bare, asked).items, draw(Hardest(candidates=M), asked).items)


@pytest.mark.parametrize(
    "rule", [Uniform(), *BY_SCORE, Hardest(candidates=M, schedule="growing"), CachedHard(size=20, rate=1.0)], ids=str
)
def test_no_training_item_of_the_user_is_drawn(rule):
    rng = np.random.default_rng(3)
    known, sizes = np.full((ROWS, 18), FILL, np.int32), np.resize([0, 1, 5, 12, 17, 18], ROWS)
    for row, n in enumerate(sizes):
        known[row, :n] = np.sort(rng.choice(np.arange(1, 21), n, replace=False))
    asked = ask(n_items=20, known=known, progress=0.3)
    lists = jnp.asarray([rng.permutation(np.arange(1, 21)) for _ in range(21)], jnp.int32)
    asked = replace(asked, batch=replace(asked.batch, memory={"hard": lists, "made": jnp.int32(0)}))
    drawn = draw(rule, asked)
    allowed = np.asarray(drawn.allowed)
    for row in range(ROWS):
        assert not set(np.asarray(drawn.items[row])[allowed[row]]) & set(known[row])
    assert allowed[0].all()
    np.testing.assert_allclose(np.asarray(drawn.avoided).mean(), sizes.mean() / 20, atol=0.1)


@pytest.mark.parametrize("rule", BY_SCORE, ids=str)
def test_a_guard_drops_what_scores_too_high(rule):
    asked = ask(positive=0.2)
    drawn = draw(replace(rule, margin=0.5), asked)
    allowed = np.asarray(drawn.allowed)
    assert scores_of(asked, drawn.items)[allowed].max() <= 0.7 + 1e-5
    assert allowed.mean() > 0.9
    rule = replace(rule, top_share=0.2)
    candidates = np.sort(scores_of(asked, candidates_of(rule, asked)), axis=-1)
    chosen = scores_of(asked, draw(rule, asked).items)
    assert (chosen <= candidates[..., -4] + 1e-5).all()  # the highest 3 of 16 are dropped
    if type(rule) is Hardest and rule.top == 1:
        np.testing.assert_allclose(chosen, candidates[..., -4], rtol=1e-5, atol=1e-5)


def test_a_negative_all_of_whose_candidates_are_dropped_is_left_out():
    asked = ask(positive=-100.0)
    for rule in BY_SCORE:
        drawn = draw(replace(rule, margin=0.0), asked)
        assert not drawn.allowed.any()
        np.testing.assert_array_equal(drawn.hardness, 0.5)


def test_ranks_and_quantiles_by_hand():
    scores = jnp.array([3.0, 1.0, 3.0, 2.0, 0.0])
    counted = jnp.array([True, True, True, True, False])
    assert rank(scores, counted).tolist() == [2, 0, 3, 1, 0]
    assert float(quantile_of(jnp.float32(3), scores, counted)) == (1 + 1 + 0.5 + 0.5) / 4
    assert float(quantile_of(jnp.float32(1), scores, counted)) == 0.5 / 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Hardest(candidates=0), "candidates=0"),
        (lambda: Hardest(top=0), "top=0"),
        (lambda: Hardest(candidates=4, top=5), "top=5"),
        (lambda: Hardest(schedule="falling"), "schedule=falling: it must be one of constant, growing, shrinking"),
        (lambda: Hardest(start=1.5), r"start=1\.5"),
        (lambda: Hardest(full_at=0.0), "full_at=0"),
        (lambda: Hardest(margin=-1.0), "margin=-1"),
        (lambda: Hardest(candidates=8, top_share=0.1), r"top_share=0\.1.*\[0\.125, 1\)"),
        (lambda: SoftmaxNegatives(temperature=0.0), "temperature=0"),
        (lambda: SoftmaxNegatives(temperature_start=math.inf), "temperature_start=inf"),
        (lambda: Quantile(quantile=1.1), r"quantile=1\.1"),
        (lambda: Adaptive(alpha=0.0), "alpha=0"),
        (lambda: Adaptive(beta=math.nan), "beta=nan"),
        (lambda: Adaptive(power=1.0), "power"),
        (lambda: Mixed(cap=2.0), "cap=2"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
