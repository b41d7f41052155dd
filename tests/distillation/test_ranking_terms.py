import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lessons import (
    LENGTHS,
    N_ITEMS,
    Fixed,
    fixed_model,
    losses_of,
    make_lesson,
    make_rng,
    scores_of,
    total_loss,
    voice_of,
)
from scipy.special import expit

from curriculum_rec.distillation import (
    CollaborativeDistillation,
    PairwiseMargin,
    RankingDistillation,
    RelaxedRanking,
    UnbiasedRanking,
)
from curriculum_rec.distillation.groups import check_groups, popularity_groups
from curriculum_rec.distillation.ranking import (
    draw_ranks,
    dynamic_weights,
    pairwise_margin,
    relaxed_ranking,
    static_weights,
)
from curriculum_rec.errors import OptionError

STUDENT, TEACHER = fixed_model(seed=1), fixed_model(width=7, seed=2)
PRESENT = np.arange(3) < LENGTHS[:, None]
GROUPS = jnp.asarray(popularity_groups(np.array([0, *range(1, N_ITEMS + 1)]), 2))


def best_of(model, k):
    """The items with the highest scores, best first."""
    return 1 + np.argsort(-scores_of(model), axis=-1)[..., :k]


def scores_at(model, items):
    return np.take_along_axis(scores_of(model), items - 1, axis=-1)


@pytest.mark.slow
def test_the_teachers_list_is_its_best_items_in_order():
    term = RelaxedRanking(k=5)
    items, scores = make_lesson(term, STUDENT, voice_of(TEACHER)).listed("best", 5)
    np.testing.assert_array_equal(items, best_of(TEACHER, 5))
    np.testing.assert_allclose(scores, scores_at(TEACHER, best_of(TEACHER, 5)), rtol=1e-5)


def test_without_others_the_relaxed_ranking_is_plackett_luce():
    """Its probabilities of all 24 orders of four items sum to 1, and each is the product of choices."""
    scores = np.random.default_rng(0).standard_normal(4)
    orders = np.array(list(itertools.permutations(range(4))))
    losses = relaxed_ranking(jnp.asarray(scores[orders], jnp.float32), jnp.zeros((24, 0)))
    probability = np.exp(-np.asarray(losses, np.float64))
    assert probability.sum() == pytest.approx(1, rel=1e-5)
    e = np.exp(scores[[2, 0, 3, 1]])
    number = [tuple(order) for order in orders].index((2, 0, 3, 1))
    assert probability[number] == pytest.approx(e[0] / e.sum() * e[1] / e[1:].sum() * e[2] / e[2:].sum(), rel=1e-5)


@pytest.mark.parametrize("size", [1e3, pytest.param(-1e3, marks=pytest.mark.slow)])
def test_the_relaxed_ranking_is_stable(size):
    """The authors take bare exponentials, which overflow from 89 on."""
    best, rest = jnp.array([size, -size, size / 2]), jnp.array([size, 0.0])
    value, gradient = jax.value_and_grad(lambda s: relaxed_ranking(s, rest))(best)
    assert np.isfinite(value) and np.isfinite(gradient).all()
    scores, others = np.asarray(best, np.float64), np.asarray(rest, np.float64)
    exact = [np.logaddexp.reduce(np.concatenate([scores[k:], others])) - scores[k] for k in range(3)]
    assert float(value) == pytest.approx(sum(exact), rel=1e-5)


@pytest.mark.slow
def test_items_left_out_of_the_rest_or_the_best_do_not_count():
    best, rest = jnp.array([1.0, -0.5, 9.0]), jnp.array([0.3, 7.0])
    got = relaxed_ranking(best, rest, jnp.array([True, False]), jnp.array([True, True, False]))
    assert float(got) == pytest.approx(float(relaxed_ranking(best[:2], rest[:1])), rel=1e-6)


def test_the_relaxed_ranking_of_a_batch_by_hand():
    term = RelaxedRanking(k=4, n_uniform=6)
    lesson = make_lesson(term, STUDENT, voice_of(TEACHER))
    drawn = np.asarray(lesson.draw_uniformly(6))
    losses = np.asarray(term(lesson))
    listed = best_of(TEACHER, 4)
    for row, place in zip(*np.nonzero(PRESENT), strict=True):
        items = listed[row, place]
        rest = [item for item in drawn if item not in items]
        s = scores_of(STUDENT)[row, place]
        expected = sum(
            np.log(np.exp(s[items[k:] - 1]).sum() + np.exp(s[np.array(rest, int) - 1]).sum()) - s[items[k] - 1]
            for k in range(4)
        )
        assert losses[row, place] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("term", [RelaxedRanking(k=4, n_uniform=6), UnbiasedRanking(k=3), PairwiseMargin(k=4)], ids=str)
