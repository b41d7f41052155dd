"""Locks between processes (host): files that the system unlocks whenever their process ends, by ``kill -9`` too."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass, field
from pathlib import Path

from curriculum_rec.errors import RunError


@dataclass
class FileLock:
    """A lock that one process at a time holds; the same process can hold it once.

    Args:
        path: The file; it stays.
    """

    path: Path
    _file: int | None = field(default=None, init=False, repr=False)

    def acquire(self, *, wait: bool) -> bool:
        """Take the lock.

        Args:
            wait: Whether to wait for it.

        Returns:
            Whether it is ours now.

        Raises:
            RunError: The file cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise RunError(f"{self.path} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            self.release()
            return False
        return True

    def release(self) -> None:
        """Give it back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> FileLock:  # noqa: PYI034 - run-time type checks cannot follow Self
        self.acquire(wait=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
