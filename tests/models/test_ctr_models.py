"""Models of clicks and ratings: sizes by their formulas, values by hand, gradients, growth, devices, learning."""

from dataclasses import replace
from fnmatch import fnmatchcase

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from curriculum_rec.curriculum.options import Curriculum
from curriculum_rec.curriculum.scheduler import Scheduler
from curriculum_rec.data.examples import Examples
from curriculum_rec.data.features import Field
from curriculum_rec.data.inputs import Columns
from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.class_metrics import auc
from curriculum_rec.growth import DepthGrowth
from curriculum_rec.growth.layer_maps import Interleave
from curriculum_rec.growth.new_blocks import Gated
from curriculum_rec.models import (
    DIN,
    DCNv2,
    DeepFM,
    LogisticRegression,
    NeuMF,
    ResidualClassifier,
    TransformerClassifier,
    WideDeep,
)
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.blocks import freeze_blocks
from curriculum_rec.models.dcn_v2 import CrossLayer
from curriculum_rec.models.deepfm import products_of_pairs
from curriculum_rec.models.din import ActivationUnit
from curriculum_rec.models.fields import FieldVectors
from curriculum_rec.models.structure import join_model, split_model
from curriculum_rec.models.wide_deep import combination
from curriculum_rec.objectives import Logistic, MeanSquaredError
from curriculum_rec.training.engine import Engine
from curriculum_rec.training.optimizers import AdamW
from curriculum_rec.training.placement import Placement
from curriculum_rec.training.state import TrainState, count_parameters

SCHEMA = (
    Field("age", "dense", 1, 1),
    Field("colour", "categorical", 4, 1),
    Field("genres", "multi_categorical", 5, 3),
    Field("text", "dense", 3, 3),
    Field("ids.user", "categorical", 5, 1),
    Field("seen.item", "categorical", 6, 1),
    Field("seen", "history", 6, 4),
)
SIZES = np.array([4, 5, 5, 5, 5, 6, 6, 6, 6, 6])  # of each column of codes
D, CODES, FIELDS = 4, 4 + 5 + 5 + 6, 5
N = D + 3 * FIELDS
SMALL = {"width": 8, "embedding_width": 3, "dropout": 0.0}
MODELS = {
    "wide_deep": WideDeep(**SMALL, crosses=(("colour", "ids.user"), ("colour", "seen.item")), cross_buckets=20),
    "deepfm": DeepFM(**SMALL),
    "dcn_v2": DCNv2(**SMALL),
    "dcn_v2 of low rank": DCNv2(**SMALL, rank=4, structure="parallel"),
    "din": DIN(**SMALL, attention_width=5),
    "neumf": NeuMF(**SMALL),
    "residual": ResidualClassifier(**SMALL),
    "transformer": TransformerClassifier(width=8, n_heads=2, feed_forward_factor=2, dropout=0.0),
}
every_model = pytest.mark.parametrize("name", MODELS)
some_quickly = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in ("dcn_v2", "din"))) for name in MODELS]
)
RNG = BatchRng.for_rows(jax.random.key(0), jnp.arange(32, dtype=jnp.int32))


def build(name, n_classes=2, depth=None, schema=SCHEMA):
    return MODELS[name](inputs=Columns(schema, n_classes), depth=depth, rngs=nnx.Rngs(0))


def make_arrays(n=32, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "dense": rng.normal(size=(n, D)).astype(np.float32),
        "categorical": rng.integers(0, SIZES, (n, len(SIZES))).astype(np.int32),
        "label": rng.integers(0, 2, n).astype(np.int32),
    }


def make_batch(n=32, seed=0):
    return Batch(jax.tree.map(jnp.asarray, make_arrays(n, seed)), jnp.ones(n))


