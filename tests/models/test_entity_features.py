"""Features of items and users inside models: the numbers, what they may and may not change, growth and placement."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from features_of import N_ITEMS, N_USERS, by_hand, feature_set
from flax import nnx

from curriculum_rec.data.features import FeatureSet
from curriculum_rec.errors import OptionError
from curriculum_rec.growth import ComposedGrowth, Copies, DepthGrowth
from curriculum_rec.growth.layer_maps import Interleave
from curriculum_rec.growth.new_blocks import Gated
from curriculum_rec.models import DNN, HSTU, BERT4Rec, GRU4Rec, SASRec, TwoTower, two_tower
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.contract import FillsMasks
from curriculum_rec.models.structure import join_model, split_model
from curriculum_rec.negatives import InBatch
from curriculum_rec.objectives import MaskedItem, SampledSoftmax, Softmax
from curriculum_rec.objectives.nested import narrowed
from curriculum_rec.training.optimizers import SGD, AdamW
from curriculum_rec.training.row_gradients import summed
from curriculum_rec.training.state import TrainState, count_parameters
from curriculum_rec.training.step import local_gradient, make_step

WIDTH, LENGTH, LENGTHS = 8, 8, (8, 5, 1, 6)
FEATURES = feature_set()
FIELDS = 3 + 4 + 6  # numbers and codes, each of which has a vector
MODELS = {
    "sasrec": SASRec(width=WIDTH, feed_forward_factor=1),
    "bert4rec": BERT4Rec(width=WIDTH, feed_forward_factor=1),
    "hstu": HSTU(width=WIDTH, inner_width=4, bias="position"),
    "gru4rec": GRU4Rec(width=WIDTH, hidden=5),
    "dnn": DNN(width=WIDTH, feed_forward_factor=1),
    "youtube_dnn": DNN(width=WIDTH, feed_forward_factor=1, example_age="add"),
    "two_tower": TwoTower(width=WIDTH, feed_forward_factor=1),
}
every_model = pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)


def build(options, features=FEATURES, **arguments):
    return options(n_items=N_ITEMS, max_length=LENGTH, features=features, rngs=nnx.Rngs(0), **arguments)


def make_params(options, *, features=FEATURES, depth=2):
    """A model's structure, and parameters that are all away from their special initial values."""
    structure, abstract = split_model(nnx.eval_shape(lambda: build(options, features, depth=depth)))
    rng = np.random.default_rng(1)
    return structure, jax.tree.map(
        lambda leaf: jnp.asarray(0.5 * rng.standard_normal(leaf.shape, np.float32)), abstract
    )


def make_history(seed=0):
    items = np.random.default_rng(seed).integers(1, N_ITEMS + 1, (len(LENGTHS), LENGTH)).astype(np.int32)
    return np.where(np.arange(LENGTH) < np.array(LENGTHS)[:, None], items, 0)


def make_batch(history, users=(1, N_USERS, 3, 2)):
    target = np.roll(history, -1, axis=1) * (np.roll(history, -1, axis=1) > 0) * (np.arange(LENGTH) < LENGTH - 1)
    age = np.linspace(0.1, 1, history.size).reshape(history.shape)
    arrays = {"history": history, "target": target, "user": np.array(users[: len(history)]), "age": np.float32(age)}
    return Batch({n: jnp.asarray(a, jnp.float32 if n == "age" else jnp.int32) for n, a in arrays.items()}, jnp.ones(4))


def make_rng():
    return BatchRng.for_rows(jax.random.key(0), jnp.arange(4, dtype=jnp.int32))


def run(structure, params, batch):
    return np.asarray(jax.jit(lambda params, batch: join_model(structure, params)(batch))(params, batch))


@every_model
def test_number_of_parameters_is_the_documented_one(options):
    counted = [count_parameters(make_params(options, features=features)[1]) for features in (None, FEATURES)]
    assert counted[1] - counted[0] == 2 * WIDTH * FIELDS
    trained = replace(options, dense_vectors="trained", user_features="none")
    assert count_parameters(make_params(trained)[1]) - counted[0] == WIDTH * FIELDS + 3 * (N_ITEMS + 1)


