"""The ledger of a study (host): one file that says how every run stands."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from curriculum_rec.errors import RunError
from curriculum_rec.files import write_text
from curriculum_rec.studies.grid import PlannedRun
from curriculum_rec.training.run_directory import RunDirectory, to_json

State = Literal["waiting", "running", "interrupted", "failed", "finished"]


@dataclass(frozen=True)
class Entry:
    """How a run stands.

    Attributes:
        name: Its folder below the study's.
        data: Name of its data set.
        condition: Name of its condition.
        arm: Name of its arm.
        seed: Its seed.
        config_hash: Identifies its configuration.
        state: ``interrupted`` ones go on from their newest checkpoint, ``failed`` ones are tried again.
        attempts: How often it was started.
        error: Why it failed, in a sentence; None if it did not.
        fold: The fold that it tests; None where there are none.
    """

    name: str
    data: str
    condition: str
    arm: str
    seed: int
    config_hash: str
    state: State = "waiting"
    attempts: int = 0
    error: str | None = None
    fold: int | None = None


@dataclass
class Ledger:
    """The entries of a study's runs, kept in a file that is written anew at every change.

    Args:
        path: The file.
        entries: By name of the run.
    """

    path: Path
    entries: dict[str, Entry] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Ledger:
        """Read a ledger; one that does not exist is empty.

        Raises:
            RunError: The file is damaged.
        """
        if not path.is_file():
            return cls(path)
        try:
            rows: list[dict[str, Any]] = json.loads(path.read_text())["runs"]
            entries = [Entry(**row) for row in rows]
            if not all(entry.state in get_args(State) for entry in entries):
                raise ValueError("a state that does not exist")
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} is no ledger ({error}): remove it, the run directories tell the rest") from error
        return cls(path, {entry.name: entry for entry in entries})

    def plan(self, runs: Sequence[PlannedRun]) -> None:
        """Take the planned runs in, and look how each stands in truth, whatever was written before.

        Raises:
            RunError: A folder holds a finished run of another configuration.
        """
        for run in runs:
            before = self.entries.get(run.name)
            place = run.place
            entry = Entry(run.name, place.data, place.condition, run.arm, run.seed, run.config_hash, fold=run.fold)
            if before is not None:
                entry = replace(entry, attempts=before.attempts, error=before.error)
            state = state_of(run)
            failed = before is not None and before.error is not None and state != "finished"
            self.entries[run.name] = replace(
                entry, state="failed" if failed else state, error=entry.error if failed else None
            )
        self.write()

    def change(self, name: str, state: State, *, error: str | None = None) -> None:
        """Write down how a run stands now."""
        entry = self.entries[name]
        attempts = entry.attempts + (state == "running" and entry.state != "running")
        self.entries[name] = replace(entry, state=state, attempts=attempts, error=error)
        self.write()

    def write(self) -> None:
        """Write the file."""
        write_text(self.path, to_json({"runs": [asdict(entry) for entry in self.entries.values()]}))

    def count(self, names: Iterable[str]) -> Counter[str]:
        """Count the states of some runs."""
        return Counter(self.entries[name].state for name in names)


def state_of(run: PlannedRun) -> State:
    """Say how a run stands by its folder.

    Raises:
        RunError: The folder holds a finished run of another configuration.
    """
    directory = RunDirectory(run.directory)
    if directory.is_locked():
        return "running"
    if directory.summary.is_file():
        if directory.read_summary()["config_hash"] != run.config_hash:
            raise RunError(
                f"{run.directory} holds a finished run of another configuration: choose another study_dir, or remove it"
            )
        return "finished"
    return "interrupted" if directory.config.is_file() else "waiting"
