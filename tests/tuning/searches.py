"""Searches and a stand-in for training, for tests of what goes on around them."""

import math

from curriculum_rec.tuning.search import Kind, Search
from curriculum_rec.tuning.space import Space
from curriculum_rec.tuning.worker import Outcome

SPACE = {
    "optimizer.learning_rate": {"float": [1e-4, 1e-1], "log": True},
    "curriculum": {"choice": ["none", "length"]},
    "curriculum.pacing.start": {"float": [0.1, 0.5], "when": {"curriculum": "length"}},
    "model.depth": {"int": [1, 4]},
}
TPE = Kind("tpe", {"startup_trials": 3})
MEDIAN = Kind("median", {"startup_trials": 2, "warmup_evaluations": 1})
NONE = Kind("none")


def make_search(*, space=None, sampler=TPE, pruner=MEDIAN, n_trials=8, **others):
    """A search without a base."""
    return Search((), Space.parse(space or SPACE, "space"), sampler, pruner, n_trials=n_trials, **others)


def quality(words):
    """What a run comes to: best at a rate of 0.01, a little better with a curriculum and the deeper."""
    options = dict(word.split("=") for word in words)
    miss = math.log10(float(options["optimizer.learning_rate"])) + 2
    value = 1 - miss**2 / 4 + 0.01 * int(options["model.depth"]) + 0.05 * (options["curriculum"] == "length")
    return value + 0.01 * int(options.get("seed", 0))


def pretend(directory, words, watch, *, evaluations=4):
    """Train in no time: the curve rises to the quality."""
    curve = []
    for number in range(1, evaluations + 1):
        curve.append(quality(words) * number / evaluations)
        if watch is not None:
            watch(curve, number == evaluations)
    return Outcome(curve[-1], 2.0)
