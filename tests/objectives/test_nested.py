"""An objective over several widths: what it adds up, and what compression makes of the table afterwards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from curriculum_rec.compression import Dimensions
from curriculum_rec.compression.packing import dense
from curriculum_rec.errors import OptionError
from curriculum_rec.models import SASRec
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.structure import join_model, split_model
from curriculum_rec.objectives import BinaryCrossEntropy, Nested, SampledSoftmax, Softmax
from curriculum_rec.objectives.nested import narrowed

WIDTH = 8
HISTORY = jnp.array([[1, 2, 3, 4], [5, 6, 0, 0]], jnp.int32)
TARGET = jnp.array([[2, 3, 4, 5], [6, 7, 0, 0]], jnp.int32)
BATCH = Batch({"history": HISTORY, "target": TARGET}, jnp.ones(2))
RNG = BatchRng.for_rows(jax.random.key(0), jnp.arange(2, dtype=jnp.int32))


@pytest.fixture(scope="module")
def model():
    return SASRec(width=WIDTH, depth=1, dropout=0.0)(n_items=10, max_length=4, rngs=nnx.Rngs(0))


def cut(model, width):
    """The model with zeros written over its table's other columns."""
    structure, params = split_model(model)
    table = np.array(params["items"]["embedding"])
    table[:, width:] = 0
    return join_model(structure, params | {"items": {"embedding": jnp.asarray(table)}})


@pytest.mark.parametrize("objective", [Softmax(), SampledSoftmax(n_negatives=5)], ids=["softmax", "sampled"])
def test_losses_are_the_mean_over_the_widths(model, objective):
    nested = Nested(objective, shares=(0.25, 0.5))(model, BATCH, RNG)
    single = [objective(cut(model, width), BATCH, RNG).per_example for width in (2, 4, 8)]
    np.testing.assert_allclose(nested.per_example, sum(single) / 3, rtol=1e-5, atol=1e-6)
    assert np.abs(single[0] - single[2]).max() > 1e-3
    np.testing.assert_array_equal(nested.mask, TARGET > 0)


def test_a_narrow_loss_asks_nothing_of_the_other_columns(model):
    structure, params = split_model(model)

    def loss(params):
        return Softmax()(narrowed(join_model(structure, params), 0.25), BATCH, RNG).per_example.sum()

    gradient = jax.grad(loss)(params)["items"]["embedding"]
    assert (gradient[:, 2:] == 0).all()
    assert (gradient[:, :2] != 0).any()


def test_compression_makes_the_model_that_was_trained(model):
    params = jax.tree.map(np.asarray, split_model(model)[1])
    compressed = dense(Dimensions(width=4)(params, seed=0))
    jax.tree.map(np.testing.assert_array_equal, compressed, split_model(narrowed(model, 0.5))[1])


def test_it_asks_for_and_remembers_what_its_objective_does():
    counts = np.arange(11)
    inner = BinaryCrossEntropy()
    assert Nested(inner).needs_positives
    assert not Nested(Softmax()).needs_positives
    assert Nested(inner).begin(n_items=10, item_counts=counts) == inner.begin(n_items=10, item_counts=counts)
    assert Nested(Softmax()).begin(n_items=10, item_counts=counts) == {}


def test_what_it_cannot_do_is_refused():
    with pytest.raises(OptionError, match=r"objective.shares=\[0.5, 1.0\]"):
        Nested(Softmax(), shares=(0.5, 1.0))
    with pytest.raises(OptionError, match="objective.shares"):
        Nested(Softmax(), shares=())
    with pytest.raises(OptionError, match="Linear has no parameter items.embedding"):
        narrowed(nnx.Linear(2, 2, rngs=nnx.Rngs(0)), 0.5)
