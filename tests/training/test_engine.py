from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from curriculum_rec.curriculum.difficulty import Length, Loss
from curriculum_rec.curriculum.options import Curriculum
from curriculum_rec.curriculum.pacing import Linear
from curriculum_rec.curriculum.sampling import PADDING, Prefix
from curriculum_rec.curriculum.scheduler import Scheduler
from curriculum_rec.data.examples import Examples
from curriculum_rec.errors import OptionError, TrainingError
from curriculum_rec.models import DNN
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.objectives import Losses, Softmax
from curriculum_rec.training.engine import Engine
from curriculum_rec.training.optimizers import AdamW
from curriculum_rec.training.placement import Placement
from curriculum_rec.training.state import TrainState
from curriculum_rec.weighting import Focal, Gaussian, HardThreshold, InversePropensity, Mentor, Selective, Truncated
from curriculum_rec.weighting.contract import Rule, with_facts


class Scores(nnx.Module):
    """The smallest recommender: one number an item."""

    def __init__(self, n_items):
        self.score = nnx.Param(jnp.zeros(n_items + 1))


def raise_targets(model, batch, rng):
    """The gradient of an item's score is minus the weight of its targets."""
    return Losses(-model.score[...][batch["target"]], batch["target"] > 0)


def follow_x(model, batch, rng):
    return Losses(batch["x"] + 0 * model.score[...].sum(), metrics={"twice": 2 * (batch.weight * batch["x"]).sum()})


def make_engine(examples, objective, *, tx=None, curriculum=None, kind="jit", devices=1, total=20, **options):
    scheduler = Scheduler(curriculum or Curriculum(), examples, 0, total)
    return Engine(objective, tx or optax.sgd(1.0), scheduler, Placement(kind, devices).place(), 0, **options)


def train(engine, model, stop_at, **options):
    chunks = []
    state = engine.placed.replicate(TrainState.create(model, engine.optimizer, engine.weighting))
    begin = engine.scheduler.begin()
    state, position = engine.train(state, begin, stop_at=stop_at, on_chunk=chunks.append, **options)
    return state, position, chunks


def losses_of(chunks):
    return np.concatenate([chunk.loss for chunk in chunks])


def make_dnn(dropout=0.3):
    return DNN(width=8, depth=1, dropout=dropout)(n_items=40, max_length=12, rngs=nnx.Rngs(0))


def test_the_number_of_steps_a_dispatch_changes_nothing(tiny_examples):
    results = []
    for steps in (1, 3, 50):
        engine = make_engine(
            tiny_examples, Softmax(), tx=AdamW(learning_rate=1e-2, eps=1e-4)(20), steps_per_dispatch=steps
        )
        state, _, chunks = train(engine, make_dnn(), 10)
        assert engine.traces == 1
        assert [chunk.step for chunk in chunks][-1] == int(state.step) == 10
        assert max(len(chunk.loss) for chunk in chunks) == min(steps, 8)  # a chunk ends with its epoch, of 8 batches
        results.append((losses_of(chunks), state.params))
    for losses, params in results[1:]:
        np.testing.assert_allclose(losses, results[0][0], rtol=0, atol=1e-6)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6), params, results[0][1])


def test_stopping_and_going_on_is_the_same_run_to_the_last_bit(tiny_examples):
    curriculum = Curriculum(Loss(decay=0.5), pacing=Linear(start=0.3), sampler=Prefix(8), order="curriculum")
    engine = make_engine(
        tiny_examples,
        Softmax(),
        tx=AdamW(learning_rate=1e-2)(20),
        curriculum=curriculum,
        kind="pmap",
        devices=2,
        steps_per_dispatch=4,
    )
    straight, position, chunks = train(engine, make_dnn(), 20)
    end_of_epoch = len(engine.scheduler.plan(engine.scheduler.begin()))  # the next order needs all losses before it
    for stop in (end_of_epoch, end_of_epoch + 2):
        state, middle, first = train(engine, make_dnn(), stop)
        second = []
        state, end = engine.train(state, middle, stop_at=20, on_chunk=second.append)
        np.testing.assert_array_equal(losses_of(first + second), losses_of(chunks))
        jax.tree.map(np.testing.assert_array_equal, state, straight)
        jax.tree.map(np.testing.assert_array_equal, end.arrays(), position.arrays())
    assert engine.traces == 1


