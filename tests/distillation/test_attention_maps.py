"""Where teacher and student look: maps against the attention that is trained, their divergence, and what is refused."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from lessons import make_rng

from curriculum_rec.distillation import AttentionMaps
from curriculum_rec.distillation.attention_maps import check_attention, map_divergence
from curriculum_rec.distillation.contract import Lesson, Sizes
from curriculum_rec.distillation.voice import Voice
from curriculum_rec.errors import OptionError
from curriculum_rec.models import DNN, HSTU, BERT4Rec, SASRec
from curriculum_rec.models import blocks as blocks_module
from curriculum_rec.models.attention import attention, attention_map
from curriculum_rec.models.batch import Batch
from curriculum_rec.models.structure import join_model, split_model

N_ITEMS, LENGTH = 20, 5
HISTORY = np.array([[3, 1, 4, 1, 5], [2, 7, 1, 0, 0], [9, 0, 0, 0, 0]], np.int32)
TARGET = np.array([[1, 4, 1, 5, 9], [7, 1, 8, 0, 0], [2, 0, 0, 0, 0]], np.int32)
BATCH = Batch({"history": jnp.asarray(HISTORY), "target": jnp.asarray(TARGET)}, jnp.ones(3), progress=jnp.float32(0))
TEACHER = SASRec(width=12, n_heads=3, depth=3, dropout=0.0)
STUDENT = SASRec(width=8, n_heads=2, depth=2, dropout=0.0, positions="relative")


def build(options, seed=1):
    """A model whose parameters are all away from their initial values."""
    make = nnx.eval_shape(lambda: options(n_items=N_ITEMS, max_length=LENGTH, rngs=nnx.Rngs(0)))
    structure, abstract = split_model(make)
    rng = np.random.default_rng(seed)
    return join_model(
        structure, jax.tree.map(lambda leaf: jnp.asarray(0.5 * rng.standard_normal(leaf.shape, np.float32)), abstract)
    )


def loss_of(term, student, teacher):
    """Sum a term's losses where there are targets, as a function of both models' parameters."""
    structure, params = split_model(teacher)
    voice = Voice.of([structure], [params], BATCH, "mean", attention=True)
    hidden, maps = student.with_attention(BATCH)
    lesson = Lesson(
        student, hidden, BATCH, make_rng(), BATCH["target"] > 0, {}, voice, None, jnp.float32(0), jnp.float32(1),
        jnp.ones((), bool), None, maps,
    )  # fmt: skip
    return jnp.where(lesson.mask, term(lesson), 0).sum()


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("biased", [0, 1, 2])
def test_a_map_is_what_attention_makes_of_unit_vectors(causal, biased):
    rng = np.random.default_rng(biased)
    query, key = (jnp.asarray(rng.standard_normal((2, 6, 2, 6), np.float32)) for _ in range(2))
    bias = jnp.asarray(rng.standard_normal((1, biased, 6, 6), np.float32)) if biased else None
    n_keys = None if causal else jnp.array([6, 4], jnp.int32)
    unit = jnp.broadcast_to(jnp.eye(6)[None, :, None], (2, 6, 2, 6))
    mixed = attention(query, key, unit, causal=causal, bias=bias, n_keys=n_keys)
    got = attention_map(query, key, causal=causal, bias=bias, n_keys=n_keys)
    np.testing.assert_allclose(got, mixed.mean(axis=2), atol=1e-6)


@pytest.mark.parametrize("options", [TEACHER, STUDENT, replace(STUDENT, norm_position="post"), BERT4Rec(width=8)])
def test_models_that_show_their_attention_compute_the_same(options):
    model = build(options)
    hidden, maps = jax.jit(model.with_attention)(BATCH)
    np.testing.assert_allclose(hidden, model(BATCH), rtol=1e-4, atol=1e-5)
    behind = isinstance(options, BERT4Rec)
    assert maps.shape == (options.depth, 3, LENGTH, LENGTH + behind)
    later = np.arange(LENGTH + behind) > np.arange(LENGTH)[:, None] + behind
    present = HISTORY > 0
    np.testing.assert_array_equal(np.asarray(maps)[:, present][:, later[np.nonzero(present)[1]]], 0)
    np.testing.assert_allclose(np.asarray(maps).sum(axis=-1)[:, present], 1, rtol=1e-5)


def test_deep_stacks_show_the_same_maps(monkeypatch):
    model = build(replace(STUDENT, depth=4))
    unrolled = model.with_attention(BATCH)
    blocks_module.freeze_blocks(model.blocks, 1)
    monkeypatch.setattr(blocks_module, "UNROLL_UP_TO", 2)
    for a, b in zip(unrolled, model.with_attention(BATCH), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("layers", ["last", "uniform"])
def test_the_divergence_by_hand(layers):
    teacher, student = build(TEACHER), build(STUDENT, seed=2)
    theirs, ours = (np.asarray(model.with_attention(BATCH)[1], np.float64) for model in (teacher, student))
    pairs = [(1, 2)] if layers == "last" else [(0, 1), (1, 2)]
    expected = 0.0
    for a, b in pairs:
        for row, position in zip(*np.nonzero(TARGET), strict=True):
            t, s = theirs[b, row, position, : position + 1], ours[a, row, position, : position + 1]
            expected += (t * np.log(t / s)).sum() / len(pairs)
    assert float(loss_of(AttentionMaps(layers=layers), student, teacher)) == pytest.approx(expected, rel=1e-4)
    assert expected > 0.1


@pytest.mark.parametrize("layers", ["last", "uniform"])
def test_the_teachers_own_maps_are_the_minimum_and_it_gets_no_gradient(layers):
    term, structure = AttentionMaps(layers=layers), split_model(build(TEACHER))[0]
    same, other = (split_model(build(TEACHER, seed=seed))[1] for seed in (1, 2))

    @jax.jit
    def gradients(student, teacher):
        join = lambda params: join_model(structure, params)  # noqa: E731
        return jax.grad(lambda s, t: loss_of(term, join(s), join(t)), (0, 1))(student, teacher)

    for leaf in jax.tree.leaves(gradients(same, same)):
        np.testing.assert_allclose(leaf, 0, atol=1e-5)
    student, teacher = gradients(other, same)
    assert all(not np.asarray(leaf).any() for leaf in jax.tree.leaves(teacher))
    attention_part = np.asarray(student["blocks"]["query_key_value"]["kernel"])
    assert np.abs(attention_part[-1]).max() > 1e-3
    # a last map needs no value of its own block
    assert not attention_part[-1][:, 24:].any()


def test_a_key_that_the_student_has_given_up_costs_a_finite_number():
    given_up = jnp.array([1.0, 0.0])
    loss, gradient = jax.value_and_grad(lambda s: map_divergence(jnp.array([0.5, 0.5]), s))(given_up)
    assert np.isfinite(loss) and loss > 5 and np.isfinite(gradient).all()


def test_what_has_no_maps_is_refused():
    sasrec, bert, dnn, hstu = (build(options) for options in (STUDENT, BERT4Rec(width=8), DNN(width=8), HSTU(width=8)))
    check_attention("o", sasrec, [build(TEACHER)])
    check_attention("o", bert, [])
    for student, teachers, sentence in (
        (dnn, [], "o: AttentionMaps compares maps of softmax attention, and DNNModel has none"),
        (sasrec, [hstu], "HSTUModel has none"),
        (sasrec, [bert], "cannot compare SASRecModel with BERT4RecModel"),
    ):
        with pytest.raises(OptionError, match=sentence):
            check_attention("o", student, teachers)
    with pytest.raises(OptionError, match="an ensemble has none"):
        AttentionMaps().part(Sizes(5, None), nnx.Rngs(0))
    with pytest.raises(OptionError, match=r"distil\.terms\.layers=first"):
        AttentionMaps(layers="first")