@pytest.mark.parametrize("depth", [1, 3])
def test_number_of_parameters_of_two_towers_and_of_ages_is_the_documented_one(depth):
    layer = 2 * WIDTH**2 + 2 * WIDTH + 2 * WIDTH + 1
    params = make_params(MODELS["two_tower"], features=None, depth=depth)[1]
    assert count_parameters(params) == 128 * WIDTH + 4 * WIDTH + 2 * depth * layer
    params = make_params(MODELS["youtube_dnn"], features=None, depth=depth)[1]
    assert count_parameters(params) == 128 * WIDTH + 2 * WIDTH + depth * layer + 3 * WIDTH


@pytest.mark.parametrize("cosine_scale", [None, 5.0])
def test_the_vector_of_an_item_is_that_of_its_id_and_what_its_features_say(cosine_scale):
    structure, params = make_params(SASRec(width=WIDTH, cosine_scale=cosine_scale))
    model, items = join_model(structure, params), params["items"]
    of_features = by_hand(
        FEATURES.item,
        np.asarray(items["features"]["projection"]["kernel"], np.float64),
        np.asarray(items["features"]["values"]["embedding"], np.float64),
    )
    expected = np.asarray(items["embedding"], np.float64)
    expected[: N_ITEMS + 1] += of_features
    np.testing.assert_allclose(model.items.all(), expected, atol=1e-5)
    few, many = jnp.array([[3, 0], [N_ITEMS, N_ITEMS + 1]], jnp.int32), jnp.arange(40, dtype=jnp.int32) % 30
    for rows in (few, many):  # looked up one by one, and among all
        np.testing.assert_allclose(model.items.embed(rows), expected[np.asarray(rows)], atol=1e-5)
        np.testing.assert_allclose(model.item_vectors(rows), model.item_vectors()[rows], atol=1e-6)
    if cosine_scale is not None:
        np.testing.assert_allclose(np.linalg.norm(model.item_vectors()[: N_ITEMS + 1], axis=1), 1, rtol=1e-5)


@every_model
def test_without_features_a_model_begins_with_the_same_numbers_as_with_them(options):
    plain, joined = (split_model(build(options, features))[1] for features in (None, FEATURES))
    leaves = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(joined)}
    for path, leaf in jax.tree_util.tree_leaves_with_path(plain):
        np.testing.assert_array_equal(leaf, leaves[jax.tree_util.keystr(path)])
    assert all(np.isfinite(leaf).all() for leaf in leaves.values())


@every_model
def test_padding_changes_nothing_and_no_position_sees_a_later_item(options):
    structure, params = make_params(options)
    history = make_history()
    reference = run(structure, params, make_batch(history))
    later = np.where((np.arange(LENGTH) >= 3) & (history > 0), make_history(seed=1), history)
    np.testing.assert_allclose(run(structure, params, make_batch(later))[:, :3], reference[:, :3], atol=1e-6)
    params["items"]["embedding"] = params["items"]["embedding"].at[0].set(7.0)
    other = run(structure, params, make_batch(history))
    for row, length in enumerate(LENGTHS):
        np.testing.assert_allclose(other[row, :length], reference[row, :length], atol=1e-6)


@every_model
def test_users_differ_by_their_features_and_must_be_named(options):
    structure, params = make_params(options)
    history = np.repeat(make_history()[:1], 4, axis=0)
    hidden = run(structure, params, make_batch(history))
    assert np.abs(hidden[0] - hidden[1]).max() > 1e-3
    anonymous = Batch({"history": jnp.asarray(history)}, jnp.ones(4))
    with pytest.raises(OptionError, match=r"model.user_features=none"):
        join_model(structure, params)(anonymous)
    structure, params = make_params(replace(options, user_features="none"))
    assert join_model(structure, params)(anonymous).shape == (4, LENGTH, WIDTH)


