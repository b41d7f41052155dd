"""A configuration as one text an option (host), for those that compare or list options."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any


def flat(config: Mapping[str, Any], *, without: Collection[str] = (), prefix: str = "") -> dict[str, str]:
    """Write a configuration as one text an option, under dotted names.

    Args:
        config: Plain data.
        without: Options at its top that are left out.
        prefix: Stands before every name.

    >>> flat({"seed": 0, "model": {"width": 64, "drop": None}}, without=["seed"])
    {'model.width': '64', 'model.drop': 'null'}
    """
    found: dict[str, str] = {}
    for name, value in config.items():
        if name in without:
            continue
        if isinstance(value, Mapping):
            found |= flat(value, prefix=f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value if isinstance(value, str) else json.dumps(value)
    return found
