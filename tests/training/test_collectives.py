"""What the devices send each other, counted from compiled programs: the formulas of docs/scaling.md."""

import re

import numpy as np
import pytest
from flax import nnx

from curriculum_rec.curriculum.options import Curriculum
from curriculum_rec.curriculum.scheduler import Scheduler
from curriculum_rec.data.examples import Examples
from curriculum_rec.models import SASRec
from curriculum_rec.objectives import Softmax
from curriculum_rec.training.engine import Engine
from curriculum_rec.training.optimizers import AdamW
from curriculum_rec.training.placement import Placement
from curriculum_rec.training.state import TrainState, count_parameters

BATCH, LENGTH, WIDTH, N_ITEMS = 16, 12, 8, 1000


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


@pytest.fixture(scope="module")
def count():
    rng = np.random.default_rng(0)
    arrays = {name: rng.integers(1, 41, (64, LENGTH)).astype(np.int32) for name in ("history", "target")}
    examples = Examples.from_arrays(arrays, batch_size=BATCH)

    def compiled(devices, table):
        placed, optimizer = Placement("shard_map", devices, table).place(), AdamW()(12)
        scheduler = Scheduler(Curriculum(), examples, seed=0, total_steps=12)
        engine = Engine(Softmax(64), optimizer, scheduler, placed, seed=0)
        model = SASRec(width=WIDTH, depth=1, feed_forward_factor=1)(
            n_items=N_ITEMS, max_length=LENGTH, rngs=nnx.Rngs(0)
        )
        state = placed.place_state(TrainState.create(model, optimizer))
        n_table = state.params["items"]["embedding"].size
        return collective_bytes(engine.program_text(state, scheduler.begin())), count_parameters(state.params), n_table

    return compiled


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