@every_model
@pytest.mark.parametrize("dense_vectors", ["frozen", "trained"])
def test_gradient_reaches_every_parameter(options, dense_vectors):
    structure, params = make_params(replace(options, dense_vectors=dense_vectors))
    cotangent = np.random.default_rng(2).standard_normal((4, LENGTH, WIDTH), np.float32)

    def loss(params):
        model, batch = join_model(structure, params), make_batch(make_history())
        masks = batch["history"] % 2 > 0
        whose = {"users": batch["user"]}
        vectors = model.fill(batch["history"], masks, **whose) if isinstance(model, FillsMasks) else model(batch)
        return (vectors * cotangent).sum() + (model.item_vectors() ** 3).sum()

    for path, gradient in jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(loss))(params)):
        layers = np.asarray(gradient) if "blocks" in str(path) else np.asarray(gradient)[None]
        assert all(np.abs(layer).max() > 1e-6 for layer in layers), path


@every_model
def test_growth_in_depth_preserves_the_function(options):
    old, new = (nnx.eval_shape(partial(build, options, depth=depth)) for depth in (2, 4))
    structure, params = make_params(options)
    growth, optimizer = DepthGrowth(map=Interleave(), blocks=Gated()), AdamW()(10)
    assert growth.preserves_function(old, new)
    grown, _ = growth(params, optimizer.init(params), old=old, new=new)
    batch, after = make_batch(make_history()), split_model(new)[0]
    np.testing.assert_allclose(run(after, grown, batch), run(structure, params, batch), atol=1e-5)
    vectors = [join_model(*model).item_vectors() for model in ((after, grown), (structure, params))]
    np.testing.assert_allclose(*vectors, atol=1e-5)


@pytest.mark.parametrize("name", ["sasrec", "youtube_dnn"])
@pytest.mark.parametrize("dense_vectors", ["frozen", "trained"])
def test_growth_in_width_preserves_the_function(name, dense_vectors):
    options = replace(MODELS[name], dense_vectors=dense_vectors, dropout=0.0)
    wider = replace(options, width=2 * WIDTH)
    old, new = (nnx.eval_shape(partial(build, each, depth=1)) for each in (options, wider))
    structure, params = make_params(options, depth=1)
    rules = dict.fromkeys(("stream", "hidden", "head", "heads"), Copies(share=0.5, choice="cyclic"))
    growth, optimizer = ComposedGrowth(units=rules, depth=None), AdamW()(10)
    grown, _ = growth(params, optimizer.init(params), old=old, new=new)
    scores = []
    for model in (join_model(structure, params), join_model(split_model(new)[0], grown)):
        scores.append(np.asarray(model(make_batch(make_history())) @ model.item_vectors().T))
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-4)


@pytest.mark.parametrize("name", ["sasrec", "bert4rec", "two_tower"])
def test_a_step_over_devices_is_that_of_one_device(name):
    options = MODELS[name]
    objective = MaskedItem() if name == "bert4rec" else Softmax()
    if name == "two_tower":
        objective = SampledSoftmax(16, negatives=InBatch(), correct=True)
    optimizer = SGD(momentum=0.0)(10)
    counts = np.ones(N_ITEMS + 1)
    state = TrainState.create(build(options), optimizer, objective=objective, item_counts=counts)
    batch, rng = make_batch(make_history()), make_rng()
    alone, _ = jax.jit(make_step(objective, optimizer))(state, batch, rng)
    spread = jax.tree.map(lambda leaf: leaf.reshape(2, 2, *leaf.shape[1:]), batch)
    mapped = jax.pmap(
        make_step(objective, optimizer, axis_name="data"),
        axis_name="data",
        in_axes=(None, 0, BatchRng(None, 0)),
        out_axes=None,
        devices=jax.devices()[:2],
    )
    over_two, _ = mapped(state, spread, BatchRng(rng.seed, rng.row.reshape(2, 2)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), over_two.params, alone.params)


