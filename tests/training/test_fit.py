import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from curriculum_rec import AdamW, Curriculum, Examples, Losses, Placement, fit
from curriculum_rec.curriculum.difficulty import Loss
from curriculum_rec.curriculum.pacing import Linear
from curriculum_rec.curriculum.sampling import Prefix
from curriculum_rec.errors import OptionError


class Classifier(nnx.Module):
    """A person's own model."""

    def __init__(self, *layers, rngs):
        self.layers = nnx.List([nnx.Linear(2, 16, rngs=rngs), *layers, nnx.Linear(16, 3, rngs=rngs)])

    def __call__(self, x):
        for layer in self.layers[:-1]:
            x = nnx.relu(layer(x))
        return self.layers[-1](x)


def classification(model, batch, rng):
    """A person's own objective."""
    logits = model(batch["x"])
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"])
    right = (logits.argmax(-1) == batch["y"]) * batch.weight
    return Losses(losses, metrics={"accuracy": right.sum() / jnp.maximum(batch.weight.sum(), 1)})


@pytest.fixture(scope="module")
def points():
    """Three clouds in the plane, 205 points, so that the last batch is not full."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 205)
    centres = np.array([[0.0, 2.0], [2.0, -1.0], [-2.0, -1.0]])
    return {"x": centres[y] + 0.5 * rng.standard_normal((205, 2)), "y": y}


CURRICULUM = Curriculum(Loss(decay=0.5), pacing=Linear(start=0.5), sampler=Prefix(min_examples=16), order="curriculum")


@pytest.mark.parametrize("placement", ["jit", Placement("pmap", 2), Placement("shard_map", 4)], ids=str)
@pytest.mark.parametrize("curriculum", [None, CURRICULUM], ids=["plain", "curriculum"])
def test_own_model_objective_and_arrays_learn(points, placement, curriculum):
    result = fit(
        Classifier(rngs=nnx.Rngs(0)),
        classification,
        Examples.from_arrays(points, batch_size=32),
        optimizer=AdamW(learning_rate=0.03)(60),
        steps=60,
        curriculum=curriculum,
        placement=placement,
    )
    assert result.loss.shape == (60,)
    assert result.loss[-5:].mean() < 0.3 < result.loss[0]
    accuracy = (np.asarray(result.model(jnp.asarray(points["x"], jnp.float32))).argmax(-1) == points["y"]).mean()
    assert accuracy > 0.9
    assert int(result.state.step) == 60


def test_the_same_seed_gives_the_same_losses_and_another_one_does_not(points):
    def losses(seed):
        examples, model = Examples.from_arrays(points, batch_size=32), Classifier(rngs=nnx.Rngs(0))
        return fit(model, classification, examples, optimizer=optax.sgd(0.1), steps=8, seed=seed, placement="jit").loss

    np.testing.assert_array_equal(losses(1), losses(1))
    assert (losses(1) != losses(2)).any()


@pytest.mark.parametrize("placement", ["jit", Placement("pmap", 4)], ids=str)
def test_the_model_that_is_given_stays_usable_and_unchanged(points, placement):
    model = Classifier(rngs=nnx.Rngs(0))
    before = [np.asarray(leaf).copy() for leaf in jax.tree.leaves(nnx.state(model))]
    examples = Examples.from_arrays(points, batch_size=32)
    fit(model, classification, examples, optimizer=optax.sgd(0.1), steps=2, placement=placement)
    for leaf, old in zip(jax.tree.leaves(nnx.state(model)), before, strict=True):
        np.testing.assert_array_equal(leaf, old)


@pytest.mark.parametrize("layer", [lambda r: nnx.BatchNorm(16, rngs=r), lambda r: nnx.Dropout(0.5, rngs=r)])
def test_models_with_other_state_than_parameters_are_refused(points, layer):
    model = Classifier(layer(nnx.Rngs(0)), rngs=nnx.Rngs(0))
    with pytest.raises(OptionError, match="no parameter"):
        fit(model, classification, Examples.from_arrays(points, batch_size=32), optimizer=optax.sgd(0.1), steps=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps=0"),
        ({"steps_per_dispatch": 0}, "steps_per_dispatch=0"),
        ({"placement": Placement("pmap", 3)}, "32 examples cannot be cut equally for 3 devices"),
        ({"placement": "tpu"}, "placement.kind=tpu"),
    ],
)
def test_options_out_of_range_are_refused(points, options, message):
    arguments = {"optimizer": optax.sgd(0.1), "steps": 1, "placement": "jit"} | options
    with pytest.raises(OptionError, match=message):
        fit(Classifier(rngs=nnx.Rngs(0)), classification, Examples.from_arrays(points, batch_size=32), **arguments)


def test_evaluations_are_asked_for_in_time_and_change_no_batch(points):
    def run(**others):
        return fit(
            Classifier(rngs=nnx.Rngs(0)),
            classification,
            Examples.from_arrays(points, batch_size=32),
            optimizer=AdamW(learning_rate=0.03)(25),
            steps=25,
            curriculum=CURRICULUM,
            placement="jit",
            **others,
        )

    def accuracy(model):
        return float((model(points["x"]).argmax(-1) == points["y"]).mean())

    plain, watched = run(), run(evaluate=accuracy, evaluate_every=10)
    np.testing.assert_array_equal(plain.loss, watched.loss)
    assert watched.evaluated_at.tolist() == [10, 20, 25]
    assert watched.quality[-1] == accuracy(watched.model) == accuracy(plain.model)
    assert len(plain.quality) == len(plain.evaluated_at) == 0
    assert run(evaluate=accuracy).evaluated_at.tolist() == [25]
    with pytest.raises(OptionError, match="evaluate_every=5 has no effect without evaluate"):
        run(evaluate_every=5)
    with pytest.raises(OptionError, match="evaluate_every=0: it must be at least 1, or null"):
        run(evaluate=accuracy, evaluate_every=0)
