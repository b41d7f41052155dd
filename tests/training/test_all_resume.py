"""Every weighting and every kind of negatives goes on from a checkpoint to the same bits."""

from importlib import resources
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from flax import nnx
from omegaconf import OmegaConf

from curriculum_rec.components import build
from curriculum_rec.curriculum.options import Curriculum
from curriculum_rec.curriculum.scheduler import Scheduler
from curriculum_rec.curriculum.state import CurriculumState
from curriculum_rec.models import DNN
from curriculum_rec.objectives import BinaryCrossEntropy, SampledSoftmax, Softmax
from curriculum_rec.objectives.losses import examples_for
from curriculum_rec.training.checkpoint import flatten, unflatten
from curriculum_rec.training.engine import Engine
from curriculum_rec.training.meta import hold_out_meta
from curriculum_rec.training.placement import Placement
from curriculum_rec.training.state import TrainState
from curriculum_rec.weighting.contract import with_facts

CONF = Path(str(resources.files("curriculum_rec.conf")))
WEIGHTINGS = sorted(
    path.stem for path in (CONF / "weighting").glob("*.yaml") if path.stem not in ("none", "oracle", "reducible")
)
NEGATIVES = sorted(path.stem for path in (CONF / "objective" / "negatives").glob("*.yaml"))
SMALL = {"cached_hard": {"size": 5, "every_steps": 3}, "hardest": {"schedule": "growing"}}


def component(group, name, **options):
    return build(OmegaConf.to_container(OmegaConf.load(CONF / group / f"{name}.yaml")) | options, group)


def assert_goes_on_alike(examples, objective, weighting):
    """Train eight steps at once, and four and four with a checkpoint between, by another engine."""
    examples, meta = hold_out_meta(examples, weighting, seed=0)
    examples = examples_for(objective, with_facts(examples, weighting))
    optimizer = optax.adam(0.01)

    def engine():
        scheduler, placed = Scheduler(Curriculum(), examples, 0, 10), Placement("jit").place()
        return Engine(objective, optimizer, scheduler, placed, 0, 4, weighting=weighting, meta=meta)

    def train(engine, state, position, stop_at):
        losses = []
        state, position = engine.train(
            engine.placed.place_state(state),
            position,
            stop_at=stop_at,
            on_chunk=lambda chunk: losses.append(chunk.loss),
        )
        return jax.tree.map(np.array, state), position, losses

    def fresh():
        model = DNN(width=8, depth=1)(n_items=40, max_length=12, rngs=nnx.Rngs(0))
        return TrainState.create(model, optimizer, weighting, objective=objective, item_counts=examples.item_counts)

    trainer = engine()
    whole, _, losses = train(trainer, fresh(), trainer.scheduler.begin(), 8)
    half, position, first = train(trainer, fresh(), trainer.scheduler.begin(), 4)
    restored = [unflatten(flatten(tree, "x"), "x", tree) for tree in (half.params, half.opt_state, half.memory)]
    state = TrainState(*restored[:2], half.step, half.structure, restored[2])
    end, _, second = train(engine(), state, CurriculumState.from_arrays(position.arrays()), 8)
    np.testing.assert_array_equal(np.concatenate(first + second), np.concatenate(losses))
    jax.tree.map(np.testing.assert_array_equal, end, whole)


@pytest.mark.slow
@pytest.mark.parametrize("name", WEIGHTINGS)
def test_every_weighting_goes_on_from_a_checkpoint(tiny_examples, name):
    assert_goes_on_alike(tiny_examples, Softmax(), component("weighting", name))


@pytest.mark.slow
@pytest.mark.parametrize("name", NEGATIVES)
def test_all_negatives_go_on_from_a_checkpoint(tiny_examples, name):
    negatives = component("objective/negatives", name, **SMALL.get(name, {}))
    objective = SampledSoftmax(16, negatives=negatives) if name == "in_batch" else BinaryCrossEntropy(2, negatives)
    assert_goes_on_alike(tiny_examples, objective, None)