@pytest.mark.parametrize("name", ["dnn", "two_tower"])
def test_gradients_of_looked_up_rows_are_those_of_the_table(name):
    objective, tx = SampledSoftmax(5), SGD(momentum=0.0)(10)
    state = TrainState.create(build(MODELS[name]), tx)
    take = partial(local_gradient, objective, state, make_batch(make_history()), make_rng())
    dense, by_rows = take(), take(tables=("items.embedding",))
    total = summed(by_rows.rows["items.embedding"], 128)
    table = jnp.zeros((128, WIDTH)).at[total.rows].add(total.values, mode="drop")
    np.testing.assert_allclose(table, dense.gradient["items"]["embedding"], rtol=1e-5, atol=1e-6)
    of_features = [local.gradient["items"]["features"] for local in (by_rows, dense)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), *of_features)


def test_narrow_vectors_have_narrow_features():
    structure, params = make_params(replace(MODELS["sasrec"], dense_vectors="trained"))
    vectors = np.asarray(narrowed(join_model(structure, params), 0.25).item_vectors())
    assert np.abs(vectors[:, :2]).min(axis=0).max() >= 0 and np.abs(vectors[1 : N_ITEMS + 1, :2]).max() > 0
    np.testing.assert_array_equal(vectors[:, 2:], 0)
    np.testing.assert_allclose(vectors[:, :2], join_model(structure, params).item_vectors()[:, :2], atol=1e-6)


def test_numbers_of_the_data_are_no_parameters_and_decide_what_the_structure_is():
    structure, params = make_params(MODELS["sasrec"])
    names = {jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params["items"])}
    assert names == {"['embedding']", "['features']['projection']['kernel']", "['features']['values']['embedding']"}
    same = FeatureSet(FEATURES.user, replace(FEATURES.item))
    other = FeatureSet(FEATURES.user, replace(FEATURES.item, dense=FEATURES.item.dense + 1))
    structures = [split_model(build(MODELS["sasrec"], each, depth=2))[0] for each in (same, other)]
    assert structures[0] == structure and hash(structures[0]) == hash(structure)
    assert structures[1] != structure


def test_age_counts_in_training_and_not_at_a_recommendation():
    structure, params = make_params(MODELS["youtube_dnn"])
    batch = make_batch(make_history())
    still = Batch({**batch.arrays, "age": jnp.zeros_like(batch["age"])}, batch.weight)
    without = Batch({name: batch[name] for name in ("history", "user")}, batch.weight)
    hidden = [run(structure, params, each) for each in (batch, still, without)]
    np.testing.assert_allclose(hidden[1], hidden[2], atol=1e-6)
    assert np.abs(hidden[0] - hidden[1]).max() > 1e-3


def test_the_tower_of_items_takes_a_large_catalogue_chunk_by_chunk(monkeypatch):
    structure, params = make_params(MODELS["two_tower"])
    whole = join_model(structure, params).item_vectors()
    monkeypatch.setattr(two_tower, "CHUNK", 48)
    np.testing.assert_allclose(join_model(structure, params).item_vectors(), whole, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "features", "message"),
    [
        (SASRec(width=WIDTH, dense_vectors="trained"), None, "dense_vectors=trained has no effect"),
        (DNN(width=WIDTH, item_features="none", user_features="none"), FEATURES, "features has no effect"),
        (GRU4Rec(width=WIDTH, item_features="none", dense_vectors="trained"), FEATURES, "dense_vectors=trained"),
    ],
)
def test_what_would_have_no_effect_is_refused(options, features, message):
    with pytest.raises(OptionError, match=message):
        build(options, features)


@pytest.mark.parametrize("options", [SASRec, DNN, GRU4Rec, TwoTower])
def test_unknown_choices_are_refused(options):
    with pytest.raises(OptionError, match="model.item_features=some"):
        options(item_features="some")
