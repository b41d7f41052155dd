from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from curriculum_rec.errors import OptionError
from curriculum_rec.models import DNN, HSTU, BERT4Rec, Recommender, SASRec, blocks
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.contract import FillsMasks
from curriculum_rec.models.structure import join_model, split_model
from curriculum_rec.training.state import count_parameters

N_ITEMS, MAX_LENGTH, LENGTHS = 20, 12, (8, 5, 1)
ROWS = 128  # the next multiple of 128 that holds padding and all items
SIZES = {"width": 8, "n_heads": 2}
MODERN = {"norm": "rms", "positions": "rotary", "feed_forward": "swiglu", "gating": "ligr"}
MODELS = {
    "sasrec": SASRec(**SIZES, feed_forward_factor=2),
    "dnn": DNN(width=8),
    "modern": SASRec(**SIZES, feed_forward_factor=2, **MODERN),
    "relative": SASRec(**SIZES, feed_forward_factor=2, positions="relative"),
    "bert4rec": BERT4Rec(**SIZES, feed_forward_factor=2),
    "bert4rec relative": BERT4Rec(**SIZES, feed_forward_factor=2, positions="relative"),
    "hstu": HSTU(**SIZES),
    "hstu without time": HSTU(width=8, inner_width=4, bias="position"),
}
OPTIONS = [MODELS["sasrec"], MODELS["dnn"]]
COSINE = [replace(options, cosine_scale=5.0) for options in OPTIONS]
every_model = pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
one_of_each = pytest.mark.parametrize(
    "options",
    [MODELS[name] for name in ("sasrec", "dnn", "bert4rec", "hstu")],
    ids=["sasrec", "dnn", "bert4rec", "hstu"],
)
cosine_too = pytest.mark.parametrize(
    "options", [*MODELS.values(), *COSINE], ids=[*MODELS, "sasrec cosine", "dnn cosine"]
)


def make_params(options, *, depth=2):
    """A model's structure, and parameters that are all away from their special initial values 0 and 1."""
    structure, abstract = split_model(
        nnx.eval_shape(lambda: options(n_items=N_ITEMS, max_length=MAX_LENGTH, depth=depth, rngs=nnx.Rngs(0)))
    )
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: jnp.asarray(0.5 * rng.standard_normal(leaf.shape, np.float32)), abstract)
    return structure, params


def run(structure, params, batch, rng=None):
    outputs = jax.jit(lambda params, batch, rng: join_model(structure, params)(batch, rng))(params, batch, rng)
    return np.asarray(outputs)


def make_history(length=8, seed=0):
    items = np.random.default_rng(seed).integers(1, N_ITEMS + 1, (len(LENGTHS), length)).astype(np.int32)
    return np.where(np.arange(length) < np.array(LENGTHS)[:, None], items, 0)


def make_batch(history):
    """Histories, and when their items came: the more, the longer before the next."""
    time = np.where(history > 0, np.arange(history.shape[1]) ** 3, 0).astype(np.float32)
    return Batch({"history": jnp.asarray(history), "time": jnp.asarray(time)}, jnp.ones(len(history)))


def make_rng(batch=3):
    return BatchRng.for_rows(jax.random.key(0), jnp.arange(batch, dtype=jnp.int32))


def documented_parameters(options, depth, rows=ROWS):
    """What the docstrings say."""
    width = options.width
    norm = 2 * width if options.norm == "layer" else width
    total = rows * width + norm
    if isinstance(options, DNN):
        factor = options.feed_forward_factor
        return total + depth * (2 * factor * width**2 + (factor + 1) * width + norm + 1)
    if isinstance(options, HSTU):
        inner = options.inner
        times = options.time_buckets if options.bias == "position_and_time" else 0
        return total + depth * (4 * inner * (width + 1) + (inner + 1) * width + norm + 1 + MAX_LENGTH + times)
    bert = isinstance(options, BERT4Rec)
    length, directions = (MAX_LENGTH + 1, 2) if bert else (MAX_LENGTH, 1)
    block = 4 * width * (width + 1) + 2 * norm + 2
    factor, swiglu = options.feed_forward_factor, options.feed_forward == "swiglu"
    block += (3 if swiglu else 2) * factor * width**2 + ((2 if swiglu else 1) * factor + 1) * width
    block += 2 * width * (width + 1) if options.gating == "ligr" else 0
    block += options.n_heads * directions * length if options.positions == "relative" else 0
    return total + bert * width + (length * width if options.positions == "learnt" else 0) + depth * block