def make_params(name, *, depth=2, schema=SCHEMA, frozen=0):
    """A model's structure, and parameters that are all away from their initial values; it costs no program."""
    model = nnx.eval_shape(lambda: build(name, depth=depth, schema=schema))
    freeze_blocks(model.blocks, frozen)
    structure, abstract = split_model(model)
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: jnp.asarray(0.4 * rng.standard_normal(leaf.shape, np.float32)), abstract)
    return structure, params


def run(structure, params, batch):
    return np.asarray(jax.jit(lambda params, batch: join_model(structure, params)(batch))(params, batch))


def gradient_of(structure, params):
    """The gradient of a loss by every parameter."""
    batch = make_batch()
    loss = jax.jit(jax.grad(lambda p: Logistic()(join_model(structure, p), batch, RNG).per_example.sum()))
    return jax.tree_util.tree_leaves_with_path(loss(params))


def stack(n):
    return (n + 1) * 8 + 2 * (2 * 2 * 64 + 3 * 8 + 2 * 8 + 1) + 2 * 8


@every_model
@pytest.mark.parametrize("n_classes", [0, 2, 3])
def test_parameters_are_what_the_docstring_says(name, n_classes):
    outputs = max(1, n_classes * (n_classes > 2))
    if name == "deepfm" and outputs > 1:
        with pytest.raises(OptionError, match="one logit, for two classes or a number, and the label has 3"):
            build(name, n_classes)
        return
    expected = {
        "wide_deep": (D + CODES + 1 + 20 + 20 + 8) * outputs + CODES * 3 + stack(N),
        "deepfm": (D + CODES + 1) + (D + CODES) * 3 + stack((D + FIELDS) * 3) + 8,
        "dcn_v2": CODES * 3 + 2 * (N * N + N) + stack(N) + 9 * outputs,
        "dcn_v2 of low rank": CODES * 3 + 2 * (2 * N * 4 + N) + stack(N) + (N + 9) * outputs,
        "din": CODES * 3 + (4 * 3 + 1) * 5 + 5 + 6 + stack(N) + 9 * outputs,
        "neumf": 2 * (5 + 6) * 3 + stack(6) + (3 + 9) * outputs,
        "residual": CODES * 3 + stack(N) + 9 * outputs,
        "transformer": (2 * D + CODES) * 8 + 2 * 8 + 9 * outputs + 2 * (4 * 8 * 9 + 2 * 2 * 64 + 3 * 8 + 4 * 8 + 2),
    }[name]
    structure, shapes = split_model(nnx.eval_shape(lambda: build(name, n_classes)))
    assert count_parameters(shapes) == expected
    assert jax.eval_shape(lambda p: join_model(structure, p)(make_batch()), shapes).shape == (32, outputs)


@every_model
def test_no_parameter_is_weakly_typed(name):
    """After its first update it would not be, and the step would be compiled again."""
    shapes = split_model(nnx.eval_shape(lambda: build(name)))[1]
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(shapes))


@every_model
def test_a_gradient_reaches_every_parameter_of_every_block(name):
    for path, leaf in gradient_of(*make_params(name)):
        blocks = leaf if "blocks" in jax.tree_util.keystr(path) else leaf[None]
        assert all(np.abs(block).max() > 0 for block in blocks), jax.tree_util.keystr(path)


@some_quickly
def test_below_frozen_blocks_is_what_the_model_says(name):
    """Nothing of it gets a gradient while all blocks are frozen, and all else does."""
    structure, params = make_params(name, frozen=2)
    below = join_model(structure, params).BELOW_BLOCKS
    for path, leaf in gradient_of(structure, params):
        part = str(path[0].key)
        is_below = part == "blocks" or any(fnmatchcase(part, pattern) for pattern in below)
        assert bool(np.abs(leaf).max() > 0) != is_below, part


