"""A run's configuration in words (host)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def describe(config: Mapping[str, Any]) -> str:
    """Say in a line what the model, the curriculum and the weighting of a configuration are."""
    curriculum = config["curriculum"]
    parts = [kind(config["model"])]
    if curriculum["order"] == "standard":
        parts.append("no curriculum")
    else:
        parts += [kind(curriculum["difficulty"]), f"{kind(curriculum['pacing'])} pacing"]
        parts += [f"{kind(curriculum['sampler'])} sampler", f"order {curriculum['order']}"]
        parts.append(f"unit {curriculum['unit']}")
    if config.get("weighting"):
        parts.append(f"{kind(config['weighting'])} weighting")
    return ", ".join(parts)


def kind(node: Mapping[str, Any]) -> str:
    """Name the class of a component.

    >>> kind({"_target_": "curriculum_rec.models.SASRec", "width": 64})
    'SASRec'
    """
    return str(node["_target_"]).rpartition(".")[2]
