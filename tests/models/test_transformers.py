"""What a Transformer's options change: its blocks, what it knows of places and times, and where it may look."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from curriculum_rec.data.features.schema import Field
from curriculum_rec.data.inputs import Columns
from curriculum_rec.errors import OptionError
from curriculum_rec.growth.width import axes_of
from curriculum_rec.models import HSTU, BERT4Rec, SASRec, TransformerClassifier
from curriculum_rec.models import attention as attention_module
from curriculum_rec.models.attention import attention
from curriculum_rec.models.batch import Batch
from curriculum_rec.models.blocks import FeedForward
from curriculum_rec.models.gates import StreamGate
from curriculum_rec.models.hstu import time_buckets
from curriculum_rec.models.pointwise import _by_blocks, _whole, pointwise_attention
from curriculum_rec.models.positions import RelativeBias, rotate
from curriculum_rec.models.queries import user_vectors
from curriculum_rec.models.structure import join_model, split_model

N_ITEMS, MAX_LENGTH = 20, 6


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def with_random_values(make, seed=1):
    """A module whose parameters are all away from their initial values."""
    structure, abstract = split_model(nnx.eval_shape(make))
    rng = np.random.default_rng(seed)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape, np.float32)), abstract)
    return join_model(structure, params)


def build(options, **changes):
    options = replace(options, **changes)
    return with_random_values(lambda: options(n_items=N_ITEMS, max_length=MAX_LENGTH, depth=1, rngs=nnx.Rngs(0)))


def test_turned_products_depend_on_distances_alone():
    query, key = random(1, 9, 1, 4), random(1, 9, 1, 4, seed=1)
    same = [np.broadcast_to(x[:, :1], x.shape) for x in (query, key)]
    scores = np.einsum("bqhd,bkhd->qk", rotate(jnp.asarray(same[0])), rotate(jnp.asarray(same[1])))
    for distance in range(9):
        np.testing.assert_allclose(np.diagonal(scores, -distance), scores[distance, 0], atol=1e-5)
    assert np.abs(scores[1, 0] - scores[0, 0]) > 1e-2
    # two entries by the angle of their position, by hand: (1, 0) at position 1 becomes (cos 1, sin 1)
    turned = np.asarray(rotate(jnp.asarray([[[[1.0, 0.0]], [[1.0, 0.0]]]])))
    np.testing.assert_allclose(turned[0, 1, 0], [np.cos(1), np.sin(1)], rtol=1e-6)


def test_the_bias_of_a_distance_by_hand():
    bias = RelativeBias(1, 3, both_ways=True, rngs=nnx.Rngs(0))
    bias.before[...] = jnp.array([[20.0, 10.0, 0.0]])  # distance 0 stands last
    bias.after[...] = jnp.array([[-20.0, -10.0, 99.0]])
    assert np.asarray(bias(3))[0, 0].tolist() == [[0, -10, -20], [10, 0, -10], [20, 10, 0]]


@pytest.mark.parametrize("causal", [True, False])
def test_attention_with_bias_and_padding_equals_the_formula(causal):
    query, key, value = random(3, 2, 5, 2, 3)
    bias, n_keys = random(1, 2, 5, 5, seed=1), np.array([5, 2], np.int32)
    expected = np.zeros((2, 5, 2, 3))
    for b, q, h in np.ndindex(2, 5, 2):
        last = min(n_keys[b], q + 1) if causal else n_keys[b]
        scores = key[b, :last, h] @ query[b, q, h] / np.sqrt(3) + bias[0, h, q, :last]
        weights = np.exp(scores - scores.max())
        expected[b, q, h] = weights / weights.sum() @ value[b, :last, h]
    inputs = [jnp.asarray(x) for x in (query, key, value)]
    got = attention(*inputs, causal=causal, bias=jnp.asarray(bias), n_keys=jnp.asarray(n_keys))
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_pointwise_attention_by_blocks_equals_the_whole_in_value_and_gradient(monkeypatch):
    monkeypatch.setattr(attention_module, "BLOCK", 7)
    inputs = [jnp.asarray(x) for x in (*random(3, 2, 20, 2, 3), random(2, 1, 20, 20, seed=1))]
    weight = jnp.asarray(random(2, 20, 2, 3, seed=2))
    by_blocks, whole = (
        jax.jit(jax.value_and_grad(lambda x, form=form: (form(*x) * weight).sum()))(inputs)
        for form in (_by_blocks, _whole)
    )
    np.testing.assert_allclose(by_blocks[0], whole[0], rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), by_blocks[1], whole[1])


def test_pointwise_attention_equals_the_formula_in_both_forms():
    query, key, value = random(3, 2, 5, 2, 3)
    bias = random(2, 1, 5, 5, seed=1)
    expected = np.zeros((2, 5, 2, 3))
    for b, q, h in np.ndindex(2, 5, 2):
        scores = key[b, : q + 1, h] @ query[b, q, h] + bias[b, 0, q, : q + 1]
        expected[b, q, h] = (scores / (1 + np.exp(-scores))) @ value[b, : q + 1, h] / (q + 1)
    inputs = [jnp.asarray(x) for x in (query, key, value, bias)]
    for form in (_by_blocks, _whole):
        np.testing.assert_allclose(form(*inputs), expected, atol=1e-5)
    np.testing.assert_allclose(pointwise_attention(*inputs[:3], bias=inputs[3]), expected, atol=1e-5)


def test_a_gated_feed_forward_branch_equals_its_formula():
    block = with_random_values(
        lambda: FeedForward(4, factor=2, dropout=0.0, norm="rms", kind="swiglu", gating="ligr", rngs=nnx.Rngs(0))
    )
    x = random(2, 3, 4)
    normed = np.asarray(block.norm(jnp.asarray(x)))

    def linear(layer, y):
        return y @ np.asarray(layer.kernel) + np.asarray(layer.bias)

    def sigmoid(y):
        return 1 / (1 + np.exp(-y))

    swish = linear(block.swish, normed)
    inner = linear(block.down, swish * sigmoid(swish) * linear(block.up, normed))
    gate = sigmoid(linear(block.stream_gate.linear, x))
    expected = x + float(block.residual.gate[...]) * inner * gate
    np.testing.assert_allclose(block(jnp.asarray(x), None), expected, rtol=1e-4, atol=1e-4)


def test_a_gate_of_the_stream_is_a_half_where_it_knows_nothing():
    gate = StreamGate(2, rngs=nnx.Rngs(0))
    gate.linear.kernel[...] = jnp.zeros((2, 2))
    assert np.asarray(gate(jnp.ones((1, 1, 2)), jnp.full((1, 1, 2), 9.0))).tolist() == [[[0.5, 0.5]]]


def test_times_between_items_by_hand():
    # floor(ln(t) / 0.301): 0 up to 1; ln 86400 = 11.37 -> 37; all beyond the last bucket share it
    buckets = time_buckets(jnp.array([[0.0, 1.0, 86_401.0]]), 128)
    assert np.asarray(buckets)[0].tolist() == [[0, 0, 37], [0, 0, 37], [37, 37, 0]]
    assert int(time_buckets(jnp.array([[0.0, 86_401.0]]), 10)[0, 1, 0]) == 9


HISTORY = np.array([[3, 4, 5, 6], [7, 8, 0, 0]], np.int32)


def test_hstu_feels_times_only_where_it_asks():
    time = np.array([[0, 5, 1000, 1001], [0, 9, 0, 0]], np.float32)
    slower = time * 60
    for bias, feels in (("position_and_time", True), ("position", False)):
        model = build(HSTU(width=8), bias=bias)
        assert model.needs_time == feels
        run = jax.jit(lambda t, model=model: model(Batch({"history": jnp.asarray(HISTORY), "time": t}, jnp.ones(2))))
        assert bool((np.asarray(run(time))[0, 3] != np.asarray(run(slower))[0, 3]).any()) == feels
        np.testing.assert_array_equal(run(time), run(time + np.float32(64)))  # differences alone count
    with pytest.raises(OptionError, match="no array 'time'.*model.bias=position"):
        build(HSTU(width=8))(Batch({"history": jnp.asarray(HISTORY)}, jnp.ones(2)))


def test_a_bidirectional_model_looks_both_ways_but_never_behind_a_mask():
    model = build(BERT4Rec(width=8))
    fill = jax.jit(model.fill)
    items = np.array([[3, 4, 5, 0], [6, 7, 0, 0]], np.int32)
    masked = np.array([[False, True, False, False], [False, False, True, False]])
    before = np.asarray(fill(items, masked))
    later, behind, padding = items.copy(), items.copy(), np.pad(items, ((0, 0), (0, 2)))
    later[0, 2] = 9
    behind[0, 1] = 9
    assert (np.asarray(fill(later, masked))[0, :2] != before[0, :2]).any(axis=1).all()
    np.testing.assert_array_equal(np.asarray(fill(behind, masked)), before)
    wider = np.asarray(fill(padding, np.pad(masked, ((0, 0), (0, 2)))))
    np.testing.assert_allclose(wider[0, :3], before[0, :3], atol=1e-5)
    np.testing.assert_allclose(wider[1, :3], before[1, :3], atol=1e-5)


@pytest.mark.parametrize("positions", ["learnt", "rotary", "relative"])
def test_what_follows_a_history_is_what_stands_at_a_mask_behind_it(positions):
    model = build(BERT4Rec(width=8), positions=positions)
    vectors = np.asarray(jax.jit(lambda h: user_vectors(model, {"history": h}))(HISTORY))
    by_position = np.asarray(jax.jit(lambda h: model(Batch({"history": h}, jnp.ones(2))))(HISTORY))
    np.testing.assert_allclose(by_position[0, 3], vectors[0], atol=1e-5)
    np.testing.assert_allclose(by_position[1, 1], vectors[1], atol=1e-5)
    masked = np.array([[False, False, True, False, False]])
    filled = np.asarray(model.fill(jnp.array([[7, 8, 0, 0, 0]]), jnp.asarray(masked)))
    np.testing.assert_allclose(filled[0, 2], vectors[1], atol=1e-5)


SCHEMA = (Field("numbers", "dense", 5, 5), Field("colour", "categorical", 4, 1))


def test_a_classifier_has_the_documented_number_of_parameters_and_no_order():
    options = TransformerClassifier(width=8, n_heads=2, feed_forward_factor=2, dropout=0.0)
    model = with_random_values(lambda: options(inputs=Columns(SCHEMA, 3), depth=2, rngs=nnx.Rngs(0)))
    axes_of(model)  # refuses what does not fit
    block = 4 * 8 * 9 + 2 * 2 * 8**2 + 3 * 8 + 2 * 2 * 8 + 2
    n_parameters = sum(leaf.size for leaf in jax.tree.leaves(split_model(model)[1]))
    assert n_parameters == (2 * 5 + 4) * 8 + 2 * 8 + 9 * 3 + 2 * block
    x, colour = random(4, 5), jnp.array([[0], [1], [2], [3]], jnp.int32)

    def logits(x):
        return np.asarray(model(Batch({"dense": jnp.asarray(x), "categorical": colour}, jnp.ones(4))))

    before, order = logits(x), np.array([3, 1, 0, 4, 2])
    for table in (model.tokens.weight, model.tokens.bias):
        table[...] = table[...][order]
    assert before.shape == (4, 3)
    np.testing.assert_allclose(logits(x[:, order]), before, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SASRec(width=6, n_heads=2, positions="rotary"), "model.positions=rotary turns pairs"),
        (lambda: SASRec(positions="absolute"), "model.positions=absolute"),
        (lambda: BERT4Rec(gating="highway"), "model.gating=highway"),
        (lambda: SASRec(feed_forward="relu"), "model.feed_forward=relu"),
        (lambda: HSTU(inner_width=3, n_heads=2), "n_heads=2: it must divide model.inner_width=3"),
        (lambda: HSTU(time_buckets=0), "model.time_buckets=0"),
        (lambda: TransformerClassifier(positions="relative"), "features have no order"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