@every_model
def test_growth_from_two_to_four_preserves_the_function(name):
    old, new = (nnx.eval_shape(lambda depth=depth: build(name, depth=depth)) for depth in (2, 4))
    params = make_params(name)[1]
    opt_state = AdamW()(10).init(params)
    growth = DepthGrowth(Interleave(), Gated())
    assert growth.preserves_function(old, new)
    grown, _ = growth(params, opt_state, old=old, new=new, seed=0)
    assert {leaf.shape[0] for leaf in jax.tree.leaves(grown["blocks"])} == {4}
    batch = make_batch()
    before, after = (run(split_model(m)[0], p, batch) for m, p in ((old, params), (new, grown)))
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-6)


@some_quickly
def test_a_step_on_several_devices_is_that_on_one(name):
    examples = Examples.from_arrays(make_arrays(32), batch_size=16)
    states = []
    for kind, devices in (("jit", 1), ("pmap", 2)):
        scheduler = Scheduler(Curriculum(), examples, 0, 2)
        engine = Engine(Logistic(), optax.sgd(0.5), scheduler, Placement(kind, devices).place(), 0)
        model = replace(MODELS[name], dropout=0.3)(inputs=Columns(SCHEMA, 2), depth=1, rngs=nnx.Rngs(0))
        state = engine.placed.replicate(TrainState.create(model, engine.optimizer))
        state, _ = engine.train(state, scheduler.begin(), stop_at=1, on_chunk=lambda chunk: None)
        states.append(state.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), *states)


def test_products_of_pairs_are_those_of_all_pairs():
    vectors = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
    pairs = sum(vectors[:, i] * vectors[:, j] for i in range(5) for j in range(i))
    np.testing.assert_allclose(products_of_pairs(jnp.asarray(vectors)), pairs, rtol=1e-5, atol=1e-6)


def test_deepfm_is_its_three_parts():
    """Numbers are features whose vector they multiply; the sum over pairs is written out."""
    structure, params = make_params("deepfm")
    model, arrays = join_model(structure, params), make_arrays(6)
    batch = Batch(jax.tree.map(jnp.asarray, arrays), jnp.ones(6))
    codes = np.asarray(FieldVectors.__call__(model.features.vectors, batch["categorical"]))
    vectors = np.concatenate([arrays["dense"][:, :, None] * params["features"]["numbers"][None], codes], axis=1)
    pairs = [sum(float(row[i] @ row[j]) for i in range(len(row)) for j in range(i)) for row in vectors]
    deep = model.out(model.deep(jnp.asarray(vectors.reshape(6, -1)), None, progress=None))
    expected = model.linear(batch) + deep + np.array(pairs)[:, None]
    np.testing.assert_allclose(model(batch), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rank", [None, 2])
def test_a_cross_layer_by_hand(rank):
    layer = CrossLayer(3, rank, rngs=nnx.Rngs(0))
    layer.linear.bias[...] = jnp.array([0.1, -0.2, 0.3])
    inputs, x = np.array([[1.0, 2.0, 3.0]], np.float32), np.array([[-1.0, 0.5, 2.0]], np.float32)
    matrix = np.asarray(layer.linear.kernel[...])
    if rank is not None:
        matrix = np.asarray(layer.reduce.kernel[...]) @ matrix
    expected = inputs * (x @ matrix + np.array([[0.1, -0.2, 0.3]])) + x
    np.testing.assert_allclose(layer(jnp.asarray(inputs), jnp.asarray(x)), expected, rtol=1e-5)


def test_attention_to_an_item_by_hand():
    unit = ActivationUnit(2, 3, rngs=nnx.Rngs(0))
    unit.hidden.bias[...], unit.slope[...] = jnp.array([0.1, -0.1, 0.2]), jnp.array([0.5, 0.25, -1.0])
    unit.weight.bias[...] = jnp.array([0.7])
    rng = np.random.default_rng(0)
    item, history = rng.normal(size=(2, 2)).astype(np.float32), rng.normal(size=(2, 4, 2)).astype(np.float32)
    known = np.array([[True, True, False, False], [False] * 4])
    w1, w2 = np.asarray(unit.hidden.kernel[...]), np.asarray(unit.weight.kernel[...])[:, 0]
    expected = np.zeros((2, 2))
    for row in range(2):
        for place in np.flatnonzero(known[row]):
            h, v = history[row, place], item[row]
            hidden = np.concatenate([h, v, h - v, h * v]) @ w1 + [0.1, -0.1, 0.2]
            hidden = np.where(hidden > 0, hidden, hidden * [0.5, 0.25, -1.0])
            expected[row] += (hidden @ w2 + 0.7) * h
    found = unit(jnp.asarray(item), jnp.asarray(history), jnp.asarray(known))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert not np.asarray(found[1]).any()


def test_neumf_multiplies_the_vectors_of_user_and_item():
    structure, params = make_params("neumf")
    params["out"]["kernel"] = params["out"]["kernel"].at[3:].set(0)  # what the blocks make
    batch = make_batch()
    codes, table = np.asarray(batch["categorical"]), np.asarray(params["factors"]["embedding"])
    product = table[codes[:, 4]] * table[5 + codes[:, 5]]
    expected = product @ np.asarray(params["out"]["kernel"])[:3] + np.asarray(params["out"]["bias"])
    np.testing.assert_allclose(run(structure, params, batch), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "neumf"])  # which has no feature of several values
