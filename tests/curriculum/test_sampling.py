import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_rec.curriculum.ordered_sampling import (
    Boltzmann,
    ImportanceCorrected,
    PrefixWithReplacement,
    Replay,
    SoftPrefix,
    Stratified,
)
from curriculum_rec.curriculum.sampling import PADDING, Pool, Prefix, plan_epoch
from curriculum_rec.data.examples import Bucket, Examples
from curriculum_rec.errors import OptionError


def drawn_examples(examples, plan):
    """All examples that a plan draws, in order, as numbers among all examples."""
    batches = zip(*plan.take(0, len(plan)), strict=True)
    return np.concatenate([examples.buckets[number].example[rows[rows != PADDING]] for number, rows in batches])


@st.composite
def bucketed_examples(draw):
    """Examples in up to three buckets of any size, in shuffled order, and which of them are available."""
    sizes = draw(st.lists(st.integers(1, 20), min_size=1, max_size=3))
    order = np.array(draw(st.permutations(range(sum(sizes)))), np.int32)
    parts = np.split(order, np.cumsum(sizes)[:-1])
    batch_sizes = [draw(st.integers(1, 9)) for _ in sizes]
    available = np.array(draw(st.lists(st.booleans(), min_size=len(order), max_size=len(order))))
    return parts, batch_sizes, available


