"""Completion: what is offered where, how quickly, and in real shells."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from curriculum_rec.cli import main
from curriculum_rec.completion import CONF, VALUES, complete
from curriculum_rec.completion_scripts import SCRIPTS
from curriculum_rec.help_texts import COMMANDS

PROGRAM = f"{sys.executable} -m curriculum_rec"


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    for run in ("runs/first", "runs/sweep/0", "other/run"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "config.yaml").touch()
    own = tmp_path / "experiments" / "experiment"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("# @package _global_\ndefaults:\n  - override /model: dnn\n")
    monkeypatch.chdir(tmp_path)


def test_commands_come_first():
    assert complete([""]) == sorted(COMMANDS)
    assert complete(["res"]) == ["resume"]
    assert complete(["completion", ""]) == ["bash", "fish", "zsh"]


@pytest.mark.parametrize("group", ["data", "model", "curriculum", "curriculum/pacing", "growth/map", "tracking"])
def test_every_choice_of_a_group_is_offered(group):
    expected = sorted(f"{group}={file.stem}" for file in (CONF / group).glob("*.yaml"))
    assert len(expected) >= 2
    assert complete(["train", f"{group}="]) == expected


def test_a_list_goes_on_after_its_comma_without_what_it_has():
    assert complete(["train", "tracking=[mlflow,t"]) == [
        "tracking=[mlflow,tensorboard",
        "tracking=[mlflow,trackio",
    ]
    assert complete(["train", "tracking=[mlflow,ml"]) == []


def test_own_experiments_join_and_their_choices_decide_which_options_there_are():
    places = [Path("experiments")]
    assert complete(["train", "experiment=m"], places) == ["experiment=mine"]
    assert "model.n_heads=" in complete(["train", "model."], places)
    assert "model.n_heads=" not in complete(["train", "experiment=mine", "model."], places)
    assert "model.n_heads=" in complete(["train", "experiment=mine", "model=sasrec", "model."], places)


def test_a_study_is_one_of_the_files_and_a_report_is_of_a_folder():
    studies = Path("experiments/studies")
    studies.mkdir()
    (studies / "mine.yaml").touch()
    assert complete(["study", "study="], [Path("experiments")]) == ["study=mine"]
    assert complete(["report", "study=r"], [Path("experiments")]) == ["study=runs/"]


def test_options_inside_a_choice_are_those_of_what_it_builds_upon():
    found = complete(["train", "curriculum=transfer_teacher", "curriculum.difficulty."])
    assert "curriculum.difficulty.epochs=" in found
    assert "curriculum.pacing.start=" in complete(["train", "curriculum=length", "curriculum.pacing."])


def test_a_stage_part_is_completed_wherever_it_goes():
    assert "stages/until@stages.train.until=plateau" in complete(["train", "stages/until@stages.train.until="])


def test_run_directories():
    assert complete(["evaluate", "run="]) == ["run=runs/first", "run=runs/sweep/0"]
    assert complete(["evaluate", "run=runs/s"]) == ["run=runs/sweep/"]
    assert complete(["evaluate", "run=runs/sweep/"]) == ["run=runs/sweep/0"]
    assert complete(["compare", "runs=[runs/first,o"]) == ["runs=[runs/first,other/"]
    assert complete(["list", "o"]) == ["other/", "output="]
    assert complete(["show", "r"]) == ["run="]


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "completion"])
def test_every_command_offers_its_options(command):
    offered = {name.partition("=")[0] for name in complete([command, ""])}
    told = re.findall(r"^  (\w+)=", COMMANDS[command].partition("options:")[2], re.MULTILINE)
    assert set(told) <= offered


def test_known_values_are_those_of_the_options():
    for name, values in VALUES.items():
        text = "".join(COMMANDS.values()) + "".join(file.read_text() for file in CONF.rglob("*.yaml"))
        assert name.rpartition(".")[2] in text
        assert all(value in text for value in values), name


def test_the_program_answers_without_loading_anything_heavy():
    heavy = "{'jax', 'hydra', 'numpy', 'polars', 'rich'} & set(sys.modules)"
    ask = "from curriculum_rec.cli import main; main(['__complete', 'train', 'mod'])"
    code = f"import sys; {ask}; sys.exit(bool({heavy}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    groups = {"model.", "model/block=", "model/drop=", "model/item_table=", "model="}
    assert (result.returncode, set(result.stdout.split())) == (0, groups)
    began = time.process_time()
    complete(["train", "curriculum=length", "curriculum."])
    assert time.process_time() - began < 0.3


def bash(line: str) -> list[str]:
    """Press Tab at the end of a line in bash, and give what the last word can become there."""
    script = f"""
eval "$({PROGRAM} completion bash)"
curriculum-rec() {{ {PROGRAM} "$@"; }}
COMP_LINE="$1"; COMP_POINT=${{#1}}; COMP_WORDS=(curriculum-rec)
_curriculum_rec
printf '%s\\n' "${{COMPREPLY[@]}}"
complete -p curriculum-rec >&2
"""
    result = subprocess.run(["bash", "-c", script, "bash", line], capture_output=True, text=True, check=True)
    assert "-F _curriculum_rec" in result.stderr
    return result.stdout.split()


def test_bash_completes_words_and_what_follows_its_word_breaks():
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    assert bash("curriculum-rec comp") == ["compare", "completion", "compress"]
    assert bash("curriculum-rec train data=sequences curriculum/pacing=lin") == ["linear"]
    assert bash("curriculum-rec show run=runs/f") == ["runs/first"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_good_in_their_shells(shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    flag = "--no-execute" if shell == "fish" else "-n"
    result = subprocess.run([shell, flag], input=SCRIPTS[shell], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_completion_prints_a_script_or_names_the_shells(capsys):
    assert main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out == SCRIPTS["zsh"]
    assert main(["completion", "csh"]) == 2
    assert "bash, zsh, fish" in capsys.readouterr().err


def test_metrics_are_those_that_there_are():
    from typing import get_args

    from curriculum_rec.evaluation.classes import ClassMetric
    from curriculum_rec.evaluation.metric_names import ALL

    assert set(VALUES["metrics"]) == {*ALL, *get_args(ClassMetric)}
    assert complete(["evaluate", "metrics=[hr,cov"]) == ["metrics=[hr,coverage"]
    assert complete(["train", "evaluation.metrics=[gi"]) == ["evaluation.metrics=[gini"]
    assert "runs=" in complete(["evaluate", "ru"])