def test_a_longer_padding_of_a_history_changes_nothing(name):
    wider = (*SCHEMA[:-1], replace(SCHEMA[-1], length=7))
    batch = make_batch()
    padded = jnp.pad(batch["categorical"], ((0, 0), (0, 3)))
    structure, params = make_params(name)
    short = run(structure, params, batch)
    arrays = {**batch.arrays, "categorical": padded}
    long = run(make_params(name, schema=wider)[0], params, replace(batch, arrays=arrays))
    np.testing.assert_allclose(long, short, rtol=0, atol=1e-6)


def test_a_history_has_the_vectors_of_its_item():
    vectors = FieldVectors(SCHEMA[-2:], 2, scale=1.0, rngs=nnx.Rngs(0))
    assert vectors.embedding.shape == (6, 2)
    vectors.embedding[...] = jnp.arange(12, dtype=jnp.float32).reshape(6, 2)
    codes = jnp.array([[3, 5, 1, 0, 0], [2, 0, 0, 0, 0]], jnp.int32)
    assert vectors(codes).tolist() == [[[6, 7], [6, 7]], [[4, 5], [0, 0]]]  # rows 5 and 1 have the mean of row 3


def test_combinations_are_numbered_one_by_one_or_hashed():
    codes = jnp.array([[a, b] for a in range(4) for b in range(5)], jnp.int32)
    assert sorted(combination(codes, (4, 5), 20).tolist()) == list(range(20))
    hashed = np.asarray(combination(codes, (4, 5), 19))
    assert hashed.min() >= 0 and hashed.max() < 19 and len(set(hashed.tolist())) > 9


def test_an_unknown_value_has_no_cross():
    structure, params = make_params("wide_deep")
    crosses = join_model(structure, params).crosses
    codes = jnp.zeros((2, 10), jnp.int32).at[0, 0].set(1)  # a colour, and neither user nor item
    assert not np.asarray(crosses(codes)).any()
    table = np.asarray(params["crosses"]["embedding"])
    both = codes.at[0, 4].set(2)
    assert np.asarray(crosses(both))[0] == pytest.approx(table[1 * 5 + 2])