@pytest.mark.parametrize(
    ("unit", "kind", "devices"),
    [
        pytest.param("sequence", "pmap", 4, marks=pytest.mark.slow),
        ("target", "jit", 1),
        pytest.param("target", "shard_map", 2, marks=pytest.mark.slow),
    ],
)
def test_the_curriculum_learns_the_loss_of_every_unit(tiny_examples, unit, kind, devices):
    """With a model that stands still, the running loss is the loss of each unit, computed here directly."""
    curriculum = Curriculum(Loss(decay=0.5), order="curriculum", unit=unit)
    engine = make_engine(
        tiny_examples,
        Softmax(),
        tx=optax.sgd(0.0),
        curriculum=curriculum,
        kind=kind,
        devices=devices,
        steps_per_dispatch=3,
    )
    _, position, _ = train(engine, make_dnn(dropout=0.0), tiny_examples.batches_per_epoch)
    assert position.losses.seen.all()
    for bucket in tiny_examples.buckets:
        batch = Batch(jax.tree.map(jnp.asarray, bucket.arrays), jnp.ones(len(bucket.example)))
        rows = BatchRng.for_rows(jax.random.key(0), jnp.arange(len(bucket.example), dtype=jnp.int32))
        losses = jax.jit(lambda batch, rows: Softmax()(make_dnn(dropout=0.0), batch, rows))(batch, rows)
        for row, example in enumerate(bucket.example):
            expected = np.asarray(losses.per_example)[row][np.asarray(losses.mask)[row]]
            if unit == "sequence":
                assert position.losses.mean[example] == pytest.approx(expected.mean(), abs=1e-5)
            else:
                units = slice(tiny_examples.target_offsets[example], tiny_examples.target_offsets[example + 1])
                np.testing.assert_allclose(position.losses.mean[units], expected, atol=1e-5)


@pytest.mark.parametrize(("kind", "devices"), [("jit", 1), ("pmap", 4)])
def test_only_available_targets_are_trained(tiny_examples, kind, devices):
    curriculum = Curriculum(Length(), Linear(start=0.5, full_at=10.0), Prefix(1), order="curriculum", unit="target")
    engine = make_engine(tiny_examples, raise_targets, curriculum=curriculum, kind=kind, devices=devices)
    state, position, chunks = train(engine, Scores(40), tiny_examples.batches_per_epoch)
    assert position.epoch == 1
    available = np.argsort(position.quantile)[: position.available]
    expected, positions = np.zeros(41), 0
    for chunk in chunks:
        for number, rows in zip(chunk.draw.bucket, chunk.draw.rows, strict=True):
            _, unit = tiny_examples.target_index(int(number), rows[rows != PADDING])
            items = tiny_examples.targets[np.intersect1d(unit, available)]
            expected += np.bincount(items, minlength=41) / len(items)
            positions += len(items)
    np.testing.assert_allclose(state.params["score"], expected, rtol=1e-5, atol=1e-6)
    # Every sequence has an easy target, so that all were drawn: also the one with the first target that was too hard.
    assert sum(chunk.positions for chunk in chunks) == positions == position.available < engine.scheduler.n_units


@dataclass(frozen=True)
class OnlyItem(Rule):
    """Weighs the losses of one item."""

    item: int = 3

    def facts(self, examples):
        return {"item": examples.targets}

    def weigh(self, seen):
        return seen.own((seen.all_facts["item"] == self.item).astype(jnp.float32))


@pytest.mark.parametrize(("kind", "devices", "where"), [("jit", 1, "device"), ("pmap", 4, "host")])
def test_a_weighting_is_told_of_the_target_whose_loss_it_weighs(tiny_examples, kind, devices, where):
    """Only the score of one item moves, by its share of each batch's targets."""
    engine = make_engine(with_facts(tiny_examples, OnlyItem()), raise_targets, weighting=OnlyItem())
    engine = replace(engine, placed=Placement(kind, devices, examples=where).place())
    state, _, chunks = train(engine, Scores(40), tiny_examples.batches_per_epoch)
    expected = 0.0
    for chunk in chunks:
        for number, rows in zip(chunk.draw.bucket, chunk.draw.rows, strict=True):
            items = tiny_examples.targets[tiny_examples.target_index(int(number), rows[rows != PADDING])[1]]
            expected += (items == 3).mean()
    score = np.array(state.params["score"])
    np.testing.assert_allclose(score[3], expected, rtol=1e-5)
    score[3] = 0
    np.testing.assert_array_equal(score, 0)


