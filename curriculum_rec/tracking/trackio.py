"""trackio (host): a database of this machine, shown by ``trackio show``."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curriculum_rec.tracking.contract import OpenTracker, Status, TrackedRun, require


@dataclass(frozen=True)
class Trackio:
    """Logs to trackio's own folder, which its variable ``TRACKIO_DIR`` moves.

    A run that goes on is deleted there and written anew, beginning with its first row.

    Args:
        project: Name of the project.
    """

    project: str = "curriculum_rec"

    def __post_init__(self) -> None:
        require("trackio", "trackio")

    def begin(self, run: TrackedRun) -> OpenTracker:
        """Begin the run in place of an earlier part of it."""
        import trackio  # noqa: PLC0415 - an optional package

        if run.known:
            for earlier in trackio.Api().runs(self.project):
                if earlier.id == run.known.get("id"):
                    earlier.delete()
        with _no_talk():
            opened = trackio.init(
                self.project, run.name, config=dict(run.config), embed=False, auto_log_cpu=False, auto_log_gpu=False
            )
        return _Open(opened, {"id": opened.id})


@dataclass
class _Open:
    run: Any
    identity: Mapping[str, str]

    def row(self, event: str, step: int, values: Mapping[str, float]) -> None:
        self.run.log(dict(values), step=step)

    def end(self, status: Status) -> None:
        import trackio  # noqa: PLC0415 - an optional package

        with _no_talk():
            trackio.finish()  # of the run alone, trackio would finish it again at the program's end, and say so


def _no_talk() -> contextlib.redirect_stdout[io.StringIO]:
    """Keep trackio's advice off standard output, which is the command's own."""
    return contextlib.redirect_stdout(io.StringIO())
