"""Compilation (host): how long it took, from JAX's own monitoring events, and the programs kept on disk."""

from __future__ import annotations

import hashlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.monitoring

from curriculum_rec.errors import OptionError

_PREFIX = "/jax/core/compile/"


@dataclass
class CompilationMeter:
    """Adds up the seconds that JAX spends tracing, lowering and compiling.

    Attributes:
        seconds: The sum so far.
    """

    seconds: float = 0.0

    def __call__(self, event: str, duration_secs: float, **_: str | int) -> None:
        """Receive an event."""
        if event.startswith(_PREFIX):
            self.seconds += duration_secs


def use_cache(folder: str | None) -> None:
    """Keep compiled programs on disk, where later runs and the other runs of a sweep find them.

    What lies there is run as it is, so the folder is this person's alone, with a part for every kind of processor. A
    folder that JAX was already told of (``JAX_COMPILATION_CACHE_DIR``) goes before.

    Args:
        folder: Where; None keeps nothing.

    Raises:
        OptionError: The folder cannot be made, or others could write into it.
    """
    already: str | None = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    if folder is None or already is not None:
        return
    path = Path(folder).expanduser() / _processor()
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise OptionError(f"compilation_cache={folder} cannot be made: {error.strerror}") from error
    if path.stat().st_uid != os.getuid() or path.stat().st_mode & 0o022:
        raise OptionError(f"compilation_cache={folder}: others can write into {path}; choose a folder of your own")
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def _processor() -> str:
    """Name the kind of processor: programs compiled for one may not run on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    features = sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
    kind = "\n".join([platform.machine(), platform.processor(), *features])
    return hashlib.blake2b(kind.encode(), digest_size=8).hexdigest()


METER = CompilationMeter()
"""The process's one meter: JAX has no public way to take a listener back, so read differences from it."""

jax.monitoring.register_event_duration_secs_listener(METER)
