"""Whatever a configuration can choose of a curriculum goes on after a checkpoint as if there had been none."""

from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from curriculum_rec.components import build
from curriculum_rec.curriculum.difficulty import Length, Loss, Popularity
from curriculum_rec.curriculum.options import Curriculum
from curriculum_rec.curriculum.pacing import Constant, Linear
from curriculum_rec.curriculum.sampling import Prefix
from curriculum_rec.curriculum.scheduler import Scheduler
from curriculum_rec.curriculum.state import CurriculumState
from curriculum_rec.curriculum.taught import Taught

CONF = Path(str(resources.files("curriculum_rec.conf"))) / "curriculum"
TOTAL = 60


def named(group):
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def component(group, name, **options):
    node = OmegaConf.to_container(OmegaConf.load(CONF / group / f"{name}.yaml"))
    node = {key: value for key, value in node.items() if key != "defaults"} | options
    return build(node, group)


def sampler(name):
    options = {
        "mixture": {"weights": {"a": 1.0, "b": 3.0}},
        "taught": {"arms": 4, "held_out": 2, "every": 3},
        "importance_corrected": {},
        "dynamic_hardness": {"warm_up": 0.1},
    }.get(name, {})
    if name not in ("taught", "importance_corrected"):
        options |= {"min_examples": 4}
    return component("sampler", name, **options)


def curricula():
    few = Prefix(min_examples=4)
    for name in named("pacing"):
        yield f"pacing={name}", Curriculum(Popularity(), component("pacing", name), few, "curriculum")
    for name in named("sampler"):
        pacing = Constant() if name == "taught" else Linear(start=0.3)
        yield f"sampler={name}", Curriculum(Popularity(), pacing, sampler(name), "curriculum")
    for name in named("sampler/teacher"):
        taught = Taught(component("sampler/teacher", name), arms=4, held_out=2, every=3)
        yield f"teacher={name}", Curriculum(Length(), Constant(), taught, "curriculum")
    for name in ("cut", "split"):
        history = component("history", name, start=4)
        yield f"history={name}", Curriculum(Loss(), Linear(), few, "anti", history=history)
    for refresh in ("pass", "epoch", "step"):
        for unit in ("sequence", "target"):
            yield f"{refresh}, {unit}", Curriculum(Loss(), Linear(), few, "curriculum", unit, refresh)


def go_on(scheduler, state, *, step, until):
    """Draw, feed losses and scores that depend on the step alone back, and give every draw and the state after it."""
    history = []
    while step < until:
        rng = np.random.default_rng(step)
        if scheduler.epoch_ended(state, step=step):
            state = scheduler.looked(state, rng.random(4))
        draw, state = scheduler.draw(state, step=step, at_most=3)
        shape = draw.rows.shape if scheduler.curriculum.ordered_unit == "sequence" else (*draw.rows.shape, 12)
        scheduler.observe(state, draw, rng.random(shape).astype(np.float32))
        step += len(draw)
        if step % 4 == 0:
            state = scheduler.evaluated(state, float(rng.random()))
        history.append((step, draw, CurriculumState.from_arrays({k: v.copy() for k, v in state.arrays().items()})))
    return history


CURRICULA = dict(curricula())


@pytest.mark.parametrize("name", CURRICULA)
def test_every_choice_goes_on_from_a_checkpoint(tiny_examples, name):
    source = (np.arange(len(tiny_examples)) % 3 == 0).astype(np.int64)
    examples = replace(tiny_examples, source=source, source_names=("a", "b"))

    def fresh():
        return Scheduler(CURRICULA[name], examples, 3, TOTAL)

    whole = go_on(fresh(), fresh().begin(), step=0, until=TOTAL)
    for number in (2, len(whole) // 3, 2 * len(whole) // 3):
        step, _, state = whole[number]
        rest = go_on(fresh(), state, step=step, until=TOTAL)
        assert len(rest) == len(whole) - number - 1
        for (_, expected, after), (_, got, again) in zip(whole[number + 1 :], rest, strict=True):
            np.testing.assert_array_equal(got.rows, expected.rows)
            np.testing.assert_array_equal(got.bucket, expected.bucket)
            assert (got.weight is None) == (expected.weight is None)
            if expected.weight is not None:
                np.testing.assert_array_equal(got.weight, expected.weight)
            assert (got.share, got.available, got.length) == (expected.share, expected.available, expected.length)
            for key, array in after.arrays().items():
                np.testing.assert_array_equal(again.arrays()[key], array, err_msg=key)
