"""Fields with tables of their own: sizes by the formulas, the same numbers as one table, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from curriculum_rec.data.features import Field
from curriculum_rec.data.inputs import Columns
from curriculum_rec.errors import OptionError
from curriculum_rec.growth.width import axes_of
from curriculum_rec.models import DIN, DCNv2, DeepFM, MLPClassifier, NeuMF, ResidualClassifier, WideDeep
from curriculum_rec.models.axes import axis_sizes
from curriculum_rec.models.batch import Batch
from curriculum_rec.models.feature_input import FeatureInput
from curriculum_rec.models.structure import split_model
from curriculum_rec.training.state import count_parameters

SCHEMA = (
    Field("age", "dense", 1, 1),
    Field("user.colour", "categorical", 4, 1),
    Field("genres", "multi_categorical", 5, 3),
    Field("text", "dense", 3, 3),
    Field("seen.item", "categorical", 6, 1),
    Field("seen", "history", 6, 4),
)
SIZES = np.array([4, 5, 5, 5, 6, 6, 6, 6, 6])
WIDTHS = {"user.colour": 2, "genres": 1, "seen.item": 3}
D, OWN, N = (
    4,
    4 * 2 + 5 * 1 + 6 * 3,
    4 + 2 + 1 + 3 + 3,
)  # numbers, entries of the tables, inputs: the item's width twice
SMALL = {"width": 8, "embedding_width": WIDTHS, "dropout": 0.0}
MODELS = {
    "mlp": MLPClassifier((6, 5), embedding_width=WIDTHS),
    "residual": ResidualClassifier(**SMALL),
    "wide_deep": WideDeep(**SMALL, crosses=(("user.colour", "seen.item"),)),
    "dcn_v2": DCNv2(**SMALL, rank=4, structure="parallel"),
}


def build(options, n_classes=2, schema=SCHEMA):
    depth = None if isinstance(options, MLPClassifier) else 2
    return nnx.eval_shape(lambda: options(inputs=Columns(schema, n_classes), depth=depth, rngs=nnx.Rngs(0)))


def make_batch(n=16, seed=0):
    rng = np.random.default_rng(seed)
    arrays = {
        "dense": jnp.asarray(rng.normal(size=(n, D)), jnp.float32),
        "categorical": jnp.asarray(rng.integers(0, SIZES, (n, len(SIZES))), jnp.int32),
    }
    return Batch(arrays, jnp.ones(n))


def stack(n):
    return (n + 1) * 8 + 2 * (2 * 2 * 64 + 3 * 8 + 2 * 8 + 1) + 2 * 8


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_parameters_are_what_the_docstrings_say_with_sums_over_the_fields(name, n_outputs):
    expected = {
        "mlp": OWN + (N + 1) * 6 + 7 * 5 + 6 * n_outputs,
        "residual": OWN + stack(N) + 9 * n_outputs,
        "wide_deep": (D + 4 + 5 + 6 + 1 + 4 * 6 + 8) * n_outputs + OWN + stack(N),
        "dcn_v2": OWN + 2 * (2 * N * 4 + N) + stack(N) + (N + 9) * n_outputs,
    }[name]
    model = build(MODELS[name], 2 if n_outputs == 1 else 3)
    assert count_parameters(split_model(model)[1]) == expected
    sizes = axis_sizes(axes_of(model))  # refuses axes that are not those of the parameters
    assert {f"embedding {field}": width for field, width in WIDTHS.items()}.items() <= sizes.items()


def test_tables_of_one_width_compute_what_one_table_does():
    """The rows of the one table, handed out: 4 of colours, 5 of genres, 6 of items, which the history shares."""
    one = FeatureInput(SCHEMA, 3, rngs=nnx.Rngs(0))
    one.vectors.embedding[...] = jax.random.normal(jax.random.key(1), (15, 3))
    several = FeatureInput(SCHEMA, {"colour": 3, "genres": 3, "item": 3}, rngs=nnx.Rngs(0))  # last parts of names do
    rows = np.asarray(one.vectors.embedding[...])
    for table, begin, end in zip(several.vectors.each(), (0, 4, 9), (4, 9, 15), strict=True):
        table.embedding[...] = jnp.asarray(rows[begin:end])
    assert one.width == several.width == D + 4 * 3
    np.testing.assert_array_equal(one(make_batch()), several(make_batch()))
    assert one.widths == several.widths == dict.fromkeys(WIDTHS, 3)


def test_widths_stand_side_by_side_and_unknown_values_say_nothing_at_first():
    model = FeatureInput(SCHEMA, WIDTHS, rngs=nnx.Rngs(0))
    batch = Batch({"dense": jnp.ones((1, D)), "categorical": jnp.zeros((1, len(SIZES)), jnp.int32)}, jnp.ones(1))
    assert model(batch).tolist() == [[1.0] * D + [0.0] * (N - D)]
    tables = model.tables()
    assert [(table.name, table.width, table.columns) for table in tables] == [
        ("user.colour", 2, (0, 1)),
        ("genres", 1, (1, 4)),
        ("seen.item", 3, (4, 9)),
    ]
    assert [table.has_unknown for table in tables] == [(True,), (False,) * 3, (True, *(False,) * 4)]
    assert FeatureInput(SCHEMA, 3, rngs=nnx.Rngs(0)).tables() == ()


def test_features_without_codes_need_no_widths():
    model = FeatureInput(SCHEMA[:1], {}, rngs=nnx.Rngs(0))
    batch = Batch({"dense": jnp.ones((2, 1)), "categorical": jnp.zeros((2, 0), jnp.int32)}, jnp.ones(2))
    assert model(batch).tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize(
    ("widths", "sentence"),
    [
        ({"colour": 2, "genres": 1}, "no width for seen.item: name every field"),
        ({**WIDTHS, "seen": 2}, "model.embedding_width.seen must name one field with a table of its own, once; there"),
        ({**WIDTHS, "age": 2}, "there are: user.colour, genres, seen.item"),
        ({**WIDTHS, "colour": 2}, "model.embedding_width.colour must name one field"),
    ],
)
def test_widths_must_name_every_field_once(widths, sentence):
    with pytest.raises(OptionError, match=sentence):
        build(MLPClassifier(embedding_width=widths))


@pytest.mark.parametrize("widths", [0, {"a": 0}])
@pytest.mark.parametrize("factory", [MLPClassifier, ResidualClassifier])
def test_a_width_is_at_least_one(factory, widths):
    with pytest.raises(OptionError, match=r"model.embedding_width(\.a)?=0: it must be at least 1"):
        factory(embedding_width=widths)


@pytest.mark.parametrize("factory", [DeepFM, DIN, NeuMF])
def test_models_that_multiply_vectors_need_one_width(factory):
    with pytest.raises(OptionError, match=f"{factory.__name__} .*products|multiplies.*one width: give a number"):
        factory(embedding_width=WIDTHS)
