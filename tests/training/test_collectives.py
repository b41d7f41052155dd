"""What the devices send each other and hold, counted from compiled programs: the formulas of docs/scaling.md."""

import re

import numpy as np
import pytest
from flax import nnx

from curriculum_rec.curriculum.options import Curriculum
from curriculum_rec.curriculum.scheduler import Scheduler
from curriculum_rec.data.examples import Examples
from curriculum_rec.evaluation.scoring import list_batches, rank_batches
from curriculum_rec.models import SASRec
from curriculum_rec.models.structure import split_model
from curriculum_rec.objectives import SampledSoftmax, Softmax
from curriculum_rec.training.engine import Engine
from curriculum_rec.training.optimizers import AdamW, TouchedRows
from curriculum_rec.training.placement import Placement
from curriculum_rec.training.state import TrainState, count_parameters

BATCH, LENGTH, WIDTH, N_ITEMS = 16, 12, 8, 1000
SOFTMAX, ADAM = Softmax(64), AdamW()


def collective_bytes(program):
    """Sum up what each kind of collective of a program gives, by the place in the code that it comes from."""
    found = {}
    for line in program.splitlines():
        match = re.search(r"= (.*?) (all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)\w*\(", line)
        if match:
            shapes = re.findall(r"[fsu]32\[([\d,]*)\]", match[1])
            size = sum(4 * int(np.prod([int(n) for n in shape.split(",") if n])) for shape in shapes)
            place = re.search(r'op_name="([^"]*)"', line)[1]
            kind = "optimizer psum" if "optimizer" in place and "psum" in place else place.rpartition("/")[2]
            kind = "softmax" if "softmax" in place else "embedding" if "embedding" in place else kind
            found[kind] = found.get(kind, 0) + size
    return found


def largest_array(program):
    """Give the numbers of the largest array that a program names."""
    return max(int(np.prod([int(n) for n in shape.split(",")])) for shape in re.findall(r"\w\[([\d,]+)\]", program))


@pytest.fixture(scope="module")
def program():
    rng = np.random.default_rng(0)
    arrays = {name: rng.integers(1, 41, (64, LENGTH)).astype(np.int32) for name in ("history", "target")}
    examples = Examples.from_arrays(arrays, batch_size=BATCH)

    def compiled(devices, table, objective=SOFTMAX, n_items=N_ITEMS, options=ADAM):
        placed, optimizer = Placement("shard_map", devices, table).place(), options(12)
        scheduler = Scheduler(Curriculum(), examples, seed=0, total_steps=12)
        engine = Engine(objective, optimizer, scheduler, placed, seed=0)
        model = SASRec(width=WIDTH, depth=1, feed_forward_factor=1)(
            n_items=n_items, max_length=LENGTH, rngs=nnx.Rngs(0)
        )
        state = placed.place_state(TrainState.create(model, optimizer))
        return engine.program_text(state, scheduler.begin()), state.params

    return compiled


@pytest.fixture(scope="module")
def count(program):
    def counted(devices, table):
        text, params = program(devices, table)
        return collective_bytes(text), count_parameters(params), params["items"]["embedding"].size

    return counted


@pytest.mark.parametrize("devices", [2, 4])
def test_sharing_the_batch_sends_every_parameter_once_a_step(count, devices):
    found, n_parameters, _ = count(devices, 1)
    assert found.pop("optimizer psum") == 4 * n_parameters + 12  # with the sums of losses, of weights, and what divides
    # Once a chunk of steps, in one exchange: the losses one by one, and each device's wish to stop.
    assert found == {"all_gather": 4 * (16 * BATCH + devices)}


def test_spreading_the_table_sends_its_rows_less_and_activations_more(count):
    found, n_parameters, n_table = count(4, 2)
    assert found["optimizer psum"] == 4 * (n_parameters - n_table + n_table // 2) + 8  # equal sums are sent once
    positions = BATCH // 2 * LENGTH
    # The history's vectors once; for each position the score's maximum and sum, the target's vector and score, and the
    # gradient. (The program holds two copies of the softmax, of which a step runs one, and is padded to whole chunks.)
    assert found["embedding"] + found["softmax"] <= 4 * positions * WIDTH + 2 * 4 * (positions + 64) * (2 * WIDTH + 3)
    assert found["embedding"] + found["softmax"] >= 4 * positions * WIDTH


def test_an_optimizer_of_touched_rows_gathers_what_was_looked_up(program):
    objective = SampledSoftmax(100, sharing="batch")
    found = collective_bytes(program(4, 1, objective, options=TouchedRows(ADAM))[0])
    looked_up = 2 * BATCH * LENGTH + 4 * 100  # histories, targets, and each device's copy of the negatives
    assert found["all_gather"] == 4 * looked_up * (WIDTH + 1) + 4 * (16 * BATCH + 4)
    assert found["optimizer psum"] < 4 * N_ITEMS * WIDTH


@pytest.mark.parametrize(("devices", "table"), [(4, 2), pytest.param(4, 4, marks=pytest.mark.slow)])
def test_blocks_of_items_leave_the_rows_of_a_spread_table_where_they_are(program, devices, table):
    text, params = program(devices, table, Softmax(64, item_chunk=2048), n_items=20_000)
    assert largest_array(text) == params["items"]["embedding"].size // table
    whole = program(devices, table, n_items=20_000)[0]
    assert collective_bytes(text) == collective_bytes(whole)  # however many blocks there are


@pytest.mark.parametrize(("devices", "table"), [(4, 2), (4, 4)])
def test_chunks_of_an_evaluation_leave_the_rows_of_a_spread_table_where_they_are(devices, table):
    placed = Placement("shard_map", devices, table).place()
    model = SASRec(width=WIDTH, depth=1)(n_items=20_000, max_length=LENGTH, rngs=nnx.Rngs(0))
    structure, params = split_model(model)
    shapes = {"history": (LENGTH,), "target": (), "user": (), "seen": (5,)}
    arrays = {name: placed.split(np.zeros((2, BATCH, *shape), np.int32), 1) for name, shape in shapes.items()}
    asked = structure, placed.place_state(params), arrays
    filled_up = 500 // table * WIDTH + params["items"]["embedding"].size // table
    for lowered in (rank_batches.lower(*asked, 500), list_batches.lower(*asked, 10, 500)):
        assert largest_array(lowered.compile().as_text()) < filled_up  # a shard, in whole chunks
