"""Losses of classes and numbers: the focal loss by hand, and what each refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from curriculum_rec.data.inputs import Columns
from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.objectives import CrossEntropy, FocalLoss, Logistic, MeanSquaredError

LABEL = jnp.array([1, 0, 1, 0], jnp.int32)
BATCH = Batch({"label": LABEL}, jnp.ones(4))
RNG = BatchRng.for_rows(jax.random.key(0), jnp.arange(4, dtype=jnp.int32))
LOGIT = jnp.log(jnp.array([[1.0], [1.0], [3.0], [3.0]]))  # probabilities 1/2, 1/2, 3/4, 3/4


def losses(objective, logit=LOGIT):
    return objective(lambda *_: logit, BATCH, RNG).per_example


def test_the_focal_loss_by_hand():
    p = np.array([1 / 2, 1 / 2, 3 / 4, 1 / 4])  # of the own class
    alpha = np.array([1 / 4, 3 / 4, 1 / 4, 3 / 4])
    assert losses(FocalLoss()) == pytest.approx(-alpha * (1 - p) ** 2 * np.log(p), rel=1e-6)
    assert losses(FocalLoss(1.0, None)) == pytest.approx(-(1 - p) * np.log(p), rel=1e-6)
    expected = np.asarray(optax.sigmoid_focal_loss(LOGIT[:, 0], LABEL.astype(jnp.float32), alpha=0.25, gamma=2.0))
    assert losses(FocalLoss()) == pytest.approx(expected, rel=1e-5)


def test_without_a_factor_it_is_the_logistic_loss():
    assert losses(FocalLoss(0.0, None)) == pytest.approx(np.asarray(losses(Logistic())), rel=1e-6)


@pytest.mark.parametrize("logit", [-200.0, 200.0])
def test_its_gradient_is_finite_where_probabilities_round(logit):
    gradient = jax.grad(lambda z: losses(FocalLoss(), jnp.full((4, 1), z)).sum())(logit)
    assert np.isfinite(gradient) and abs(gradient) > 0.1


@pytest.mark.parametrize(
    ("objective", "n_classes", "sentence"),
    [
        (FocalLoss(), 3, "objective=focal is for two classes, and the label has 3"),
        (FocalLoss(), 0, "objective=focal is for classes, and examples.target=number: take objective=mse"),
        (Logistic(), 0, "objective=logistic is for classes"),
        (CrossEntropy(), 0, "objective=cross_entropy is for classes"),
        (MeanSquaredError(), 2, "objective=mse is for labels that are numbers, and these are 2 classes"),
    ],
)
def test_labels_of_another_kind_are_refused(objective, n_classes, sentence):
    with pytest.raises(OptionError, match=sentence):
        objective.check_inputs(Columns((), n_classes))


def test_labels_of_the_own_kind_are_not():
    for objective, n_classes in ((FocalLoss(), 2), (Logistic(), 2), (CrossEntropy(), 7), (MeanSquaredError(), 0)):
        objective.check_inputs(Columns((), n_classes))


@pytest.mark.parametrize("options", [{"gamma": -1.0}, {"alpha": 0.0}, {"alpha": 1.0}])
def test_its_options_have_ranges(options):
    with pytest.raises(OptionError, match=f"objective.{next(iter(options))}="):
        FocalLoss(**options)
