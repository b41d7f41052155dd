"""The two worked cases run as their page says, on less data."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from curriculum_rec.cli import main

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
README = (EXPERIMENTS / "seed_cases" / "README.md").read_text()
PLACE = f"hydra.searchpath=['file://{EXPERIMENTS}']"
QUIET = ["placement=jit", "progress=none", "compilation_cache=null"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    (folder / "data").mkdir()
    sys.path.insert(0, str(EXPERIMENTS / "seed_cases"))
    import make_data

    sys.path.pop(0)
    for case in make_data.CASES:
        make_data.write_case(case, folder / "data", 600)
    return folder


def commands():
    """The commands of the page, each as words."""
    joined = README.replace("\\\n", " ")
    return [line.split()[1:] for line in re.findall(r"^curriculum-rec train .*$", joined, flags=re.MULTILINE)]


def test_the_page_has_a_command_for_each_case():
    assert [words[1] for words in commands()] == [
        "experiment=transformer_ten_classes",
        "experiment=transformer_ten_classes",
        "experiment=ten_classes",
    ]


def test_fifty_numbers_by_layers(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert main([*commands()[2], PLACE, *QUIET, "run_dir=narrow"]) == 0
    found = json.loads(Path("narrow/summary.json").read_text())
    assert found["parameters"] == 51 * 128 + 129 * 64 + 65 * 10 == 15_434
    assert "15,434" in README
    assert found["test"]["accuracy"] > 0.6 > 0.3 > found["reference"]["accuracy"]


def test_a_hundred_numbers_by_a_transformer(folder, monkeypatch):
    monkeypatch.chdir(folder)
    smaller = [
        "model.width=16",
        "model.feed_forward_factor=1",
        "stages.train.epochs=15",
        "optimizer.learning_rate=0.01",
    ]
    assert main([*commands()[0], PLACE, *QUIET, *smaller, "run_dir=wide"]) == 0
    found = json.loads(Path("wide/summary.json").read_text())
    assert found["stages"][0]["depth"] == 2
    assert found["test"]["accuracy"] > 0.4 > 0.3 > found["reference"]["accuracy"]


def test_the_python_code_runs(folder, monkeypatch):
    monkeypatch.chdir(folder)
    ours = [block for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL) if "keras" not in block]
    assert len(ours) == 1
    namespace = {}
    exec(compile(ours[0], "README.md", "exec"), namespace)
    losses = namespace["result"].loss
    assert len(losses) == 10 * 19
    assert losses[-19:].mean() < 0.5 * losses[:19].mean()


def test_the_other_column_is_python_too():
    """It is text here; a slip in it would still be one."""
    blocks = [block for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL) if "keras" in block]
    assert len(blocks) == 2
    for block in blocks:
        compile(block, "README.md", "exec")


def test_the_data_are_the_same_for_a_seed(folder):
    labels = np.load(folder / "data" / "wide_labels.npy")
    assert len(np.unique(labels)) == 10
    assert np.load(folder / "data" / "narrow_data.npy").shape == (600, 50)
