"""Contrast: its formula, who is compared with whom, and what it adds to a loss."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from curriculum_rec.augmentation import Crop, Substitute
from curriculum_rec.data.cooccurrence import SIMILAR
from curriculum_rec.data.twins import TWINS
from curriculum_rec.errors import OptionError
from curriculum_rec.models import SASRec
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.objectives import Contrastive, SampledSoftmax, Softmax
from curriculum_rec.objectives.contrastive import contrast
from curriculum_rec.objectives.losses import examples_for

N_ITEMS, LENGTH = 12, 6


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def by_hand(first, second, real, temperature, names):
    """The formula, row by row."""
    losses = np.zeros(len(first))
    for i in np.flatnonzero(real):
        others = [j for j in np.flatnonzero(real) if j != i and names[j] != names[i]]
        for own, other in ((first, second), (second, first)):
            negatives = [own[i] @ vectors[j] / temperature for j in others for vectors in (own, other)]
            positive = own[i] @ other[i] / temperature
            losses[i] += (np.log(np.exp([positive, *negatives]).sum()) - positive) / 2
    return losses


REAL = np.array([True, True, False, True, True, True, False, True])
NAMES = np.array([3, 4, 3, 3, 5, 6, 7, 8], np.int32)


@pytest.mark.parametrize("named", [False, True])
def test_the_contrast_equals_its_formula(named):
    first, second = random(8, 4), random(8, 4, seed=1)
    got = contrast(*map(jnp.asarray, (first, second, REAL)), 0.7, names=jnp.asarray(NAMES) if named else None)
    expected = by_hand(first, second, REAL, 0.7, NAMES if named else np.arange(8))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["vmap", "pmap"])
def test_rows_of_all_devices_are_compared_in_value_and_gradient(kind):
    first, second = random(8, 4), random(8, 4, seed=1)

    def local(pair, real, names, axis_name):
        return contrast(*pair, real, 0.7, names=names, axis_name=axis_name)

    def total(pair, real, names, axis_name=None):
        return local(pair, real, names, axis_name).sum()

    whole = jax.value_and_grad(total)((jnp.asarray(first), jnp.asarray(second)), jnp.asarray(REAL), jnp.asarray(NAMES))
    mapped = jax.vmap if kind == "vmap" else partial(jax.pmap, devices=jax.devices()[:2])
    halves = [array.reshape(2, 4, *array.shape[1:]) for array in (first, second, REAL, NAMES)]
    body = partial(jax.value_and_grad(total), axis_name="data")
    parts = mapped(lambda a, b, r, n: body((a, b), r, n), axis_name="data")(*halves)
    np.testing.assert_allclose(np.asarray(parts[0]).sum(), whole[0], rtol=1e-5)
    for mine, reference in zip(parts[1], whole[1], strict=True):
        np.testing.assert_allclose(np.asarray(mine).reshape(8, 4), reference, atol=1e-5)


@pytest.fixture(scope="module")
def model():
    return SASRec(width=8, depth=1, feed_forward_factor=1)(n_items=40, max_length=12, rngs=nnx.Rngs(0))


def rows_of(examples, bucket=0, n=4):
    arrays = {name: jnp.asarray(array[:n]) for name, array in examples.buckets[bucket].arrays.items()}
    return Batch(arrays, jnp.array([1.0, 1.0, 1.0, 0.0]))


RNG = BatchRng.for_rows(jax.random.key(0), jnp.arange(4, dtype=jnp.int32))
KINDS = {
    "augmented": Contrastive(SampledSoftmax(n_negatives=4), weight=0.5),
    "substitutes": Contrastive(SampledSoftmax(n_negatives=4), weight=0.5, views=Substitute(), similarity="cosine"),
    "dropout": Contrastive(SampledSoftmax(n_negatives=4), "dropout", None, weight=0.5),
    "same target": Contrastive(SampledSoftmax(n_negatives=4), "same_target", None, weight=0.5),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_rows_contrast_is_added_to_each_of_its_losses(model, tiny_examples, name):
    objective = KINDS[name]
    batch = rows_of(examples_for(objective, tiny_examples))
    got, task = jax.jit(lambda: (objective(model, batch, RNG), objective.objective(model, batch, RNG)))()
    added = np.asarray(got.per_example - task.per_example)
    np.testing.assert_allclose(added, np.broadcast_to(added[:, :1], added.shape), atol=1e-5)
    assert (added[:3] > 0).all()
    np.testing.assert_allclose(added[3], 0, atol=1e-5)  # it only fills the batch up
    np.testing.assert_allclose(got.metrics["contrast"], added[:3, 0].mean() / 0.5, rtol=1e-4)
    np.testing.assert_array_equal(got.mask, task.mask)


def test_examples_carry_what_the_views_need(tiny_examples):
    similar = examples_for(KINDS["substitutes"], tiny_examples)
    twins = examples_for(KINDS["same target"], tiny_examples)
    for number, bucket in enumerate(tiny_examples.buckets):
        assert similar.buckets[number].arrays[SIMILAR].shape == (*bucket.arrays["history"].shape, 4)
        rows, length = bucket.arrays["history"].shape
        assert twins.buckets[number].arrays[TWINS].shape == (rows, length + 1, 4)
    assert examples_for(KINDS["augmented"], tiny_examples) is tiny_examples


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Contrastive(Softmax(), weight=0.0), "objective.weight=0.0"),
        (lambda: Contrastive(Softmax(), "same_target"), "has no effect here: set augmentation@objective.views=none"),
        (lambda: Contrastive(Softmax(), views=None), "which it needs"),
        (lambda: Contrastive(Softmax(), pair="random", views=Crop()), "objective.pair=random"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
