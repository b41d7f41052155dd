"""What growth learns from: batches and a loss that are the same whenever they are asked for."""

import jax
import numpy as np
import pytest
from flax import nnx

from curriculum_rec.models import DNN
from curriculum_rec.models.structure import split_model
from curriculum_rec.objectives import SampledSoftmax
from curriculum_rec.training.growth_task import RunTask
from curriculum_rec.training.placement import Placement


@pytest.fixture(scope="module")
def task_and_params(request):
    examples = request.getfixturevalue("tiny_examples")
    model = DNN(width=4, depth=1, dropout=0.5)(n_items=len(examples.item_counts) - 1, max_length=12, rngs=nnx.Rngs(0))
    structure, params = split_model(model)
    placed = Placement("jit").place()
    return RunTask(SampledSoftmax(n_negatives=4), examples, structure, placed, 3, progress=0.5, memory={}), params


def rows(task, step):
    return np.asarray(task.batch(step)[0]["history"])


def test_batches_are_functions_of_the_step_and_come_from_all_buckets(task_and_params):
    task, _ = task_and_params
    np.testing.assert_array_equal(rows(task, 5), rows(task, 5))
    shapes = {rows(task, step).shape for step in range(40)}
    assert shapes == {(min(bucket.batch_size, len(bucket.example)), bucket.length) for bucket in task.examples.whole}
    known = {tuple(row) for bucket in task.examples.whole for row in bucket.arrays["history"]}
    assert {tuple(row) for row in rows(task, 0)} <= known


def test_the_loss_is_the_same_again_and_a_mean(task_and_params):
    task, params = task_and_params
    loss = jax.jit(task.loss)
    first, again, other = (float(loss(params, task.batch(step))) for step in (0, 0, 1))
    assert first == again != other
    assert first == pytest.approx(np.log(5), rel=0.1)  # five candidates, none of which is known yet
