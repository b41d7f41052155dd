"""Ctrl-C and SIGTERM (host): the running chunk ends, a checkpoint is taken, and the run can be resumed."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """The run stopped at a person's wish, after a checkpoint; its argument is the run directory."""

    @property
    def advice(self) -> str:
        """How to go on."""
        return f"curriculum-rec resume run={self.args[0]}"


class InterruptGuard:
    """Turns the first signal into a flag; a second one stops at once, without a checkpoint."""

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> InterruptGuard:  # noqa: PYI034 - run-time type checks cannot follow Self
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print("\nstopping after a checkpoint; once more stops at once", file=sys.stderr)