@every_model
@pytest.mark.parametrize("depth", [1, 3])
def test_number_of_parameters_is_the_documented_one(options, depth):
    assert count_parameters(make_params(options, depth=depth)[1]) == documented_parameters(options, depth)


@one_of_each
@pytest.mark.parametrize(("n_items", "rows"), [(126, 128), (127, 256)])
def test_a_row_for_padding_and_one_for_a_hidden_item_are_beside_those_of_the_items(options, n_items, rows):
    make = lambda: options(n_items=n_items, max_length=MAX_LENGTH, depth=1, rngs=nnx.Rngs(0))  # noqa: E731
    assert count_parameters(split_model(nnx.eval_shape(make))[1]) == documented_parameters(options, 1, rows)


@cosine_too
def test_meets_the_contract(options):
    model = join_model(*make_params(options))
    assert isinstance(model, Recommender)
    assert model.n_items == N_ITEMS
    assert jax.eval_shape(model, make_batch(make_history())).shape == (3, 8, 8)
    some = np.array([[3, 0], [20, 3]], np.int32)
    np.testing.assert_array_equal(model.item_vectors(jnp.asarray(some)), np.asarray(model.item_vectors())[some])
    assert model.item_vectors().shape == (ROWS, 8)


@one_of_each
def test_recomputation_changes_what_is_kept_for_the_backward_pass_and_no_number(options):
    structure, params = make_params(options)
    kept, results = {}, {}
    for remat in ("none", "dots", "block"):
        structure, _ = split_model(
            replace(options, dropout=0.3, remat=remat)(n_items=N_ITEMS, max_length=MAX_LENGTH, rngs=nnx.Rngs(0))
        )

        def loss(params, structure=structure):
            return (join_model(structure, params)(make_batch(make_history()), make_rng()) ** 2).sum()

        backward = jax.eval_shape(lambda params, loss=loss: jax.vjp(loss, params)[1], params)
        kept[remat] = sum(leaf.size for leaf in jax.tree.leaves(backward))
        results[remat] = jax.jit(jax.value_and_grad(loss))(params)
    assert kept["none"] > kept["dots"] > kept["block"]
    for remat in ("dots", "block"):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), results[remat], results["none"]
        )


@every_model
def test_padding_changes_nothing(options):
    structure, params = make_params(options)
    history = make_history()
    reference = run(structure, params, make_batch(history))
    wider = run(structure, params, make_batch(np.pad(history, ((0, 0), (0, 4)))))
    params["items"]["embedding"] = params["items"]["embedding"].at[0].set(7.0)
    other_padding = run(structure, params, make_batch(history))
    for row, length in enumerate(LENGTHS):
        np.testing.assert_allclose(wider[row, :length], reference[row, :length], atol=1e-6)
        np.testing.assert_allclose(other_padding[row, :length], reference[row, :length], atol=1e-6)


@every_model
def test_no_position_sees_a_later_item(options):
    structure, params = make_params(options)
    history = make_history()
    later = np.where((np.arange(8) >= 3) & (history > 0), make_history(seed=1), history)
    before, after = (run(structure, params, make_batch(h)) for h in (history, later))
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert (before[:2, 3:5] != after[:2, 3:5]).any()


@cosine_too
def test_gradient_reaches_every_parameter_of_every_layer(options):
    structure, params = make_params(options)
    cotangent = np.random.default_rng(2).standard_normal((3, 8, 8), np.float32)

    def loss(params):
        model, batch = join_model(structure, params), make_batch(make_history())
        vectors = (
            model.fill(batch["history"], batch["history"] % 2 > 0) if isinstance(model, FillsMasks) else model(batch)
        )
        return (vectors * cotangent).sum() + (model.item_vectors() ** 3).sum()

    for path, gradient in jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(loss))(params)):
        layers = np.asarray(gradient) if "blocks" in str(path) else np.asarray(gradient)[None]
        assert all(np.abs(layer).max() > 1e-6 for layer in layers), path


