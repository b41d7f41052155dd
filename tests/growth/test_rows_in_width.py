"""Models of rows in width: the function is kept, moments are those of the grown model, and new entries learn."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from networks import TX, assert_moments_are_of, leaves, seen

from curriculum_rec.data.features import Field
from curriculum_rec.data.inputs import Columns
from curriculum_rec.errors import OptionError
from curriculum_rec.growth import ComposedGrowth, Copies, LearnedGrowth, MaskedGrowth, NewUnits
from curriculum_rec.models import DCNv2, DeepFM, MLPClassifier, ResidualClassifier, WideDeep
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.structure import join_model, split_model
from curriculum_rec.objectives import Logistic

SCHEMA = (
    Field("age", "dense", 2, 2),
    Field("colour", "categorical", 4, 1),
    Field("genres", "multi_categorical", 5, 3),
    Field("item", "categorical", 6, 1),
    Field("seen", "history", 6, 4),
)
SIZES = np.array([4, 5, 5, 5, 6, 6, 6, 6, 6])
EQUAL, UNEQUAL, NEW = Copies(), Copies(share=0.3), NewUnits()
FEW, MORE = {"colour": 1, "genres": 2, "item": 3}, {"colour": 2, "genres": 2, "item": 5}
SMALL = {"width": 8, "embedding_width": 3, "dropout": 0.0}
CASES = {
    "new dimensions of fields": (
        MLPClassifier((6, 5), activation="gelu", embedding_width=FEW),
        {"embedding_width": MORE},
        {"embedding": NEW},
    ),
    "wider layers": (
        MLPClassifier((6, 5), activation="gelu", embedding_width=3),
        {"embedding_width": 4, "hidden": (9, 10)},
        {"embedding": NEW, "hidden 0": NEW, "hidden": UNEQUAL},
    ),
    "copies in all": (
        ResidualClassifier(**SMALL),
        {"embedding_width": 6, "width": 16},
        {"embedding": UNEQUAL, "stream": EQUAL, "hidden": UNEQUAL},
    ),
    "new units in all": (
        WideDeep(**{**SMALL, "embedding_width": FEW}, norm="rms", crosses=(("colour", "item"),)),
        {"embedding_width": MORE, "width": 11},
        {"embedding": NEW, "stream": NEW, "hidden": NEW},
    ),
    "cross layers": (DCNv2(**{**SMALL, "embedding_width": FEW}), {"embedding_width": MORE}, {"embedding": NEW}),
    "copies in cross layers": (DCNv2(**SMALL), {"embedding_width": 6}, {"embedding": UNEQUAL}),
    "cross layers of low rank beside blocks": (
        DCNv2(**SMALL, rank=4, structure="parallel"),
        {"embedding_width": 6, "rank": 6},
        {"embedding": UNEQUAL, "hidden": NEW},
    ),
}
COPIES = ("copies in all", "copies in cross layers")
WITH_NEW = [name for name in CASES if name not in (*COPIES, "cross layers of low rank beside blocks")]
SLOW = ("copies in all", "new units in all", "cross layers of low rank beside blocks", "copies in cross layers")
RNG = BatchRng.for_rows(jax.random.key(0), jnp.arange(32, dtype=jnp.int32))


def cases(names):
    return pytest.mark.parametrize(
        "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in names]
    )


def model_of(options):
    depth = None if isinstance(options, MLPClassifier) else 2
    return nnx.eval_shape(lambda: options(inputs=Columns(SCHEMA, 2), depth=depth, rngs=nnx.Rngs(0)))


def make_batch(seed=0, n=32):
    rng = np.random.default_rng(seed)
    arrays = {
        "dense": jnp.asarray(rng.normal(size=(n, 2)), jnp.float32),
        "categorical": jnp.asarray(rng.integers(0, SIZES, (n, len(SIZES))), jnp.int32),
        "label": jnp.asarray(rng.integers(0, 2, n), jnp.int32),
    }
    return Batch(arrays, jnp.ones(n))


def program(options):
    structure = split_model(model_of(options))[0]

    def loss(params, batch):
        model = join_model(structure, params)
        return Logistic()(model, batch, RNG).per_example.mean(), model(batch)

    return jax.jit(jax.value_and_grad(loss, has_aux=True), compiler_options={"xla_backend_optimization_level": 0})


@cache
def grown_case(name):
    """Programs, parameters and optimizer states before and after growth; the old ones took some plain steps."""
    old, changes, units = CASES[name]
    new = replace(old, **changes)
    programs = program(old), program(new)
    rng = np.random.default_rng(1)
    shapes = split_model(model_of(old))[1]
    params = jax.tree.map(lambda leaf: jnp.asarray(0.4 * rng.standard_normal(leaf.shape, np.float32)), shapes)
    for _ in range(2):
        gradient = programs[0](params, make_batch())[1]
        params = jax.tree.map(lambda leaf, g: leaf - 0.1 * g, params, gradient)
    state = seen(TX.init(params), programs[0](params, make_batch())[1])
    grown, grown_state = ComposedGrowth(units)(params, state, old=model_of(old), new=model_of(new))
    return programs, params, grown, grown_state


@cases(CASES)
def test_the_grown_model_computes_the_same(name):
    old, changes, units = CASES[name]
    new = replace(old, **changes)
    assert ComposedGrowth(units).preserves_function(model_of(old), model_of(new))
    (before, after), params, grown, _ = grown_case(name)
    assert jax.tree.map(np.shape, grown) == jax.tree.map(np.shape, split_model(model_of(new))[1])
    for seed in (0, 1):
        logits = [np.asarray(run(p, make_batch(seed))[0][1]) for run, p in ((before, params), (after, grown))]
        assert np.abs(logits[0]).max() > 0.1
        np.testing.assert_allclose(logits[1], logits[0], rtol=0, atol=1e-6 * max(1, np.abs(logits[0]).max()))


@cases(CASES)
def test_moments_are_what_the_grown_gradient_makes(name):
    (_, after), _, grown, state = grown_case(name)
    assert_moments_are_of(after(grown, make_batch())[1], state, all_known=name in COPIES)


@cases(WITH_NEW)
def test_new_entries_learn_within_two_steps(name):
    (_, after), _, params, _ = grown_case(name)
    moved = jax.tree.map(lambda leaf: np.zeros(leaf.shape, bool), params)
    for _ in range(2):
        gradient = after(params, make_batch())[1]
        params = jax.tree.map(lambda leaf, g: leaf - 0.1 * g, params, gradient)
        moved = jax.tree.map(lambda before, g: before | (np.asarray(g) != 0), moved, gradient)
    for path, each in leaves(moved).items():
        if "crosses" not in path:  # of whose combinations some never occur
            # Code 0 of the genres only fills up; in one table of all fields it stands behind the four colours.
            filler = 0 if "field_1" in path else 4 if "'embedding'" in path and "field_" not in path else None
            assert (each if filler is None else np.delete(each, filler, axis=0)).all(), path


def test_growth_by_masks_and_by_a_learnt_map_take_rows_too():
    old, changes, _ = CASES["new dimensions of fields"]
    models = {"old": model_of(old), "new": model_of(replace(old, **changes))}
    (before, after), params, _, _ = grown_case("new dimensions of fields")
    growth = MaskedGrowth()
    grown, _ = growth(params, TX.init(params), **models)
    assert {name for name, _, _ in growth.masks(**models).entries} == {"hidden_0.kernel"}
    masked = growth.masks(**models).of(grown, jnp.int32(0))
    logits = [np.asarray(run(p, make_batch())[0][1]) for run, p in ((before, params), (after, masked))]
    np.testing.assert_allclose(logits[1], logits[0], rtol=0, atol=1e-6)
    learnt, _ = LearnedGrowth(allow_lossy=True)(params, TX.init(params), **models)
    assert jax.tree.map(np.shape, learnt) == jax.tree.map(np.shape, grown)


@pytest.mark.parametrize(
    ("old", "changes", "units", "sentence"),
    [
        (CASES["copies in all"][0], {"embedding_width": 6}, {"stream": NEW}, "'embedding' units grow from 3 to 6, but"),
        (CASES["cross layers"][0], {"embedding_width": MORE}, {"rank": NEW}, "'embedding colour' units grow from 1 to"),
        (CASES["cross layers"][0], {"embedding_width": {**MORE, "genres": 1}}, {"embedding": NEW}, "fall from 2 to 1"),
        (CASES["cross layers"][0], {"embedding_width": 3}, {"embedding": NEW}, "sizes alone.*fields.vectors"),
        (CASES["wider layers"][0], {"hidden": (9, 5)}, {"hidden 3": NEW}, "growth.units.hidden 3: the model has no"),
        (DeepFM(**SMALL), {"embedding_width": 6}, {"embedding": NEW}, "DeepFMModel does not say what the axes"),
    ],
)
def test_what_cannot_be_grown_is_refused(old, changes, units, sentence):
    with pytest.raises(OptionError, match=sentence):
        ComposedGrowth(units).check(model_of(old), model_of(replace(old, **changes)))