@pytest.mark.slow
def test_a_shift_of_all_scores_changes_no_ranking_loss(term):
    def widened(shift):
        ones = jnp.ones((len(STUDENT.table), 1))
        hidden = jnp.concatenate([STUDENT.hidden, shift * jnp.ones((*STUDENT.hidden.shape[:2], 1))], axis=-1)
        return Fixed(hidden, jnp.concatenate([STUDENT.table, ones], axis=-1))

    plain, shifted = (
        np.asarray(losses_of(term, widened(shift), voice_of(TEACHER), groups=GROUPS)) for shift in (0.0, 7.0)
    )
    np.testing.assert_allclose(shifted, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_static_weights_fall_and_sum_to_one():
    weights = np.asarray(static_weights(5, 2.0))
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(weights[1:] / weights[:-1], math.exp(-1 / 2), rtol=1e-5)


def test_dynamic_weights_are_zero_where_the_student_ranks_well_enough():
    rng = np.random.default_rng(0)
    scores, sample = (jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in ((50, 6), (50, 20)))
    weights = np.asarray(dynamic_weights(scores, sample, n_items=200, mu=0.1))
    above = (np.asarray(sample)[:, None, :] > np.asarray(scores)[:, :, None]).sum(axis=-1)
    rank = 1 + (199 * above) // 20
    expected = np.maximum(np.tanh(0.1 * (rank - np.arange(1, 7))), 0)
    np.testing.assert_allclose(weights, expected, rtol=1e-4, atol=1e-6)
    assert (weights >= 0).all() and (weights[rank <= np.arange(1, 7)] == 0).all() and (weights > 0).any()


@pytest.mark.slow
def test_ranking_distillation_by_hand_before_and_after_the_students_ranks_count():
    term = RankingDistillation(k=4, n_uniform=8, dynamic_from=0.5, mu=1.0)
    s = scores_at(STUDENT, best_of(TEACHER, 4))
    static = np.exp(-np.arange(1, 5)) / np.exp(-np.arange(1, 5)).sum()
    early = make_lesson(term, STUDENT, voice_of(TEACHER), progress=0.4)
    expected = -(static * np.log(expit(s))).sum(axis=-1)
    np.testing.assert_allclose(np.asarray(term(early))[PRESENT], expected[PRESENT], rtol=1e-4)
    late = make_lesson(term, STUDENT, voice_of(TEACHER), progress=0.5)
    sample = scores_of(STUDENT)[..., np.asarray(late.draw_uniformly(8)) - 1]
    rank = 1 + np.floor((N_ITEMS - 1) * (sample[..., None, :] > s[..., None]).sum(axis=-1) / 8)
    weights = static * np.maximum(np.tanh(rank - np.arange(1, 5)), 0)
    expected = -(weights * np.log(expit(s))).sum(axis=-1)
    np.testing.assert_allclose(np.asarray(term(late))[PRESENT], expected[PRESENT], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("spread", [0.5, 5.0])
@pytest.mark.slow
def test_ranks_are_drawn_by_their_exponential(spread):
    rng = make_rng()
    ranks = np.asarray(draw_ranks(rng, 20000, k=6, spread=spread)).reshape(-1)
    expected = np.exp(-np.arange(6) / spread)
    expected /= expected.sum()
    error = np.sqrt(expected * (1 - expected) / len(ranks))
    assert (np.abs(np.bincount(ranks, minlength=6) / len(ranks) - expected) < 4 * error + 1e-6).all()


@pytest.mark.parametrize("guide", ["teacher", "student"])
@pytest.mark.slow
def test_collaborative_distillation_draws_the_first_items_of_its_guide(guide):
    """With a tiny spread only the first is drawn, so the loss is known."""
    term = CollaborativeDistillation(k=5, n_drawn=3, spread=0.01, guide=guide, temperature=3.0)
    losses = np.asarray(losses_of(term, STUDENT, voice_of(TEACHER)))
    items = best_of(TEACHER, 5)
    if guide == "student":
        order = np.argsort(-scores_at(STUDENT, items), axis=-1)
        items = np.take_along_axis(items, order, axis=-1)
    s, z = (scores_at(model, items)[..., 0] for model in (STUDENT, TEACHER))
    q, p = expit(z / 3), expit(s)
    expected = -(q * np.log(p) + (1 - q) * np.log(1 - p))
    np.testing.assert_allclose(losses[PRESENT], expected[PRESENT], rtol=1e-3, atol=1e-5)


def test_pairs_are_those_that_the_teacher_orders():
    s = np.array([0.3, -1.0, 2.0])
    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = np.mean([np.log1p(np.exp(0.5 - (s[a] - s[b]))) for a, b in pairs])
    assert float(pairwise_margin(jnp.asarray(s, jnp.float32), margin=0.5)) == pytest.approx(expected, rel=1e-5)


def test_groups_hold_equally_many_interactions():
    counts = np.array([0, *np.random.default_rng(0).zipf(1.5, 200).clip(max=300)])
    groups = popularity_groups(counts, 3)
    totals = np.bincount(groups[1:], weights=counts[1:])
    assert np.abs(totals - counts.sum() / 3).max() <= counts.max()
    assert counts[1:][groups[1:] == 0].max() <= counts[1:][groups[1:] == 2].min()


def test_no_pair_crosses_groups():
    """The gradient of a student's scores vanishes in every group by itself, and no popular item meets an unpopular."""
    term = UnbiasedRanking(k=3, pairs=8)
    items = np.asarray(make_lesson(term, STUDENT, voice_of(TEACHER), groups=GROUPS).listed("grouped", 3).items)
    of_item = np.asarray(GROUPS)[items]
    assert (of_item == np.array([0, 1])[None, None, :, None]).all()

    # One more dimension, in which an item's number of the vector is its group: a shift of one group's scores alone.
    def shifted(shift):
        group = jnp.pad((GROUPS == 1).astype(jnp.float32), (0, len(STUDENT.table) - len(GROUPS)))
        hidden = jnp.concatenate([STUDENT.hidden, shift * jnp.ones((*STUDENT.hidden.shape[:2], 1))], axis=-1)
        return Fixed(hidden, jnp.concatenate([STUDENT.table, group[:, None]], axis=-1))

    plain, moved = (
        np.asarray(losses_of(term, shifted(shift), voice_of(TEACHER), groups=GROUPS)) for shift in (0.0, 9.0)
    )
    np.testing.assert_allclose(moved, plain, rtol=1e-4, atol=1e-4)
    assert plain[PRESENT].min() > 0


def test_small_groups_are_refused():
    with pytest.raises(OptionError, match=r"the smallest popularity group has \d+ items"):
        check_groups(np.asarray(GROUPS), 12)


@pytest.mark.parametrize("term", [RelaxedRanking(k=3), PairwiseMargin(k=3)], ids=str)
@pytest.mark.slow
def test_a_step_along_the_gradient_brings_the_teachers_order_nearer(term):
    def loss(model):
        return total_loss(term, Fixed(*model), voice_of(TEACHER))

    @jax.jit
    def trained():
        start = (STUDENT.hidden, STUDENT.table)
        return jax.lax.fori_loop(
            0, 60, lambda _, model: jax.tree.map(lambda leaf, g: leaf - 0.3 * g, model, jax.grad(loss)(model)), start
        )

    student = Fixed(*trained())
    before, after = (
        (best_of(model, 3) == best_of(TEACHER, 3))[PRESENT].mean() if isinstance(term, RelaxedRanking)
        else (np.diff(scores_at(model, best_of(TEACHER, 3)), axis=-1) < 0)[PRESENT].mean()
        for model in (STUDENT, student)
    )  # fmt: skip
    assert after > before + 0.2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RelaxedRanking(k=0), "distil.terms.k=0"),
        (lambda: RelaxedRanking(n_uniform=-1), "distil.terms.n_uniform=-1"),
        (lambda: RankingDistillation(dynamic_from=1.5), "distil.terms.dynamic_from=1.5"),
        (lambda: CollaborativeDistillation(guide="both"), "distil.terms.guide=both"),
        (lambda: PairwiseMargin(k=1), "distil.terms.k=1"),
        (lambda: UnbiasedRanking(groups=1), "distil.terms.groups=1"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
