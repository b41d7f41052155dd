"""The folder in which a store is made (host): what is finished in it is known, and is not made again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curriculum_rec.errors import RunError
from curriculum_rec.files import write_text
from curriculum_rec.locks import FileLock

PLAN = "plan.json"


@dataclass(frozen=True)
class Workbench:
    """A folder beside the store-to-be.

    Args:
        store: The folder that the store will be.
    """

    store: Path

    @property
    def folder(self) -> Path:
        """The folder, on the same disk as the store."""
        return self.store.with_name(f".{self.store.name}.preparing")

    def lock(self) -> FileLock:
        """Take the lock of one process.

        Raises:
            RunError: Another process is at it.
        """
        lock = FileLock(self.store.with_name(f".{self.store.name}.lock"))
        if not lock.acquire(wait=False):
            raise RunError(f"another process prepares {self.store}: wait for it")
        return lock

    def begin(self, plan: Mapping[str, Any]) -> bool:
        """Go on with what was begun by the same plan, or begin anew.

        Returns:
            Whether something was there to go on with.
        """
        text = json.dumps(plan, sort_keys=True, indent=1)
        file = self.folder / PLAN
        if file.is_file() and file.read_text() == text:
            return True
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        write_text(file, text)
        return False

    def place(self, *names: str) -> Path:
        """Give a path in the folder, in a folder that exists."""
        path = self.folder.joinpath(*names)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def facts(self, name: str) -> Any:
        """Give what :meth:`finish` was told, None if that was not called."""
        file = self.folder / "finished" / f"{name}.json"
        return json.loads(file.read_text()) if file.is_file() else None

    def finish(self, name: str, facts: Any = True) -> Any:
        """Remember that a piece of the work is finished, and what is to be known of it."""
        write_text(self.place("finished", f"{name}.json"), json.dumps(facts))
        return facts

    def clear(self, name: str) -> None:
        """Remove a folder of pieces that nobody needs any more."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
