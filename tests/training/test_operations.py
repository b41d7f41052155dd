import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from curriculum_rec.curriculum.sampling import PADDING
from curriculum_rec.curriculum.state import Draw
from curriculum_rec.data.examples import Bucket, Examples
from curriculum_rec.models import DNN, HSTU, SASRec
from curriculum_rec.models.batch import Batch
from curriculum_rec.objectives import BinaryCrossEntropy, SampledSoftmax, Softmax
from curriculum_rec.training.operations import Operations, measure_peak
from curriculum_rec.training.record import RunRecord
from curriculum_rec.weighting import DataParameters, LearnToReweight, MetaWeightNet, SuperLoss

N_ITEMS, LENGTH = 20, 5


NONE = np.zeros(0, np.float32)
"""Losses of no step."""


def make_model(options, depth):
    return options(n_items=N_ITEMS, max_length=LENGTH, depth=depth, rngs=nnx.Rngs(0))


def traced_operations(model):
    """Count the products of a matrix of weights with all positions, in the program that JAX traces."""
    batch = Batch({"history": jnp.ones((1, LENGTH), jnp.int32)}, jnp.ones(1))
    equations = list(jax.make_jaxpr(model)(batch).eqns)
    total = 0
    while equations:
        equation = equations.pop()
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", None)
            equations += [] if inner is None else getattr(inner, "eqns", [])
        if equation.primitive.name == "dot_general" and equation.invars[1].aval.ndim == 2:
            total += 2 * equation.outvars[0].aval.size * equation.invars[1].aval.shape[0]
    return total


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize(
    "options",
    [
        SASRec(width=8, n_heads=2, feed_forward_factor=2),
        SASRec(width=8, n_heads=2, positions="relative", feed_forward="swiglu", gating="ligr"),
        HSTU(width=8, bias="position"),
        DNN(width=8),
    ],
)
def test_a_models_operations_are_those_of_its_matrix_products(options, depth):
    model = make_model(options, depth)
    attention = depth * 4 * 8 * sum(range(1, LENGTH + 1)) if not isinstance(options, DNN) else 0
    assert model.operations(np.array([LENGTH, 0])).tolist() == [traced_operations(model) + attention, 0]


@pytest.mark.parametrize(
    ("objective", "scores"), [(Softmax(), N_ITEMS), (SampledSoftmax(7), 8), (BinaryCrossEntropy(2), 3)]
)
def test_a_draw_costs_its_real_positions_and_the_scores_of_its_targets(objective, scores):
    histories = [np.array([[1, 2, 0], [3, 0, 0]], np.int32), np.array([[1, 2, 3, 4, 5]], np.int32)]
    buckets = [
        Bucket({"history": history, "target": history}, np.arange(len(history), dtype=np.int32), 8)
        for history in histories
    ]
    operations = Operations.of(make_model(DNN(width=8, feed_forward_factor=2), 1), objective, Examples(tuple(buckets)))
    draw = Draw(np.array([1, 0], np.int32), np.array([[0, PADDING], [1, 0]], np.int32), 1.0, 3)
    layers = 2 * 2 * 8 * 16 * (5 + 1 + 2)
    assert operations.of_draw(draw, n_targets=6) == 3 * (layers + 6 * 2 * 8 * scores)


@pytest.mark.parametrize(
    ("weighting", "passes"),
    [(None, 3), (SuperLoss(), 4), (LearnToReweight(), 6), (MetaWeightNet(), 9), (DataParameters(), 6)],
)
def test_a_weightings_looks_are_counted(weighting, passes, tiny_examples):
    """A forward pass is one, a gradient two; the draw is the same."""
    plain, weighed = (
        Operations.of(make_model(DNN(width=8), 1), Softmax(), tiny_examples, rule) for rule in (None, weighting)
    )
    draw = Draw(np.zeros(1, np.int32), np.array([[0, 1, PADDING]], np.int32), 1.0, 2)
    assert 3 * weighed.of_draw(draw, 5) == passes * plain.of_draw(draw, 5)


def test_what_cannot_be_counted_has_no_share():
    class OwnModel(nnx.Module):
        pass

    examples = Examples.from_arrays({"history": np.ones((8, 3), np.int32)}, batch_size=8)
    own_arrays = Examples.from_arrays({"x": np.ones((8, 3), np.float32)}, batch_size=8)
    model = make_model(DNN(width=8), 1)
    assert Operations.of(OwnModel(), Softmax(), examples) is None
    assert Operations.of(model, lambda *_: None, examples) is None
    assert Operations.of(model, Softmax(), own_arrays) is None
    assert Operations.of(model, Softmax(), examples) is not None


def test_the_peak_is_a_rate_that_any_machine_exceeds():
    assert measure_peak(patience=0) > 1e8


def test_the_record_adds_up_stage_by_stage_and_says_when_it_does_not_know():
    record = RunRecord().begin_stage("a", 1, 10, 0).computed(3.0, NONE).computed(4.0, NONE)
    record = record.begin_stage("b", 2, 20, 5).computed(5.0, NONE)
    assert (record.operations, [stage.operations for stage in record.stages]) == (12.0, [7.0, 5.0])
    assert RunRecord.from_json(record.to_json()) == record
    unknown = record.computed(None, NONE).computed(1.0, NONE)
    assert unknown.operations is unknown.stage.operations is None
    assert unknown.begin_stage("c", 2, 20, 9).computed(1.0, NONE).operations is None
