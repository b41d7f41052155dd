import os
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import cache

import jax
import numpy as np
import pytest
from flax import nnx

from curriculum_rec.curriculum.difficulty import Popularity
from curriculum_rec.curriculum.options import Curriculum
from curriculum_rec.curriculum.pacing import Linear
from curriculum_rec.curriculum.scheduler import Scheduler
from curriculum_rec.errors import OptionError
from curriculum_rec.models import SASRec
from curriculum_rec.negatives import CachedHard, Hardest, InBatch
from curriculum_rec.objectives import BinaryCrossEntropy, SampledSoftmax, Softmax
from curriculum_rec.training.engine import Engine
from curriculum_rec.training.optimizers import AdamW
from curriculum_rec.training.placement import Placement, compiler_options
from curriculum_rec.training.state import TrainState
from curriculum_rec.weighting import SuperLoss, Truncated

STEPS = 12
SOFTMAX = Softmax(chunk=16)
OTHERS = [("pmap", 2, 1), ("pmap", 4, 1), ("shard_map", 4, 1), ("shard_map", 4, 2)]
OTHERS += [
    pytest.param(*other, marks=pytest.mark.slow)
    for other in [("pmap", 1, 1), ("shard_map", 1, 1), ("shard_map", 2, 1), ("shard_map", 2, 2), ("shard_map", 4, 4)]
]


@dataclass(frozen=True)
class WatchedPopularity(Popularity):
    """Needs the losses to be reported, but does not order by them: a rounding error cannot change the batches."""

    decay: float = 0.5


CURRICULUM = Curriculum(WatchedPopularity(), pacing=Linear(start=0.3, full_at=2.0), order="curriculum", unit="target")


@dataclass(frozen=True)
class Run:
    """What a run leaves, on the host."""

    chunks: list
    losses: np.ndarray
    running: object
    params: dict
    memory: dict
    traces: int