@given(bucketed_examples(), st.integers(0, 2**31))
def test_an_epoch_draws_every_available_example_exactly_once(case, seed):
    parts, batch_sizes, available = case
    examples = Examples(tuple(Bucket({"x": np.zeros(len(p))}, p, n) for p, n in zip(parts, batch_sizes, strict=True)))
    available[0] = True
    stream = np.random.default_rng(seed)
    plan = plan_epoch(examples, Prefix().choose(Pool(examples, available, 1.0, np.zeros(0)), stream), stream)
    np.testing.assert_array_equal(np.sort(drawn_examples(examples, plan)), np.flatnonzero(available))
    assert len(plan) == sum(-(-available[bucket.example].sum() // bucket.batch_size) for bucket in examples.buckets)
    for number, rows in zip(*plan.take(0, len(plan)), strict=True):
        filled = rows != PADDING
        assert not filled[examples.buckets[number].batch_size :].any()
        assert filled[0]
        assert (np.diff(filled.astype(int)) <= 0).all()


def test_a_part_of_a_plan_is_that_of_the_whole(tiny_examples):
    stream = np.random.default_rng(3)
    everything = Pool(tiny_examples, np.ones(60, bool), 1.0, np.zeros(0))
    plan = plan_epoch(tiny_examples, Prefix().choose(everything, stream), stream)
    whole = plan.take(0, len(plan))
    for begin in range(len(plan)):
        part = plan.take(begin, begin + 1)
        assert part[0][0] == whole[0][begin]
        np.testing.assert_array_equal(part[1][0], whole[1][begin])


def test_the_stream_decides_the_order(tiny_examples):
    everything = np.ones(len(tiny_examples), bool)

    def draw(seed):
        stream = np.random.default_rng(seed)
        plan = plan_epoch(
            tiny_examples, Prefix().choose(Pool(tiny_examples, everything, 1.0, np.zeros(0)), stream), stream
        )
        return plan.take(0, len(plan))[0].tolist(), drawn_examples(tiny_examples, plan).tolist()

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


@given(st.integers(1, 500), st.integers(1, 500))
def test_the_count_never_falls_and_keeps_its_bounds(floor, n):
    counts = [Prefix(min_examples=floor).count(share, n) for share in np.linspace(0, 1, 101)]
    assert (np.diff(counts) >= 0).all()
    assert counts[0] == min(floor, n)
    assert counts[-1] == n


@pytest.mark.parametrize(("share", "expected"), [(1 / 3, 3), (0.3, 3), (0.34, 4), (1.0, 9), (0.0, 1)])
def test_the_count_rounds_up_but_not_for_rounding_errors(share, expected):
    assert Prefix(min_examples=1).count(share, 9) == expected


def test_a_floor_below_one_is_refused():
    with pytest.raises(OptionError, match="min_examples=0"):
        Prefix(min_examples=0)


N = 200
QUANTILE = (np.random.default_rng(5).permutation(N) + 0.5) / N


@pytest.fixture
def sequences():
    """200 sequences of two targets each, whose popularity is independent of their quantile."""
    rng = np.random.default_rng(6)
    target = rng.integers(1, 21, (N, 2)).astype(np.int32)
    counts = np.bincount(target.ravel(), minlength=21)
    return Examples((Bucket({"history": target, "target": target}, np.arange(N, dtype=np.int32), 8),), counts)


def pool(examples, share):
    return Pool(examples, share >= QUANTILE, share, QUANTILE)


def draws(sampler, examples, share, *, epochs=1, seed=0):
    stream = np.random.default_rng(seed)
    return np.array([sampler.choose(pool(examples, share), stream).counts for _ in range(epochs)])


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_draws_with_replacement_are_uniform_over_the_prefix(sequences, share):
    counts = draws(PrefixWithReplacement(min_examples=1), sequences, share, epochs=500)
    assert (counts.sum(axis=1) == round(share * N)).all()
    assert (counts[:, share < QUANTILE] == 0).all()
    inside = counts[:, share >= QUANTILE].sum(axis=0)
    expected = 500.0
    assert ((inside - expected) ** 2 / expected).sum() < len(inside) + 5 * np.sqrt(2 * len(inside))  # chi-square


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_the_soft_edge_becomes_the_sharp_one(sequences, share):
    sharp = PrefixWithReplacement(min_examples=1).probabilities(pool(sequences, share))
    soft = SoftPrefix(min_examples=1, temperature=1e-6).probabilities(pool(sequences, share))
    np.testing.assert_allclose(soft, sharp, atol=1e-12)


def test_the_soft_edge_by_hand(sequences):
    probability = SoftPrefix(min_examples=1, temperature=0.1).probabilities(pool(sequences, 0.5))
    relative = probability * (1 + np.exp((QUANTILE - 0.5) / 0.1))
    np.testing.assert_allclose(relative, relative[0])


def test_boltzmann_prefers_the_easy_and_ends_uniform(sequences):
    sampler = Boltzmann(beta=5.0)
    early, late = (sampler.probabilities(pool(sequences, share)) for share in (0.0, 1.0))
    assert np.abs(late - 1 / N).sum() / 2 < 1e-6
    relative = np.log(early) + 5 * QUANTILE
    np.testing.assert_allclose(relative, relative[0])
    assert draws(sampler, sequences, 0.0).sum() == N


@pytest.mark.parametrize("by", ["popularity", "activity"])
@pytest.mark.parametrize("share", [0.1, 0.33, 1.0])
def test_every_stratum_gives_its_easiest_share(sequences, by, share):
    sampler = Stratified(min_examples=1, by=by, strata=7)
    chosen = draws(sampler, sequences, share)[0]
    stratum = sampler.stratum(sequences)
    n_chosen = chosen.sum()
    for number in range(7):
        members = stratum == number
        assert abs(chosen[members].sum() / n_chosen - members.mean()) <= 1 / (share * N) * 7
        easiest = QUANTILE[members & (chosen == 0)].min(initial=1)
        assert QUANTILE[members & (chosen == 1)].max() < easiest
        assert chosen[members].sum() == np.ceil(share * members.sum() - 1e-9)


def test_strata_of_popularity_hold_targets_of_like_counts(sequences):
    popularity = sequences.item_counts[sequences.buckets[0].arrays["target"]].mean(axis=1)
    stratum = Stratified(strata=5).stratum(sequences)
    assert np.bincount(stratum).tolist() == [40] * 5
    for number in range(4):
        assert popularity[stratum == number].max() <= popularity[stratum == number + 1].min()


@pytest.mark.parametrize(("rate", "slices"), [(0.0, 10), (0.5, 10), (1.0, 10), (0.5, 1)])
def test_replay_mixes_the_hardest_slice_with_the_whole_prefix(sequences, rate, slices):
    probability = Replay(min_examples=1, rate=rate, slices=slices).probabilities(pool(sequences, 0.5))
    hardest = (QUANTILE <= 0.5) & (0.5 - 0.5 / slices < QUANTILE)
    assert probability.sum() == pytest.approx(1)
    assert probability[QUANTILE > 0.5].sum() == 0
    assert probability[hardest].sum() == pytest.approx(rate / slices + 1 - rate)
    np.testing.assert_allclose(probability[(QUANTILE <= 0.5) & ~hardest], rate / 100)


@pytest.mark.parametrize(
    "inner", [Boltzmann(beta=2.0), SoftPrefix(temperature=1.0), Replay(rate=0.9, slices=2)], ids=str
)
def test_importance_weights_undo_what_the_probabilities_do(sequences, inner):
    sampler = ImportanceCorrected(inner, max_weight=1e6)
    whole = Pool(sequences, np.ones(N, bool), 0.5, QUANTILE)
    value = np.random.default_rng(7).normal(size=N) + QUANTILE
    stream = np.random.default_rng(8)
    choices = [sampler.choose(whole, stream) for _ in range(1_000_000 // N)]
    drawn = np.repeat(value * choices[0].weight, sum(choice.counts for choice in choices))
    assert abs(drawn.mean() - value.mean()) < 4 * drawn.std() / np.sqrt(len(drawn))


def test_importance_weights_are_cut_off(sequences):
    weight = ImportanceCorrected(Boltzmann(beta=50.0), max_weight=3.0).choose(
        pool(sequences, 0.0), np.random.default_rng(0)
    )
    assert weight.weight.max() == 3
    assert weight.weight.min() < 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SoftPrefix(temperature=0.0), "temperature=0"),
        (lambda: Boltzmann(beta=-1.0), "beta=-1"),
        (lambda: Stratified(by="age"), "by=age"),
        (lambda: Stratified(strata=1), "strata=1"),
        (lambda: Replay(rate=1.5), "rate=1.5"),
        (lambda: Replay(slices=0), "slices=0"),
        (lambda: ImportanceCorrected(max_weight=0.5), "max_weight=0.5"),
        (lambda: Boltzmann(min_examples=0), "min_examples=0"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
