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
    >>> numbers({"event": "stage", "step": 20, "sizes": {"embedding_width": {"age": 2}}})
    {'stage/sizes/embedding_width/age': 2.0}
    """
    event = str(row["event"])
    return _flat(PREFIXES.get(event, event), {name: row[name] for name in row if name not in ("event", "step")})


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


def _flat(name: str, value: Any) -> dict[str, float]:
    """Name the numbers in a value, which may hold others by place or by name."""
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping):
        return {name: float(value)} if _is_number(value) else {}
    found: dict[str, float] = {}
    for key, each in value.items():
        found |= _flat(f"{name}/{key}", each)
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
