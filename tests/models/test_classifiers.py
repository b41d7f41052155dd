"""Models of labels: sizes by their formulas, unknown codes, gradients, and losses by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from curriculum_rec.data.features import Field
from curriculum_rec.data.inputs import Columns
from curriculum_rec.errors import OptionError
from curriculum_rec.models import LogisticRegression, MLPClassifier, ResidualClassifier
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.fields import FieldVectors
from curriculum_rec.models.structure import split_model
from curriculum_rec.objectives import CrossEntropy, Logistic
from curriculum_rec.training.state import count_parameters

SCHEMA = (
    Field("age", "dense", 1, 1),
    Field("colour", "categorical", 4, 1),
    Field("genres", "multi_categorical", 5, 3),
    Field("text", "dense", 3, 3),
)
D, CODES, FIELDS = 4, 9, 2
OPTIONS = [
    LogisticRegression(),
    MLPClassifier((6, 5), activation="gelu", embedding_width=3),
    ResidualClassifier(width=8, embedding_width=3, feed_forward_factor=2, dropout=0.0),
]
every_model = pytest.mark.parametrize("options", OPTIONS, ids=["logistic", "mlp", "residual"])


def build(options, n_classes=3, depth=None, schema=SCHEMA):
    return options(inputs=Columns(schema, n_classes), depth=depth, rngs=nnx.Rngs(0))


def make_batch(n=8, seed=0, n_classes=3):
    rng = np.random.default_rng(seed)
    arrays = {
        "dense": rng.normal(size=(n, D)).astype(np.float32),
        "categorical": np.stack([rng.integers(0, 4, n), *rng.integers(0, 5, (3, n))], axis=1).astype(np.int32),
        "label": rng.integers(0, n_classes, n).astype(np.int32),
    }
    return Batch({name: jnp.asarray(array) for name, array in arrays.items()}, jnp.ones(n))


RNG = BatchRng.for_rows(jax.random.key(0), jnp.arange(8, dtype=jnp.int32))


@every_model
@pytest.mark.parametrize("n_classes", [2, 10])
def test_parameters_are_what_the_docstring_says(options, n_classes):
    outputs = 1 if n_classes == 2 else n_classes
    model = build(options, n_classes)
    width = D + FIELDS * 3
    expected = {
        LogisticRegression: (D + CODES + 1) * outputs,
        MLPClassifier: CODES * 3 + (width + 1) * 6 + 7 * 5 + 6 * outputs,
        ResidualClassifier: (
            CODES * 3 + (width + 1) * 8 + 2 * (2 * 2 * 64 + 3 * 8 + 2 * 8 + 1) + 2 * 8 + (8 + 1) * outputs
        ),
    }[type(options)]
    assert count_parameters(split_model(model)[1]) == expected
    assert model(make_batch()).shape == (8, outputs)


@every_model
@pytest.mark.parametrize("schema", [SCHEMA[:1], SCHEMA[1:2]], ids=["numbers alone", "codes alone"])
def test_no_parameter_is_empty(options, schema):
    """A checkpoint could not hold it."""
    model = build(options, schema=schema)
    assert all(leaf.size for leaf in jax.tree.leaves(split_model(model)[1]))
    dense, codes = (1, 0) if schema[0].kind == "dense" else (0, 1)
    batch = Batch({"dense": jnp.ones((8, dense)), "categorical": jnp.ones((8, codes), jnp.int32)}, jnp.ones(8))
    assert model(batch).shape == (8, 3)


@every_model
def test_a_gradient_reaches_every_parameter(options):
    structure, params = split_model(build(options))
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)

    def loss(params):
        model = nnx.merge(structure, nnx.State(params), nnx.State({}))
        return CrossEntropy()(model, make_batch(64), RNG).per_example.sum()

    gradient = jax.grad(loss)(params)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient))


def test_the_seeds_worked_case_has_its_size():
    """100 numbers, layers of 128 and 64, ten classes: 12,928 + 8,256 + 650 parameters."""
    model = build(MLPClassifier(), 10, schema=(Field("data", "dense", 100, 100),))
    assert count_parameters(split_model(model)[1]) == 12_928 + 8_256 + 650


def test_codes_have_vectors_of_their_own_field():
    vectors = FieldVectors(SCHEMA, 2, scale=1.0, rngs=nnx.Rngs(0))
    vectors.embedding[...] = jnp.arange(18, dtype=jnp.float32).reshape(9, 2)
    codes = jnp.array([[0, 1, 2, 0], [3, 0, 0, 0]], jnp.int32)
    expected = [[[0, 1], [11, 12]], [[6, 7], [0, 0]]]  # rows 4 + 1 and 4 + 2, averaged; none of several is zero
    assert vectors(codes).tolist() == expected


def test_unknown_codes_say_nothing_at_first():
    vectors = FieldVectors(SCHEMA, 2, scale=1.0, rngs=nnx.Rngs(0))
    assert vectors(jnp.zeros((1, 4), jnp.int32)).tolist() == [[[0, 0], [0, 0]]]
    assert (np.abs(vectors(jnp.ones((1, 4), jnp.int32))) > 0).all()


def test_models_without_blocks_refuse_a_depth():
    for options in OPTIONS[:2]:
        with pytest.raises(OptionError, match="residual_classifier"):
            build(options, depth=3)
    assert build(OPTIONS[2], depth=3).blocks.up.kernel.shape[0] == 3


def test_cross_entropy_by_hand():
    outputs = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    batch = Batch({"label": jnp.array([0, 1], jnp.int32)}, jnp.ones(2))
    losses = CrossEntropy()(lambda *_: outputs, batch, RNG)
    assert losses.per_example == pytest.approx(-np.log([0.5, 0.1]), abs=1e-6)
    assert float(losses.metrics["accuracy"]) == 0.5
    smooth = CrossEntropy(0.3)(lambda *_: outputs, batch, RNG).per_example
    target = 0.7 * jnp.eye(3)[:2] + 0.1
    assert smooth == pytest.approx(np.asarray(optax.softmax_cross_entropy(outputs, target)), abs=1e-6)


def test_one_output_is_two_classes():
    logit = jnp.array([[1.5], [-2.0]])
    batch = Batch({"label": jnp.array([1, 1], jnp.int32)}, jnp.ones(2))
    expected = np.asarray(optax.sigmoid_binary_cross_entropy(logit[:, 0], jnp.ones(2)))
    assert CrossEntropy()(lambda *_: logit, batch, RNG).per_example == pytest.approx(expected, abs=1e-6)
    assert Logistic()(lambda *_: logit, batch, RNG).per_example == pytest.approx(expected, abs=1e-6)
    assert Logistic(3.0)(lambda *_: logit, batch, RNG).per_example == pytest.approx(3 * expected, abs=1e-6)
    negative = Batch({"label": jnp.zeros(2, jnp.int32)}, jnp.ones(2))
    assert Logistic(3.0)(lambda *_: logit, negative, RNG).per_example == pytest.approx(
        expected + np.asarray(logit[:, 0]), abs=1e-6
    )


def test_the_logistic_loss_is_for_two_classes():
    with pytest.raises(OptionError, match="two classes, and the label has 3"):
        Logistic().check_inputs(Columns(SCHEMA, 3))