@pytest.mark.parametrize(
    "weighting",
    [
        Focal(gamma=0.0),
        Gaussian(sharpness=0.0),
        Truncated(max_rate=0.0),
        HardThreshold(start=1.0),
        Mentor(burn_in=1.0),
        Selective(start=1.0),
        Selective(keep=1.0),
        InversePropensity(power=0.0),
    ],
    ids=str,
)
def test_a_weighting_that_weighs_all_alike_changes_no_bit(tiny_examples, weighting):
    examples = with_facts(tiny_examples, weighting)
    plain, weighed = (
        train(make_engine(examples, softmax_of_scores, tx=optax.adam(0.1), weighting=rule), Scores(40), 8)
        for rule in (None, weighting)
    )
    np.testing.assert_array_equal(losses_of(weighed[2]), losses_of(plain[2]))
    np.testing.assert_array_equal(weighed[0].params["score"], plain[0].params["score"])
    assert np.abs(np.asarray(plain[0].params["score"])).max() > 0


@pytest.mark.parametrize(("kind", "devices"), [("pmap", 2), ("shard_map", 4)])
def test_a_weighting_that_draws_does_not_depend_on_the_devices(tiny_examples, kind, devices):
    rule = Selective(keep=0.3, start=0.0, end=1.0, interrupt=0)
    alone, spread = (
        train(make_engine(tiny_examples, losses_of_scores, kind=k, devices=d, weighting=rule), Scores(40), 8)
        for k, d in (("jit", 1), (kind, devices))
    )
    np.testing.assert_allclose(losses_of(spread[2]), losses_of(alone[2]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(spread[0].params["score"], alone[0].params["score"], rtol=1e-4, atol=1e-5)
    for chunk in alone[2]:
        assert 0.2 < chunk.metrics["weight"] <= 0.3 + 1e-6


def losses_of_scores(model, batch, rng):
    """Losses that differ from target to target, so that their ranks do not hang on a rounding error."""
    place = (batch["history"] * jnp.arange(1, batch["history"].shape[1] + 1)[None]).cumsum(axis=1) % 37 / 10
    return Losses(-jax.nn.log_softmax(model.score[...])[batch["target"]] + place, batch["target"] > 0)


def softmax_of_scores(model, batch, rng):
    return Losses(-jax.nn.log_softmax(model.score[...])[batch["target"]], batch["target"] > 0)


def test_padding_rows_weigh_nothing():
    examples = Examples.from_arrays({"x": np.arange(1.0, 6.0)}, batch_size=4)
    for kind, devices in (("jit", 1), ("shard_map", 4)):
        _, _, chunks = train(make_engine(examples, follow_x, kind=kind, devices=devices), Scores(1), 2)
        (chunk,) = chunks
        for rows, loss in zip(chunk.draw.rows, chunk.loss, strict=True):
            assert loss == pytest.approx((rows[rows != PADDING] + 1).mean())
        assert chunk.positions == 5


@pytest.mark.parametrize("steps_per_dispatch", [1, 4, 16])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(steps_per_dispatch):
    x = np.arange(40.0)
    x[17] = np.nan
    engine = make_engine(Examples.from_arrays({"x": x}, batch_size=4), follow_x, steps_per_dispatch=steps_per_dispatch)
    plan = engine.scheduler.plan(engine.scheduler.begin())
    bad_step = 1 + next(index for index, rows in enumerate(plan.take(0, len(plan))[1]) if 17 in rows)
    with pytest.raises(TrainingError, match=rf"not finite at step {bad_step}:"):
        train(engine, Scores(1), 10)


def test_an_interruption_ends_the_run_one_chunk_after_it_was_told():
    engine = make_engine(Examples.from_arrays({"x": np.arange(40.0)}, batch_size=4), follow_x, steps_per_dispatch=3)
    answers = iter([False, True, False])
    state, position, chunks = train(engine, Scores(1), 10, interrupted=lambda: next(answers))
    assert int(state.step) == position.cursor == 9
    assert [chunk.step for chunk in chunks] == [3, 6, 9]


def test_nothing_is_trained_beyond_the_step_to_stop_at():
    engine = make_engine(Examples.from_arrays({"x": np.arange(40.0)}, batch_size=4), follow_x)
    state, position, chunks = train(engine, Scores(1), 0)
    assert (int(state.step), position.cursor, chunks) == (0, 0, [])


@pytest.mark.parametrize("devices", [3, 4])
def test_batches_that_cannot_be_shared_equally_are_refused(devices):
    examples = Examples.from_arrays({"x": np.arange(40.0)}, batch_size=10)
    with pytest.raises(OptionError, match=f"10 examples cannot be cut equally for {devices} devices"):
        make_engine(examples, follow_x, kind="pmap", devices=devices)
