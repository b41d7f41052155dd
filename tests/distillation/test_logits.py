import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lessons import (
    LENGTHS,
    N_ITEMS,
    Fixed,
    fixed_model,
    gradients,
    losses_of,
    make_batch,
    make_lesson,
    scores_of,
    voice_of,
)
from scipy.special import expit, log_softmax, softmax

from curriculum_rec.distillation import CandidateDivergence, CatalogueDivergence, SoftBinary
from curriculum_rec.distillation.logits import candidate_divergence, drawn_among
from curriculum_rec.errors import OptionError

STUDENT, TEACHER = fixed_model(seed=1), fixed_model(width=7, seed=2)
PRESENT = np.arange(3) < LENGTHS[:, None]
EXACT = [CatalogueDivergence(chunk=4), CandidateDivergence(k=4, n_uniform=6), SoftBinary(k=4, n_uniform=6)]


def divergence(wanted, scores, temperature):
    """KL by SciPy."""
    teacher = softmax(wanted / temperature, axis=-1)
    difference = log_softmax(wanted / temperature, axis=-1) - log_softmax(scores / temperature, axis=-1)
    return temperature**2 * (teacher * difference).sum(axis=-1)


@pytest.mark.parametrize(("chunk", "temperature"), [(4, 3.0), pytest.param(100, 1.0, marks=pytest.mark.slow)])
def test_the_divergence_over_the_catalogue_is_the_textbooks(chunk, temperature):
    term = CatalogueDivergence(temperature=temperature, chunk=chunk)
    losses = np.asarray(losses_of(term, STUDENT, voice_of(TEACHER)))
    expected = divergence(scores_of(TEACHER), scores_of(STUDENT), temperature)
    np.testing.assert_allclose(losses[PRESENT], expected[PRESENT], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(losses[~PRESENT], 0)


@pytest.mark.parametrize("weight", [None, [1.0, 0.5, 0.0, 2.0]])
@pytest.mark.slow
def test_its_gradient_is_that_of_the_whole_matrix(weight):
    """The fused gradient, under the foreseen weights and under others, against autodiff of the plain formula."""
    term = CatalogueDivergence(temperature=2.0, chunk=4)
    batch = make_batch(weight)
    factor = jnp.asarray(np.random.default_rng(0).uniform(size=(4, 3)), jnp.float32)
    counts = jnp.asarray(PRESENT & (np.asarray(batch.weight) > 0)[:, None])
    wanted = jnp.asarray(scores_of(TEACHER), jnp.float32)

    def fused(hidden, table, factor):
        lesson = make_lesson(term, Fixed(hidden, table), voice_of(TEACHER), batch=batch)
        return (factor * term(lesson)).sum()

    def plain(hidden, table, factor):
        scores = hidden @ table[1 : N_ITEMS + 1].T
        losses = candidate_divergence(wanted, scores, jnp.ones_like(scores), temperature=2.0)
        return (jnp.where(counts, losses, 0) * factor).sum()

    for weights in (batch.weight[:, None] * jnp.ones((1, 3)), factor):
        got = jax.grad(fused, (0, 1))(STUDENT.hidden, STUDENT.table, weights)
        expected = jax.grad(plain, (0, 1))(STUDENT.hidden, STUDENT.table, weights)
        for mine, other in zip(got, expected, strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)
            assert np.abs(other).max() > 1e-2


@pytest.mark.parametrize(
    "term",
    [EXACT[0], *(pytest.param(term, marks=pytest.mark.slow) for term in EXACT[1:])],
    ids=lambda term: type(term).__name__,
)
def test_a_student_that_scores_like_the_teacher_is_at_the_minimum(term):
    for gradient in gradients(term, TEACHER, voice_of(TEACHER)):
        np.testing.assert_allclose(gradient, 0, atol=1e-5)
    away = Fixed(1.5 * TEACHER.hidden, TEACHER.table)
    assert all(np.abs(gradient).max() > 1e-3 for gradient in gradients(term, away, voice_of(TEACHER)))


@pytest.mark.parametrize(
    "term",
    [EXACT[0], pytest.param(EXACT[1], marks=pytest.mark.slow)],
    ids=lambda term: type(term).__name__,
)
def test_a_shift_of_all_scores_of_a_user_changes_nothing(term):
    def widened(model, shift):
        """One more number a vector, by which every item's score is shifted alike."""
        ones = jnp.ones((len(model.table), 1))
        shifts = shift * jnp.ones((*model.hidden.shape[:2], 1))
        return Fixed(jnp.concatenate([model.hidden, shifts], axis=-1), jnp.concatenate([model.table, ones], axis=-1))

    plain, shifted = (np.asarray(losses_of(term, widened(STUDENT, shift), voice_of(TEACHER))) for shift in (0.0, 7.0))
    np.testing.assert_allclose(shifted, plain, atol=1e-4)


@pytest.mark.slow
def test_the_gradients_scale_does_not_depend_on_the_temperature_to_first_order():
    """For hot temperatures it tends to (s - z) / n less the means, whatever T is."""
    rng = np.random.default_rng(3)
    wanted, scores = (jnp.asarray(rng.standard_normal(9), jnp.float32) for _ in range(2))
    of = {
        t: np.asarray(jax.grad(lambda s, t=t: candidate_divergence(wanted, s, jnp.ones(9), temperature=t))(scores))
        for t in (20.0, 40.0)
    }
    difference = np.asarray(scores - wanted)
    np.testing.assert_allclose(of[40.0], (difference - difference.mean()) / 9, rtol=0.2, atol=0.01)
    assert np.linalg.norm(of[40.0]) == pytest.approx(np.linalg.norm(of[20.0]), rel=0.05)


@pytest.mark.slow
def test_candidates_become_the_catalogue():
    """With all items among the best, the two terms are one; with few, uniform items stand for the rest."""
    whole, all_best = CatalogueDivergence(), CandidateDivergence(k=N_ITEMS, n_uniform=0)
    exact = np.asarray(losses_of(whole, STUDENT, voice_of(TEACHER)))[PRESENT]
    mine = np.asarray(losses_of(all_best, STUDENT, voice_of(TEACHER)))[PRESENT]
    np.testing.assert_allclose(mine, exact, rtol=1e-4, atol=1e-5)
    sampled = CandidateDivergence(k=4, n_uniform=2000)
    near = np.asarray(losses_of(sampled, STUDENT, voice_of(TEACHER)))[PRESENT]
    np.testing.assert_allclose(near, exact, rtol=0.15, atol=0.02)
    few = CandidateDivergence(k=4, n_uniform=0)
    assert np.abs(np.asarray(losses_of(few, STUDENT, voice_of(TEACHER)))[PRESENT] - exact).max() > 0.2


@pytest.mark.slow
def test_soft_labels_are_the_teachers_probabilities():
    term = SoftBinary(k=N_ITEMS, n_uniform=0, temperature=3.0)
    losses = np.asarray(losses_of(term, STUDENT, voice_of(TEACHER)))
    label, p = expit(scores_of(TEACHER) / 3), expit(scores_of(STUDENT) / 3)
    expected = -(label * np.log(p) + (1 - label) * np.log(1 - p)).mean(axis=-1)
    np.testing.assert_allclose(losses[PRESENT], expected[PRESENT], rtol=1e-5)


@pytest.mark.slow
def test_heat_is_a_factor_of_the_temperature():
    hot, plain = CandidateDivergence(temperature=3.0, k=5), CandidateDivergence(temperature=1.5, k=5)
    expected = losses_of(hot, STUDENT, voice_of(TEACHER))
    np.testing.assert_array_equal(losses_of(plain, STUDENT, voice_of(TEACHER), heat=2.0), expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CatalogueDivergence(temperature=0.0), "distil.terms.temperature=0.0"),
        (lambda: CatalogueDivergence(weight=0.0), "distil.terms.weight=0.0"),
        (lambda: CatalogueDivergence(chunk=0), "distil.terms.chunk=0"),
        (lambda: CandidateDivergence(k=0), "distil.terms.k=0"),
        (lambda: SoftBinary(n_uniform=-1), "distil.terms.n_uniform=-1"),
        (lambda: CandidateDivergence(k=13).check(12), "asks for 13 items and the catalogue has 12"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5)])
