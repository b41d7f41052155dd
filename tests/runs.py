"""A tiny experiment, composed as the command line composes it, for tests of whole runs."""

import json
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_module

from curriculum_rec import config
from curriculum_rec.cli import main
from curriculum_rec.files import write_text
from curriculum_rec.training.run_directory import RunDirectory
from curriculum_rec.training.runner import Runner

OVERRIDES = [
    "data=sequences",
    "examples.max_length=12",
    "examples.bucket_lengths=[6]",
    "examples.positions_per_batch=96",
    "model.width=8",
    "objective=sampled_softmax",
    "objective.n_negatives=8",
    "growth=interleave",
    "stages=grow_2_4",
    "stages.shallow.depth=1",
    "stages.deep.depth=2",
    "evaluation.k=[5,10]",
    "progress=none",
    "steps_per_dispatch=4",
]

CHEAP = [
    "data=sequences",
    "examples.max_length=12",
    "examples.bucket_lengths=[]",
    "model=dnn",
    "model.width=8",
    "objective=sampled_softmax",
    "objective.n_negatives=8",
    "optimizer.learning_rate=0.01",
    "evaluation.k=[10]",
    "evaluation.filter_seen=false",
]
"""One small program, for tests of what goes on around many runs."""


def write_sequences(path: Path, *, n_users: int = 60, n_items: int = 30, seed: int = 0) -> Path:
    """Write histories in which an item's successor is predictable, 5 to 16 items each."""
    rng = np.random.default_rng(seed)
    lines = []
    for user in range(n_users):
        length = int(rng.integers(5, 17))
        first, stride = int(rng.integers(n_items)), int(rng.integers(1, 3))
        items = [(first + stride * i) % n_items for i in range(length)]
        lines.append(" ".join(map(str, [f"u{user}", *(f"i{item}" for item in items)])))
    path.write_text("\n".join(lines) + "\n")
    return path


def run_in(folder: Path, *words: str) -> None:
    """Call the program once in a folder with data, for a fixture that serves a whole module."""
    write_sequences(folder / "sequences.txt")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(warnings, "showwarning", warnings.showwarning)  # the program sets its own
        assert main(list(words)) == 0


def compose_data(folder: Path, *overrides: str, base: Sequence[str] = OVERRIDES) -> dict:
    """Compose and resolve a configuration of the tiny experiment, or of another one by ``base``."""
    path = folder / "sequences.txt"
    if not path.exists():
        write_sequences(path)
    config.register()
    with initialize_config_module("curriculum_rec.conf", version_base="1.3"):
        words = [*base, f"data.path={path}", *overrides]
        return config.to_data(compose("train", words))


def make_runner(folder: Path, name: str, *overrides: str, base: Sequence[str] = OVERRIDES) -> Runner:
    """Make a runner in a directory of its own; call it again to go on with the same run."""
    data = compose_data(folder, *overrides, base=base)
    experiment = config.build_experiment(data, trusted=())
    directory = RunDirectory(folder / name)
    if not directory.config.exists():
        directory.create("refuse")
        write_text(directory.config, config.config_text(data))
        directory.unlock()
    opened = partial(config.experiment_of_run, trusted=())
    return Runner(
        experiment,
        experiment.read(),
        directory,
        config.config_hash(data),
        progress="none",
        open_run=lambda other: opened(other)[0],
    )


def lasting_rows(path: Path) -> list[str]:
    """Give the rows of metrics.jsonl that must not depend on the machine's speed."""
    return [line for line in path.read_text().splitlines() if json.loads(line)["event"] != "speed"]