@pytest.mark.parametrize(
    ("options", "schema", "sentence"),
    [
        (DIN(), SCHEMA[:2], "no feature says it: add one by"),
        (NeuMF(item="colour", user="colour"), SCHEMA, "both 'colour'"),
        (NeuMF(user="who"), SCHEMA, "model.user=who must name one categorical feature; there are: colour, ids.user"),
        (NeuMF(user="genres"), SCHEMA, "must name one categorical feature"),
        (DCNv2(rank=500), SCHEMA, "have a matrix of rank 84 at most"),
        (WideDeep(crosses=(("colour", "genres"),)), SCHEMA, "at least two different categorical features"),
        (WideDeep(crosses=(("colour",),)), SCHEMA, "at least two different categorical features"),
    ],
)
def test_features_that_do_not_suit_are_refused(options, schema, sentence):
    with pytest.raises(OptionError, match=sentence):
        options(inputs=Columns(schema, 2), depth=None, rngs=nnx.Rngs(0))


PLANTED = (
    Field("user", "categorical", 9, 1),
    Field("item", "categorical", 9, 1),
    Field("seen", "history", 9, 5),
)


def planted(rule, n, seed):
    rng = np.random.default_rng(seed)
    codes = rng.integers(1, 9, (n, 7))
    codes[:, 2:] *= np.arange(5) < rng.integers(1, 6, (n, 1))
    if rule == "the item was seen":
        seen = rng.random(n) < 0.5
        codes[seen, 2] = codes[seen, 1]
        label = (codes[:, 2:] == codes[:, 1:2]).any(axis=1)
    else:
        label = (codes[:, 0] + codes[:, 1]) % 2 == 1
    arrays = {"dense": np.zeros((n, 0), np.float32), "categorical": codes.astype(np.int32), "label": label}
    return Batch({name: jnp.asarray(array) for name, array in arrays.items()}, jnp.ones(n))


def learnt_auc(options, rule):
    """AUC on new rows, where either rule's label is decided by two columns together and by none alone."""
    train, test = planted(rule, 1024, 0), planted(rule, 512, 1)
    structure, params = split_model(options(inputs=Columns(PLANTED, 2), depth=None, rngs=nnx.Rngs(0)))
    tx = optax.adam(0.03)

    @jax.jit
    def fit(params):
        def loss(p):
            target = train["label"].astype(jnp.float32)
            return ((join_model(structure, p)(train)[:, 0] - target) ** 2).mean()

        def step(carry, _):
            updates, state = tx.update(jax.grad(loss)(carry[0]), carry[1])
            return (optax.apply_updates(carry[0], updates), state), None

        return jax.lax.scan(step, (params, tx.init(params)), length=120)[0][0]

    scores = np.asarray(join_model(structure, fit(params))(test)[:, 0])
    return auc(scores, np.asarray(test["label"]))


LEARNERS = {
    "wide_deep": WideDeep(16, 1, 8),
    "crosses alone": WideDeep(1, 1, 1, crosses=(("user", "item"),)),
    "deepfm": DeepFM(16, 1, 8),
    "dcn_v2": DCNv2(16, 1, 8),
    "dcn_v2 of low rank": DCNv2(16, 1, 8, rank=8, structure="parallel"),
    "din": DIN(16, 1, 8),
    "neumf": NeuMF(16, 1, 8),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_an_interaction_is_learnt_that_a_linear_model_cannot(name):
    assert learnt_auc(LEARNERS[name], "parity") > 0.9


def test_a_linear_model_cannot():
    assert learnt_auc(LogisticRegression(), "parity") < 0.65


def test_attention_learns_whether_the_item_was_seen_and_a_mean_does_not():
    attending, pooling = (learnt_auc(each, "the item was seen") for each in (DIN(8, 1, 8), ResidualClassifier(8, 1, 8)))
    assert attending > 0.9
    assert attending > pooling


def test_numbers_are_learnt_by_squares():
    batch = Batch({"label": jnp.array([1.0, -2.0])}, jnp.array([1.0, 3.0]))
    losses = MeanSquaredError()(lambda *_: jnp.array([[0.5], [1.0]]), batch, RNG)
    assert losses.per_example.tolist() == [0.25, 9.0]
    assert float(losses.metrics["absolute_error"]) == pytest.approx((0.5 + 3 * 3) / 4)
