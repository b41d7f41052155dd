"""Where the parts of a store are worked on (host): in this process, or by the workers of Ray Data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

from curriculum_rec.errors import CurriculumRecError, OptionError, RunError


@runtime_checkable
class Engine(Protocol):
    """Calls a function for every part."""

    def map(self, function: Callable[..., Any], parts: Iterable[int], **options: Any) -> list[Any]:
        """Call ``function(part, **options)`` for every part; give what it returns, plain data, in order."""
        ...


@dataclass(frozen=True)
class Here:
    """One part after the other, in this process."""

    def map(self, function: Callable[..., Any], parts: Iterable[int], **options: Any) -> list[Any]:
        """Call the function for every part."""
        return [function(part, **options) for part in parts]


@dataclass(frozen=True)
class OnRay:
    """Ray Data's workers, which share the store's disk.

    Args:
        address: The cluster; None starts one on this machine, or joins the one that this process is connected to.
        workers: How many parts are worked on at once.
    """

    address: str | None = None
    workers: int = 2

    def map(self, function: Callable[..., Any], parts: Iterable[int], **options: Any) -> list[Any]:
        """Call the function for every part."""
        try:
            import ray.data  # noqa: PLC0415 - optional
        except ImportError as error:
            raise OptionError("engine=ray needs the package ray: pip install 'curriculum-rec[ray_data]'") from error
        if not ray.is_initialized():
            ray.init(self.address, num_cpus=None if self.address else self.workers, log_to_driver=False)
        wanted = list(parts)
        if not wanted:
            return []
        rows = ray.data.from_items([{"part": part} for part in wanted], override_num_blocks=len(wanted))
        done = rows.map(partial(_call, function=function, options=options), concurrency=self.workers).take_all()
        results = {row["part"]: json.loads(row["result"]) for row in done}
        for part in wanted:
            if "mistake" in results[part]:
                raise RunError(results[part]["mistake"])
        return [results[part]["value"] for part in wanted]


def _call(row: dict[str, Any], *, function: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """Call the function for a row's part; a person's mistake comes back as its sentence."""
    part = int(row["part"])
    try:
        result = {"value": function(part, **options)}
    except CurriculumRecError as error:
        result = {"mistake": str(error)}
    return {"part": part, "result": json.dumps(result)}