def test_the_gradient_of_the_candidates_divergence_is_that_of_the_formula(shape):
    rng = np.random.default_rng(1)
    wanted, scores, weight = (jnp.asarray(rng.standard_normal(shape), jnp.float32) for _ in range(3))
    stands_for = jnp.asarray(rng.integers(0, 4, shape) + (np.arange(5) == 0), jnp.float32)

    def plain(scores):
        counted = jnp.log(stands_for)
        teacher = jax.nn.softmax(wanted / 1.5 + counted)
        return -1.5**2 * (teacher * jnp.where(stands_for > 0, scores / 1.5 - jax.nn.logsumexp(
            scores / 1.5 + counted, axis=-1, keepdims=True), 0)).sum(axis=-1)  # fmt: skip

    def loss(divergence, scores):
        return ((1 + weight[..., 0] ** 2) * divergence(scores)).sum()

    mine = jax.grad(lambda s: loss(lambda s: candidate_divergence(wanted, s, stands_for, temperature=1.5), s))(scores)
    np.testing.assert_allclose(mine, jax.grad(lambda s: loss(plain, s))(scores), rtol=1e-5, atol=1e-6)
    assert np.abs(mine).max() > 1e-2


@given(st.integers(1, 9), st.integers(0, 2**31))
def test_drawn_items_are_found_in_lists(n, seed):
    rng = np.random.default_rng(seed)
    drawn, items = rng.integers(1, 10, n, np.int32), rng.integers(1, 12, (2, 3, 4), np.int32)
    expected = (drawn[:, None] == items[..., None, :]).any(axis=-1)
    np.testing.assert_array_equal(drawn_among(jnp.asarray(drawn), jnp.asarray(items), n_rows=10), expected)


@pytest.mark.parametrize("how", ["mean", "borda"])
def test_some_items_are_scored_as_among_all(how):
    drawn = jnp.array([3, 12, 3, 1])
    for teachers in ((TEACHER,), (TEACHER, STUDENT)):
        voice = voice_of(*teachers, how=how)
        whole = jnp.stack([voice.scores(tuple(h[:, place] for h in voice.hidden)) for place in range(3)], axis=1)
        np.testing.assert_allclose(voice.scores_of(drawn), whole[..., drawn], rtol=1e-5, atol=1e-6)
