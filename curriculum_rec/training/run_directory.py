"""The run directory (host): config.yaml, metrics.jsonl, summary.json, checkpoints, evaluation, scores and noise."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import polars as pl

from curriculum_rec.errors import RunError
from curriculum_rec.tracking.mirror import IDENTITIES, Mirror
from curriculum_rec.tracking.rows import read_rows

Which = Literal["best", "newest"] | int
"""A checkpoint of a run: the best by the validation metric, the newest, or that of a step."""

OnExisting = Literal["refuse", "replace", "resume"]

LOCK_TRIES, LOCK_PAUSE_SECONDS = 5, 0.05


@dataclass
class RunDirectory:
    """The folder of one run.

    Args:
        path: Where it is.
    """

    path: Path
    _lock: IO[str] | None = field(default=None, init=False, repr=False)

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """One JSON row an event."""
        return self.path / "metrics.jsonl"

    @property
    def summary(self) -> Path:
        """The run's result; it exists once the run is finished."""
        return self.path / "summary.json"

    @property
    def checkpoints(self) -> Path:
        """One folder a checkpoint."""
        return self.path / "checkpoints"

    @property
    def evaluation(self) -> Path:
        """Per-user results as Parquet."""
        return self.path / "evaluation"

    @property
    def noise(self) -> Path:
        """What was planted into the training part, as Parquet; only where something was."""
        return self.path / "noise.parquet"

    @property
    def items(self) -> Path:
        """The ids of the catalogue in the order of their codes, as Parquet."""
        return self.path / "items.parquet"

    @property
    def users(self) -> Path:
        """The ids of the users in the order of their codes, as Parquet; only where a model has vectors of users."""
        return self.path / "users.parquet"

    @property
    def features(self) -> Path:
        """Fitted features, as JSON and arrays; only where an experiment declares some."""
        return self.path / "features"

    @property
    def cleaning(self) -> Path:
        """What each cleaning rule removed, with examples, as JSON."""
        return self.path / "cleaning.json"

    @property
    def scores(self) -> Path:
        """What teachers said of the targets, one file a teacher and statistic."""
        return self.path / "scores"

    @property
    def compression(self) -> Path:
        """What compression cost, as JSON; only where this run is another one, compressed."""
        return self.path / "compression.json"

    @property
    def compression_page(self) -> Path:
        """The same to read."""
        return self.path / "compression.md"

    @property
    def tracking(self) -> Path:
        """What trackers keep here, as long as a person does not say otherwise."""
        return self.path / "tracking"

    @property
    def tracking_identities(self) -> Path:
        """Under which identity each tracker knows the run, as JSON."""
        return self.path / IDENTITIES

    @property
    def _lock_path(self) -> Path:
        return self.path / ".lock"

    @classmethod
    def existing(cls, path: str) -> RunDirectory:
        """Open the directory of a run that was started.

        Raises:
            RunError: There is no run.
        """
        directory = cls(Path(path))
        if not directory.config.is_file():
            raise RunError(f"{path} holds no run: it has no config.yaml")
        return directory

    def create(self, on_existing: OnExisting) -> None:
        """Make the directory for a new run.

        Raises:
            RunError: It holds a run already and ``on_existing`` is ``refuse``, or it holds other things.
        """
        self.check_free(on_existing)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.path} cannot be made: {error.strerror}") from error
        self.lock()
        if on_existing == "replace":
            for entry in (self.checkpoints, self.evaluation, self.scores, self.tracking, self.features):
                shutil.rmtree(entry, ignore_errors=True)
            of_a_compressed_run = (self.compression, self.compression_page)
            kept = (self.metrics, self.summary, self.noise, self.items, self.cleaning, self.tracking_identities)
            for file in (*kept, *of_a_compressed_run, self.config):
                file.unlink(missing_ok=True)

    def check_free(self, on_existing: OnExisting) -> None:
        """Refuse a directory that a new run cannot be kept in.

        Raises:
            RunError: It holds a run already and ``on_existing`` is ``refuse``, or it holds other things.
        """
        if self.config.exists() and on_existing == "refuse":
            raise RunError(
                f"{self.path} holds a run already: continue it with 'curriculum-rec resume run={self.path}', choose "
                "another run_dir, or set on_existing=replace"
            )
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path} is a file: choose another run_dir")
        if (
            self.path.exists()
            and not self.config.exists()
            and any(entry != self._lock_path for entry in self.path.iterdir())
        ):
            raise RunError(f"{self.path} holds other files: choose another run_dir")

    def lock(self) -> None:
        """Keep a second process out until this one ends.

        Raises:
            RunError: Another process trains here.
        """
        try:
            self._lock = self._lock_path.open("w")
        except OSError as error:
            raise RunError(f"{self.path} cannot be written: {error.strerror}") from error
        for _ in range(LOCK_TRIES):
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(LOCK_PAUSE_SECONDS)  # somebody may only be looking whether it is locked
        self._lock.close()
        self._lock = None
        raise RunError(f"another process is training in {self.path}: wait for it or choose another run_dir")

    def is_locked(self) -> bool:
        """Tell whether another process trains here."""
        try:
            with self._lock_path.open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def unlock(self) -> None:
        """Let others in."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def read_items(self) -> pl.Series:
        """Read the ids of the catalogue.

        Raises:
            RunError: The run has none or they cannot be read.
        """
        return self._read_ids(self.items, "item", "which items its catalogue has")

    def read_users(self) -> pl.Series:
        """Read the ids of the users.

        Raises:
            RunError: The run has none or they cannot be read.
        """
        return self._read_ids(self.users, "user", "which users it has vectors of")

    def _read_ids(self, path: Path, column: str, what: str) -> pl.Series:
        try:
            return pl.read_parquet(path)[column]
        except (OSError, pl.exceptions.PolarsError) as error:
            reason = str(error).splitlines()[0]
            raise RunError(f"{self.path} does not say {what}: {reason}") from error

    def read_summary(self) -> dict[str, Any]:
        """Read the result of a finished run.

        Raises:
            RunError: The run is not finished.
        """
        if not self.summary.is_file():
            raise RunError(
                f"the run in {self.path} is not finished: 'curriculum-rec resume run={self.path}' goes on with it"
            )
        return json.loads(self.summary.read_text())


@dataclass
class MetricsLog:
    """Appends rows to ``metrics.jsonl``.

    Every row but those of the event ``speed`` is a pure function of the configuration, the same bytes in every run.

    Args:
        path: The file.
        mirror: Gets the rows, too.
    """

    path: Path
    mirror: Mirror = field(default_factory=Mirror)
    _file: IO[bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._file = self.path.open("ab")

    def write(self, event: str, **values: Any) -> None:
        """Append one row."""
        row = {"event": event, **values}
        self._file.write((json.dumps(row, allow_nan=False) + "\n").encode())
        self._file.flush()
        self.mirror.row(row)

    def position(self) -> int:
        """Put everything on disk and give the length in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def rewind(self, position: int) -> None:
        """Forget the rows after a checkpoint, which the resumed run writes again; the mirror begins with the rest."""
        if self._file.seek(0, os.SEEK_END) < position:
            raise RunError(f"{self.path} is shorter than when its checkpoint was written: put it back")
        self._file.truncate(position)
        self._file.seek(position)
        self.mirror.begin(read_rows(self.path))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class NoLog(MetricsLog):
    """Takes rows and keeps none: the log of every host but the first."""

    def __init__(self) -> None:
        pass

    def write(self, event: str, **values: Any) -> None:
        pass

    def position(self) -> int:
        return 0

    def rewind(self, position: int) -> None:
        pass

    def close(self) -> None:
        pass


def to_json(record: Mapping[str, Any] | Sequence[Any]) -> str:
    """Write a record as indented JSON."""
    return json.dumps(record, indent=2) + "\n"