@pytest.fixture(scope="module")
def run(tiny_examples):
    """Trains the same run on given devices, with dropout, masked targets, three buckets and batches not full."""

    @cache
    def train(kind, devices, table=1, objective=SOFTMAX, examples="device", weighting=None, **engine_options):
        placed = Placement(kind, devices, table, examples).place()
        tx = AdamW(learning_rate=1e-2, eps=1e-4, clip_norm=1.0)(STEPS)
        scheduler = Scheduler(CURRICULUM, tiny_examples, seed=5, total_steps=STEPS)
        engine = Engine(
            objective, tx, scheduler, placed, seed=5, steps_per_dispatch=5, weighting=weighting, **engine_options
        )
        options = SASRec(width=8, depth=1, dropout=0.3, feed_forward_factor=1)
        model = options(n_items=40, max_length=12, rngs=nnx.Rngs(0))
        state = TrainState.create(model, tx, weighting, objective=objective)
        chunks = []
        state, position = engine.train(
            placed.place_state(state), scheduler.begin(), stop_at=STEPS, on_chunk=chunks.append
        )
        assert {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(state)} == {devices}
        tables = [state.params["items"]["embedding"], state.opt_state[1].mu["items"]["embedding"]]
        assert {leaf.addressable_shards[0].data.shape for leaf in tables} == {(128 // table, 8)}
        losses = np.concatenate([chunk.loss for chunk in chunks])
        memory = jax.tree.map(np.asarray, state.memory)
        return Run(chunks, losses, position.losses, jax.tree.map(np.asarray, state.params), memory, engine.traces)

    return train


def assert_same_run(got, expected, *, atol=1e-5):
    for mine, reference in zip(got.chunks, expected.chunks, strict=True):
        np.testing.assert_array_equal(mine.draw.rows, reference.draw.rows)
        np.testing.assert_array_equal(mine.draw.bucket, reference.draw.bucket)
        assert (mine.step, mine.epoch, mine.positions) == (reference.step, reference.epoch, reference.positions)
        np.testing.assert_allclose(mine.gradient_norm, reference.gradient_norm, rtol=100 * atol)
    np.testing.assert_allclose(got.losses, expected.losses, rtol=0, atol=atol)
    np.testing.assert_array_equal(got.running.seen, expected.running.seen)
    np.testing.assert_allclose(got.running.mean, expected.running.mean, rtol=1e-5, atol=atol)
    for mine, reference in ((got.params, expected.params), (got.memory, expected.memory)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=atol), mine, reference)


@pytest.mark.parametrize(("kind", "devices", "table"), OTHERS)
def test_one_seed_gives_one_run_on_any_number_of_devices(run, kind, devices, table):
    got, expected = run(kind, devices, table), run("jit", 1)
    assert_same_run(got, expected)
    assert got.traces == expected.traces == 1


@pytest.mark.parametrize("devices", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_blocks_of_items_of_a_spread_table_train_the_same_run(run, devices):
    got = run("shard_map", devices, 2, Softmax(chunk=16, item_chunk=24))
    assert_same_run(got, run("jit", 1))
    assert got.traces == 1


@pytest.mark.parametrize(
    ("kind", "devices", "table"),
    [
        pytest.param("jit", 1, 1, marks=pytest.mark.slow),
        pytest.param("pmap", 4, 1, marks=pytest.mark.slow),
        ("shard_map", 4, 2),
    ],
)
def test_examples_sent_by_the_host_train_the_same_run(run, kind, devices, table):
    got = run(kind, devices, table, examples="host")
    assert_same_run(got, run("jit", 1))
    assert got.traces == 1


@pytest.mark.parametrize(
    "weighting",
    [pytest.param(SuperLoss(), marks=pytest.mark.slow), Truncated(full_at=0.1, normalise="weight")],
    ids=["super loss", "truncated"],
)
@pytest.mark.parametrize(
    ("kind", "devices", "table"), [("pmap", 4, 1), pytest.param("shard_map", 4, 2, marks=pytest.mark.slow)]
)
def test_weights_do_not_depend_on_the_devices(run, kind, devices, table, weighting):
    expected = run("jit", 1, weighting=weighting)
    assert_same_run(run(kind, devices, table, weighting=weighting), expected)
    assert expected.chunks[-1].metrics["weight"] != pytest.approx(1, abs=1e-3)
    assert np.abs(expected.losses - run("jit", 1).losses).max() > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["in batch", "growing"])
def test_negatives_are_those_of_the_whole_batch_however_it_is_accumulated(run, objective):
    # What is hardest is decided by the order of scores, where the last digit counts.
    objective, atol = {"in batch": (IN_BATCH, 1e-5), "growing": (GROWING, 1e-4)}[objective]
    assert_same_run(run("jit", 1, objective=objective, accumulate=2), run("jit", 1, objective=objective), atol=atol)


@pytest.mark.slow
def test_weights_are_those_of_the_whole_batch_however_it_is_accumulated(run):
    weighting = Truncated(full_at=0.1)
    assert_same_run(run("jit", 1, weighting=weighting, accumulate=2), run("jit", 1, weighting=weighting))


@pytest.mark.slow
def test_eight_devices_train_the_same_run():
    options = "['-n', '0', '-p', 'no:cacheprovider', '-k', 'eight_of', sys.argv[1]]"
    code = f"import pytest, sys; sys.exit(pytest.main({options}))"
    variables = os.environ | {"CURRICULUM_REC_TEST_DEVICES": "8"}
    subprocess.run([sys.executable, "-c", code, __file__], env=variables, check=True)


@pytest.mark.skipif(len(jax.devices()) < 8, reason="run by test_eight_devices_train_the_same_run")
@pytest.mark.parametrize(("kind", "table"), [("pmap", 1), ("shard_map", 1), ("shard_map", 2), ("shard_map", 8)])
def test_eight_of_one_seed(run, kind, table):
    assert_same_run(run(kind, 8, table), run("jit", 1))


IN_BATCH = SampledSoftmax(16, correct=True, negatives=InBatch(decay=0.9))
CACHED = BinaryCrossEntropy(2, negatives=CachedHard(size=8, every_steps=5, rate_start=0.5))
GROWING = BinaryCrossEntropy(negatives=Hardest(candidates=8, schedule="growing"))


@pytest.mark.slow
@pytest.mark.parametrize("objective", [IN_BATCH, CACHED], ids=["in batch", "cached"])
def test_what_negatives_remember_does_not_depend_on_the_devices(run, objective):
    expected = run("jit", 1, objective=objective)
    # What is hard is decided by the order of scores, where the last digit counts.
    assert_same_run(run("pmap", 4, objective=objective), expected, atol=1e-3)
    assert expected.traces == 1
    remembered = expected.memory["objective"]
    assert all(np.count_nonzero(array) for array in remembered.values())


@pytest.mark.slow
@pytest.mark.parametrize("objective", [SampledSoftmax(16), BinaryCrossEntropy(2), IN_BATCH, CACHED, GROWING], ids=str)
def test_negatives_do_not_depend_on_the_devices(run, objective):
    for kind, *devices in (("pmap", 4), ("shard_map", 4, 2)):
        assert_same_run(run(kind, *devices, objective=objective), run("jit", 1, objective=objective), atol=1e-3)


@pytest.mark.parametrize(("kind", "devices"), [("jit", 1), ("pmap", 2)])
def test_accumulation_changes_memory_and_not_the_run(run, kind, devices):
    assert_same_run(run(kind, devices, accumulate=4), run("jit", 1))


def test_bfloat16_trains_float32_parameters_to_a_similar_loss(run):
    half, single = run("jit", 1, precision="bfloat16"), run("jit", 1)
    assert {leaf.dtype for leaf in jax.tree.leaves(half.params)} == {np.dtype(np.float32)}
    np.testing.assert_allclose(half.losses, single.losses, rtol=0.03)
    assert not np.allclose(half.losses, single.losses, rtol=1e-5)


def test_the_run_compared_is_no_trivial_one(run, tiny_examples):
    reference = run("jit", 1)
    buckets = {int(bucket) for chunk in reference.chunks for bucket in chunk.draw.bucket}
    assert buckets == {0, 1, 2}
    assert any((chunk.draw.rows[:, -1] < 0).any() for chunk in reference.chunks)
    assert reference.running.seen.any()
    assert not reference.running.seen.all()
    assert len(reference.chunks) > 2
    assert all(bucket.batch_size % 4 == 0 for bucket in tiny_examples.buckets)


@pytest.mark.parametrize(
    ("placement", "kind", "devices"),
    [
        (Placement(), "pmap", 4),
        (Placement(devices=1), "jit", 1),
        (Placement("jit"), "jit", 1),
        (Placement("pmap"), "pmap", 4),
        (Placement("shard_map", 2), "shard_map", 2),
        (Placement(table=2), "shard_map", 4),
    ],
)
def test_how_a_placement_is_decided(placement, kind, devices):
    placed = placement.place()
    assert (placed.kind, placed.n_devices) == (kind, devices)
    assert placed.axis_name == (None if kind == "jit" else "data")


def test_split_cuts_one_axis_and_replicate_none():
    placed = Placement("shard_map", 4).place()
    array = np.arange(24).reshape(2, 12)
    np.testing.assert_array_equal(placed.split(array, axis=1), array)
    assert {shard.data.shape for shard in placed.split(array, axis=1).addressable_shards} == {(2, 3)}
    assert {shard.data.shape for shard in placed.replicate(array).addressable_shards} == {(2, 12)}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Placement("tpu"), "kind=tpu"),
        (lambda: Placement(devices=0), "devices=0"),
        (lambda: Placement("jit", 2), "devices=2 with kind=jit"),
        (lambda: Placement("pmap", 5).place(), "there are 4"),
        (lambda: Placement(table=3), "table=3"),
        (lambda: Placement(examples="disk"), "examples=disk"),
        (lambda: Placement("pmap", 4, table=2), "only shard_map"),
        (lambda: Placement(devices=3, table=2).place(), "does not divide the 3"),
        (lambda: replace(Placement("jit"), devices=-1), "devices=-1"),
        (
            lambda: Placement(devices=2, table=2).place().place_state({"own": np.zeros((4, 4))}),
            "no parameter items.embed",
        ),
    ],
)
def test_impossible_placements_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()


def test_a_gpu_gets_a_chunk_as_one_graph_unless_the_person_says_otherwise(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_autotune_level=0")
    options = compiler_options("gpu")
    assert {"WHILE", "CONDITIONAL"} <= set(options["xla_gpu_enable_command_buffer"].split(","))
    assert jax.jit(lambda x: x + 1, compiler_options=options)(1) == 2  # XLA knows the option and all its values
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_enable_command_buffer=")
    assert compiler_options("gpu") is None


def test_other_accelerators_get_no_options_of_the_processor():
    assert compiler_options("tpu") is None
