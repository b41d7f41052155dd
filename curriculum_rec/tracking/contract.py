"""What a tracker is (host): options that begin a run, and the begun run that takes numbers until its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from curriculum_rec.errors import OptionError

Status = Literal["finished", "interrupted", "failed"]
"""How a run ended; an interrupted one may go on."""


@dataclass(frozen=True)
class TrackedRun:
    """A run as trackers see it.

    Attributes:
        name: What to call it.
        directory: Its run directory.
        config: Its configuration, as plain data.
        known: What the tracker said about the run when it was begun before (:attr:`OpenTracker.identity`); empty at
            first.
    """

    name: str
    directory: Path
    config: Mapping[str, Any]
    known: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where a tracker keeps its files unless a person says otherwise."""
        return self.directory / "tracking"


class OpenTracker(Protocol):
    """A run that a tracker has begun."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What the tracker needs to find this run again; kept in the run directory, so never a secret."""

    def row(self, event: str, step: int, values: Mapping[str, float]) -> None:
        """Take the numbers of a row of ``metrics.jsonl``.

        A run that goes on sends all its rows again, from the first: what is there already must not be doubled.

        Args:
            event: Of the row.
            step: Of the row.
            values: By names such as ``train/loss`` or ``validation/ndcg@10``.
        """

    def end(self, status: Status) -> None:
        """Send what is not sent yet, and close the run."""


@runtime_checkable
class Tracker(Protocol):
    """Options of a tracker."""

    def begin(self, run: TrackedRun) -> OpenTracker:
        """Begin a run, or go on with the one that is known."""


def require(package: str, tracker: str) -> None:
    """Refuse a tracker whose package is not installed, before anything is trained.

    Args:
        package: What is imported.
        tracker: The choice, which is the extra's name, too.

    Raises:
        OptionError: It is not installed.
    """
    if find_spec(package) is None:
        raise OptionError(f"tracking={tracker} needs {package}: pip install 'curriculum-rec[{tracker}]'")
