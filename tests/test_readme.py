"""The README's code runs as it stands, and its commands exist."""

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from curriculum_rec import config
from curriculum_rec.help_texts import COMMANDS

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_python_code_runs():
    namespace = {}
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "README.md", "exec"), namespace)
    assert int(namespace["state"].step) == 10


@pytest.mark.parametrize("line", re.findall(r"^curriculum-rec (train .*?)(?:\s{2,}#.*)?$", README, flags=re.MULTILINE))
def test_the_train_commands_compose(line):
    words = [word for word in shlex.split(line)[1:] if word not in ("-m", "curriculum.controls=all")]
    choices = [word.partition(",")[0] if "=" in word and "[" not in word else word for word in words]
    config.register()
    with initialize_config_module("curriculum_rec.conf", version_base="1.3"):
        data = config.to_data(compose("train", [word for word in choices if not word.startswith("experiment=beauty")]))
    config.build_experiment(data, trusted=())


def test_every_command_is_explained():
    for command in COMMANDS:
        assert f"curriculum-rec {command}" in README
