"""Terms of hidden states and of the batch as a whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from lessons import (
    BATCH,
    LENGTHS,
    Fixed,
    fixed_model,
    gradients,
    losses_of,
    make_batch,
    make_lesson,
    make_rng,
    voice_of,
)
from sklearn.metrics.pairwise import cosine_similarity

from curriculum_rec.distillation import Experts, FullTopology, HiddenState, HierarchicalTopology, ItemSideRanking
from curriculum_rec.distillation.contract import Sizes
from curriculum_rec.distillation.features import GatedExperts, gumbel_gate
from curriculum_rec.distillation.ranking import relaxed_ranking
from curriculum_rec.errors import OptionError

STUDENT, TEACHER = fixed_model(seed=1), fixed_model(width=7, seed=2)
PRESENT = np.arange(3) < LENGTHS[:, None]
LAST = LENGTHS - 1


def turned(model, seed=0):
    """The same model in a rotated space."""
    width = model.hidden.shape[-1]
    rotation = jnp.asarray(np.linalg.qr(np.random.default_rng(seed).standard_normal((width, width)))[0], jnp.float32)
    return Fixed(model.hidden @ rotation, model.table @ rotation)


def entities(model):
    batch = make_batch()
    users = np.asarray(model.hidden, np.float64)[np.arange(BATCH), LAST]
    items = np.asarray(model.table, np.float64)[np.asarray(batch["target"])[np.arange(BATCH), LAST]]
    return np.concatenate([users, items])


def test_hidden_states_are_compared_after_the_projection():
    term = HiddenState()
    part = term.part(Sizes(5, 7), nnx.Rngs(0))
    losses = np.asarray(losses_of(term, STUDENT, voice_of(TEACHER), part=part))
    ours = np.asarray(STUDENT.hidden) @ np.asarray(part.kernel[...]) + np.asarray(part.bias[...])
    np.testing.assert_allclose(losses, ((ours - np.asarray(TEACHER.hidden)) ** 2).sum(axis=-1), rtol=1e-4)


@pytest.mark.slow
def test_equal_hidden_states_are_the_minimum():
    term = HiddenState(projection="identity")
    assert term.part(Sizes(7, 7), nnx.Rngs(0)) is None
    np.testing.assert_array_equal(losses_of(term, TEACHER, voice_of(TEACHER)), 0)
    for gradient in gradients(term, TEACHER, voice_of(TEACHER)):
        np.testing.assert_array_equal(gradient, 0)


def test_a_gate_sums_to_one_and_becomes_one_choice():
    logits = jnp.asarray(np.random.default_rng(0).standard_normal((BATCH, 3, 6)), jnp.float32)
    warm, cold = (np.asarray(gumbel_gate(logits, make_rng(), temperature=t)) for t in (1.0, 1e-10))
    for gate in (warm, cold):
        np.testing.assert_allclose(gate.sum(axis=-1), 1, rtol=1e-5)
    assert warm.max() < 0.999
    np.testing.assert_allclose(np.sort(cold, axis=-1)[..., -1], 1)
    np.testing.assert_array_equal(cold.argmax(axis=-1), warm.argmax(axis=-1))


@pytest.mark.slow
def test_choices_follow_the_softmax():
    logits = jnp.log(jnp.array([0.1, 0.2, 0.7]))
    many = jnp.broadcast_to(logits, (BATCH, 5000, 3))
    chosen = np.asarray(gumbel_gate(many, make_rng(), temperature=1e-10)).mean(axis=(0, 1))
    np.testing.assert_allclose(chosen, [0.1, 0.2, 0.7], atol=4 * np.sqrt(0.25 / 20000))


@pytest.mark.slow
def test_experts_are_mixed_by_the_gate():
    experts = GatedExperts(3, student=5, teacher=7, rngs=nnx.Rngs(0))
    gate = jnp.asarray(np.random.default_rng(0).dirichlet(np.ones(3), (BATCH, 3)), jnp.float32)
    up, bias = (np.asarray(leaf[...]) for leaf in (experts.up.kernel, experts.up.bias))
    inner = np.maximum(np.asarray(STUDENT.hidden) @ up + bias, 0).reshape(BATCH, 3, 3, 6)
    answers = np.einsum("blew,ewt->blet", inner, np.asarray(experts.down[...]))
    expected = (np.asarray(gate)[..., None] * answers).sum(axis=2)
    np.testing.assert_allclose(experts.mixed(STUDENT.hidden, gate), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_experts_temperature_falls_to_a_choice():
    term = Experts(n_experts=3)
    part = term.part(Sizes(5, 7), nnx.Rngs(0))
    losses = [np.asarray(losses_of(term, STUDENT, voice_of(TEACHER), part=part, progress=p)) for p in (0.0, 1.0)]
    single = [
        np.asarray(part.mixed(STUDENT.hidden, jnp.broadcast_to(jax.nn.one_hot(e, 3), (BATCH, 3, 3))) - TEACHER.hidden)
        for e in range(3)
    ]
    by_expert = np.stack([(difference**2).sum(axis=-1) for difference in single], axis=-1)
    assert np.abs(by_expert - losses[1][..., None]).min(axis=-1).max() < 1e-3
    assert np.abs(by_expert - losses[0][..., None]).min(axis=-1).max() > 1e-2


def test_the_full_topology_is_that_of_cosines():
    term = FullTopology()
    losses = np.asarray(losses_of(term, STUDENT, voice_of(TEACHER)))
    square = (cosine_similarity(entities(STUDENT)) - cosine_similarity(entities(TEACHER))) ** 2
    expected = square.sum(axis=1).reshape(2, BATCH).sum(axis=0)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)


def test_a_rotation_of_the_students_space_has_the_teachers_topology():
    term = FullTopology()
    np.testing.assert_allclose(losses_of(term, turned(TEACHER), voice_of(TEACHER)), 0, atol=1e-5)
    for gradient in gradients(term, turned(TEACHER), voice_of(TEACHER)):
        np.testing.assert_allclose(gradient, 0, atol=1e-4)
    assert np.asarray(losses_of(term, STUDENT, voice_of(TEACHER))).min() > 0.1


@pytest.mark.slow
def test_rows_that_fill_the_batch_up_are_nobodys_neighbours():
    term = FullTopology()
    batch = make_batch([1.0, 1.0, 1.0, 0.0])
    losses = np.asarray(losses_of(term, STUDENT, voice_of(TEACHER), batch=batch))
    square = (cosine_similarity(entities(STUDENT)) - cosine_similarity(entities(TEACHER))) ** 2
    square[:, [3, 7]] = 0
    np.testing.assert_allclose(losses, square.sum(axis=1).reshape(2, BATCH).sum(axis=0), rtol=1e-4)


@pytest.mark.parametrize("level", ["prototypes", "entities"])
@pytest.mark.slow
def test_the_hierarchical_topology_inside_and_between_groups(level):
    term = HierarchicalTopology(n_groups=2, level=level, assignment=0.25)
    part = term.part(Sizes(5, 7), nnx.Rngs(3))
    lesson = make_lesson(term, STUDENT, voice_of(TEACHER), part=part)
    got = np.asarray(term(lesson)).sum()
    theirs, ours = entities(TEACHER), entities(STUDENT)
    gates = [
        theirs[part_of] @ np.asarray(g.gate.kernel[...]) + np.asarray(g.gate.bias[...])
        for part_of, g in ((slice(BATCH), part.users), (slice(BATCH, None), part.items))
    ]
    group = np.concatenate([gates[0].argmax(axis=1), 2 + gates[1].argmax(axis=1)])
    square = (cosine_similarity(ours) - cosine_similarity(theirs)) ** 2
    inside = square[group[:, None] == group[None, :]].sum()
    present = np.unique(group)
    means = [np.stack([vectors[group == g].mean(axis=0) for g in present]) for vectors in (ours, theirs)]
    pairs = (means[0], means[1]) if level == "prototypes" else (ours, theirs)
    between = ((cosine_similarity(pairs[0], means[0]) - cosine_similarity(pairs[1], means[1])) ** 2).sum()
    assigned = np.asarray(part.reconstruction(lesson.whole.own, lesson, term.temperature)).sum()
    assert got == pytest.approx(0.75 * (inside + between) + 0.25 * assigned, rel=1e-4)


@pytest.mark.slow
def test_a_rotation_has_the_teachers_hierarchy():
    term = HierarchicalTopology(n_groups=2, assignment=1e-6)
    part = term.part(Sizes(7, 7), nnx.Rngs(3))
    losses = losses_of(term, turned(TEACHER), voice_of(TEACHER), part=part)
    np.testing.assert_allclose(losses, 0, atol=1e-3)


@pytest.mark.slow
def test_users_are_ranked_for_an_item():
    term = ItemSideRanking(k=2, n_uniform=0)
    losses = np.asarray(losses_of(term, STUDENT, voice_of(TEACHER)))
    theirs, ours = entities(TEACHER), entities(STUDENT)
    for example in range(BATCH):
        wanted = theirs[:BATCH] @ theirs[BATCH + example]
        order = np.argsort(-wanted)[:2]
        scores = jnp.asarray(ours[:BATCH][order] @ ours[BATCH + example], jnp.float32)
        assert losses[example] == pytest.approx(float(relaxed_ranking(scores, jnp.zeros(0))), rel=1e-4)


@pytest.mark.parametrize("term", [HiddenState(), Experts(), FullTopology(), HierarchicalTopology(), ItemSideRanking()])
def test_an_ensemble_has_no_hidden_states(term):
    with pytest.raises(OptionError, match="an ensemble has none"):
        term.part(Sizes(5, None), nnx.Rngs(0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HiddenState(projection="none"), "distil.terms.projection=none"),
        (lambda: Experts(n_experts=0), "distil.terms.n_experts=0"),
        (lambda: Experts(coldest=2.0), "distil.terms.coldest=2.0"),
        (lambda: HierarchicalTopology(n_groups=1), "distil.terms.n_groups=1"),
        (lambda: HierarchicalTopology(assignment=1.0), "distil.terms.assignment=1"),
        (lambda: HierarchicalTopology(level="none"), "distil.terms.level=none"),
        (lambda: ItemSideRanking(k=0), "distil.terms.k=0"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
