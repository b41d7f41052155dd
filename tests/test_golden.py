"""The resolved configurations of the shipped experiments: a change in them is a change of results, made on purpose.

After such a change: python tests/test_golden.py
"""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from curriculum_rec import config

GOLDEN = Path(__file__).parent / "golden"
EXPERIMENTS = Path(__file__).parents[1] / "experiments"
CASES = {
    "train": [],
    "quickstart": ["experiment=quickstart"],
    "beauty": [f"hydra.searchpath=['file://{EXPERIMENTS}']", "experiment=beauty", "data.path=sequences.txt"],
}


def resolved(name: str) -> str:
    config.register()
    with initialize_config_module("curriculum_rec.conf", version_base="1.3"):
        return config.config_text(config.to_data(compose("train", CASES[name])))


@pytest.mark.parametrize("name", CASES)
def test_the_resolved_configuration_is_the_golden_one(name):
    assert resolved(name) == (GOLDEN / f"{name}.yaml").read_text()


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for case in CASES:
        (GOLDEN / f"{case}.yaml").write_text(resolved(case))
