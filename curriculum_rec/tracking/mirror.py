"""The mirror of a run's log in its trackers (host): one that fails is left out, and training goes on."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from curriculum_rec.errors import CurriculumRecError, RunError
from curriculum_rec.files import write_text
from curriculum_rec.tracking.contract import OpenTracker, Status, TrackedRun, Tracker
from curriculum_rec.tracking.rows import numbers

IDENTITIES = "tracking.json"
"""The file of a run directory that says under which identity each tracker knows the run."""


@dataclass
class Mirror:
    """Sends the rows of a run to its trackers; without trackers it does nothing.

    Args:
        trackers: By the names under which the configuration has them.
        name: What to call the run.
        directory: Its run directory.
        config: Its configuration, as plain data.
        strict: Whether a tracker that fails is an error; else it is left out, with a warning.
    """

    trackers: Mapping[str, Tracker] = field(default_factory=dict)
    name: str = ""
    directory: Path = Path()
    config: Mapping[str, Any] = field(default_factory=dict)
    strict: bool = False
    _open: dict[str, OpenTracker] = field(default_factory=dict, init=False, repr=False)
    _identities: dict[str, dict[str, str]] = field(default_factory=dict, init=False, repr=False)

    def __enter__(self) -> Mirror:  # noqa: PYI034 - run-time type checks cannot follow Self
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        # A signal comes as a KeyboardInterrupt, which is no Exception.
        self.end("finished" if kind is None else "failed" if issubclass(kind, Exception) else "interrupted")

    def begin(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Begin the run in every tracker, or go on with it.

        Args:
            rows: What the log holds by now; a tracker may have missed the last of them when the run broke off.
        """
        if not self.trackers:
            return
        path = self.directory / IDENTITIES
        known = _read(path)
        for name, tracker in self.trackers.items():
            run = TrackedRun(self.name, self.directory, self.config, known.get(name, {}))
            self._attempt(name, self._begin, name, tracker, run)
        write_text(path, json.dumps(known | self._identities, indent=2) + "\n")
        for row in rows:
            self.row(row)

    def row(self, row: Mapping[str, Any]) -> None:
        """Send the numbers of a row."""
        if not self._open or not (values := numbers(row)):
            return
        event, step = str(row["event"]), int(row["step"])
        for name, tracker in list(self._open.items()):
            self._attempt(name, tracker.row, event, step, values)

    def end(self, status: Status) -> None:
        """Close the run in every tracker."""
        for name, tracker in list(self._open.items()):
            self._attempt(name, tracker.end, status)
        self._open.clear()

    def _begin(self, name: str, tracker: Tracker, run: TrackedRun) -> None:
        opened = tracker.begin(run)
        self._identities[name] = {str(key): str(value) for key, value in opened.identity.items()}
        self._open[name] = opened

    def _attempt(self, name: str, call: Callable[..., None], *arguments: Any) -> None:
        """Call a tracker, whose library may raise anything; a mistake of the person's is said as it is."""
        try:
            call(*arguments)
        except CurriculumRecError:
            raise
        except Exception as error:
            self._open.pop(name, None)
            reason = (str(error).strip().split("\n") or [""])[0][:200] or type(error).__name__
            if self.strict:
                raise RunError(f"tracking.{name} failed: {reason}") from error
            warnings.warn(
                f"tracking.{name} failed and is left out from here on ({reason}); metrics.jsonl has every row: "
                f"'curriculum-rec track run={self.directory} tracking={name}' sends them when the run has ended",
                stacklevel=3,
            )


def _read(path: Path) -> dict[str, dict[str, str]]:
    """Read the identities; a damaged file knows none, since no tracker may stop a run."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {name: each for name, each in found.items() if isinstance(each, dict)} if isinstance(found, dict) else {}
