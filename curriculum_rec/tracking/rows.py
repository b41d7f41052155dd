"""Which numbers of a row of metrics.jsonl trackers get, and by which names (host)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PREFIXES = {"evaluation": "validation"}
"""Events whose numbers go by another name."""


def numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """Name the numbers of a row; texts, truth values and what is unknown are left out.

    >>> numbers({"event": "evaluation", "step": 20, "split": "validation", "ndcg@10": 0.25})
    {'validation/ndcg@10': 0.25}
    >>> numbers({"event": "curriculum", "step": 20, "losses": [2.5, None]})
    {'curriculum/losses/0': 2.5}
    """
    event = str(row["event"])
    prefix = PREFIXES.get(event, event)
    found: dict[str, float] = {}
    for name, value in row.items():
        if name in ("event", "step"):
            continue
        if isinstance(value, list | tuple):
            found |= {f"{prefix}/{name}/{place}": float(each) for place, each in enumerate(value) if _is_number(each)}
        elif _is_number(value):
            found[f"{prefix}/{name}"] = float(value)
    return found


def plain_name(name: str) -> str:
    """Write a name for trackers that allow letters, digits, ``_``, ``-``, ``.`` and ``/`` only.

    >>> plain_name("validation/ndcg@10")
    'validation/ndcg_at_10'
    """
    return "".join(letter if letter.isalnum() or letter in "_-./" else "_" for letter in name.replace("@", "_at_"))


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Read the rows of a log, up to one that is being written."""
    with path.open() as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