@one_of_each
@pytest.mark.parametrize("random", [False, True])
def test_a_scanned_stack_equals_an_unrolled_one(monkeypatch, options, random):
    structure, params = make_params(options, depth=3)
    batch, rng = make_batch(make_history()), make_rng() if random else None
    unrolled = run(structure, params, batch, rng)
    monkeypatch.setattr(blocks, "UNROLL_UP_TO", 2)
    np.testing.assert_allclose(run(structure, params, batch, rng), unrolled, atol=1e-5)


@pytest.mark.parametrize(("depth", "scans"), [(8, False), (9, True)])
def test_deep_stacks_are_scanned(depth, scans):
    model = join_model(*make_params(OPTIONS[1], depth=depth))
    assert ("scan[" in str(jax.make_jaxpr(model)(make_batch(make_history())))) == scans


@one_of_each
def test_dropout_acts_only_with_randomness_and_follows_the_row(options):
    structure, params = make_params(options)
    history = make_history()
    random = run(structure, params, make_batch(history), make_rng())
    assert (random != run(structure, params, make_batch(history))).any()
    last_rows = BatchRng.for_rows(jax.random.key(0), jnp.array([1, 2], jnp.int32))
    np.testing.assert_allclose(run(structure, params, make_batch(history[1:]), last_rows), random[1:], atol=1e-5)


def test_layers_begin_with_different_values_and_drop_different_entries():
    model = DNN(width=8)(n_items=3, max_length=4, rngs=nnx.Rngs(0))
    kernel = np.asarray(split_model(model)[1]["blocks"]["up"]["kernel"])
    assert (kernel[0] != kernel[1]).all()
    masks = [np.asarray(make_rng(64).numbered(n).named("feed forward").bits(8)) for n in range(2)]
    assert (masks[0] != masks[1]).all()


@pytest.mark.parametrize("options", COSINE, ids=["sasrec", "dnn"])
def test_cosine_scores_are_scaled_cosines(options):
    structure, params = make_params(options)
    hidden = run(structure, params, make_batch(make_history()))
    np.testing.assert_allclose(np.linalg.norm(hidden, axis=-1), 5, rtol=1e-5)
    vectors = np.asarray(join_model(structure, params).item_vectors())
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1, rtol=1e-5)


def test_the_last_item_always_has_the_last_position():
    structure, params = make_params(OPTIONS[0])
    batch = make_batch(np.array([[3, 4, 0, 0]], np.int32))
    loss = jax.jit(jax.grad(lambda p: (join_model(structure, p)(batch)[0, :2] ** 3).sum()))
    touched = np.flatnonzero(np.abs(np.asarray(loss(params)["positions"]["embedding"])).max(axis=1))
    assert touched.tolist() == [MAX_LENGTH - 2, MAX_LENGTH - 1]


def build(options, **arguments):
    return options(n_items=3, max_length=4, rngs=nnx.Rngs(0), **arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SASRec(width=8, n_heads=3), "n_heads=3"),
        (lambda: SASRec(width=8, n_heads=0), "n_heads=0"),
        (lambda: SASRec(width=0), "width=0"),
        (lambda: DNN(feed_forward_factor=0), "feed_forward_factor=0"),
        (lambda: DNN(dropout=1.0), "dropout=1.0"),
        (lambda: SASRec(dropout=-0.1), "dropout=-0.1"),
        (lambda: build(DNN(width=8, cosine_scale=0.0)), "cosine_scale=0.0"),
        (lambda: build(DNN(width=8, depth=0)), "depth=0"),
        (lambda: build(DNN(width=8), depth=-1), "depth=-1"),
        (lambda: build(DNN(width=8), depth=0), "depth=0"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()


@pytest.mark.parametrize("layer", [lambda rngs: nnx.BatchNorm(4, rngs=rngs), lambda rngs: nnx.Dropout(0.1, rngs=rngs)])
def test_state_that_is_no_parameter_is_refused(layer):
    with pytest.raises(OptionError, match="no parameter"):
        split_model(nnx.Sequential(nnx.Linear(4, 4, rngs=nnx.Rngs(0)), layer(nnx.Rngs(0))))
