"""The best trial as an experiment of its own (host): a YAML file that composes under ``experiment=NAME``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from curriculum_rec.errors import OptionError
from curriculum_rec.training.run_directory import RunDirectory

PLACE = ("run_dir", "on_existing", "progress", "compilation_cache", "score_cache", "trusted_packages")
"""What says nothing about an experiment."""


def experiment_text(
    data: Mapping[str, Any], plain: Mapping[str, Any], choices: Mapping[str, str], comment: Sequence[str]
) -> str:
    """Write a configuration as an experiment: its choices, and the values in which it differs from them.

    Args:
        data: The configuration, resolved.
        plain: What the choices alone compose to.
        choices: The choice in every group.
        comment: Lines that say where it comes from.

    Raises:
        OptionError: The configuration lacks something that its choices have, which no experiment can say.
    """
    content = {
        "defaults": [{f"override /{group}": choice} for group, choice in choices.items() if group != "experiment"],
        **difference({name: value for name, value in data.items() if name not in PLACE}, plain),
    }
    head = "".join(f"# {line}\n" if line else "#\n" for line in comment)
    return f"# @package _global_\n{head}{yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)}"


def difference(data: Mapping[str, Any], plain: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """Give what has to be merged into plain data so that they become other data.

    Args:
        data: What they shall become.
        plain: What they are.
        place: Where both stand, for the sentence.

    Raises:
        OptionError: Something would have to go.

    >>> difference({"a": 1, "b": {"c": 2, "d": [3]}}, {"a": 1, "b": {"c": 0, "d": [3]}})
    {'b': {'c': 2}}
    >>> difference({"epochs": 1.0}, {"epochs": 1})
    {'epochs': 1.0}
    """
    gone = [name for name in plain if place and name not in data]
    if gone:
        raise OptionError(f"{place}{gone[0]} was taken out, which no experiment file can say")
    found: dict[str, Any] = {}
    for name, value in data.items():
        if isinstance(value, Mapping) and isinstance(plain.get(name), Mapping):
            if inner := difference(value, plain[name], f"{place}{name}."):
                found[name] = inner
        elif name not in plain or json.dumps(plain[name]) != json.dumps(value):  # 1 and 1.0 are two configurations
            found[name] = value
    return found


def mean_metrics_of(directories: Sequence[RunDirectory]) -> dict[str, dict[str, float]]:
    """Give means over a trial's runs of what their summaries say: validation, test, and MostPop's on the test part."""
    summaries = [directory.read_summary() for directory in directories]
    return {
        part: {
            name: sum(each[part][name] for each in summaries) / len(summaries)
            for name, value in summaries[0][part].items()
            if isinstance(value, float)
        }
        for part in ("validation", "test", "reference")
    }
