"""Weights & Biases (host): files to be sent later, unless a person wants them sent at once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from curriculum_rec.errors import OptionError
from curriculum_rec.tracking.contract import OpenTracker, Status, TrackedRun, require

Mode = Literal["offline", "online"]


@dataclass(frozen=True)
class WandB:
    """Logs to Weights & Biases; numbers of the best step, which lies before the last, go to the summary.

    A run keeps its id. Offline, a run that goes on replaces its files by new ones that begin with its first row.
    Online, it is resumed under its id, and rows before the step that the server has reached are not sent again.

    Args:
        mode: ``offline`` writes files that ``wandb sync`` sends; ``online`` sends them while the run goes on, with the
            environment's ``WANDB_API_KEY`` or the login that ``wandb login`` made.
        project: Name of the project.
        entity: The user or team; None takes the login's own.
        folder: Where ``wandb/`` goes; None takes ``tracking`` of the run directory.
    """

    mode: Mode = "offline"
    project: str = "curriculum_rec"
    entity: str | None = None
    folder: str | None = None

    def __post_init__(self) -> None:
        require("wandb", "wandb")
        if self.mode == "online" and not os.environ.get("WANDB_API_KEY") and not (Path.home() / ".netrc").is_file():
            raise OptionError(
                "tracking.wandb.mode=online needs WANDB_API_KEY in the environment, or a login by 'wandb login'"
            )

    def begin(self, run: TrackedRun) -> OpenTracker:
        """Begin a run, or go on with the one that is known."""
        import wandb  # noqa: PLC0415 - an optional package

        folder = run.folder if self.folder is None else Path(self.folder)
        folder.mkdir(parents=True, exist_ok=True)  # W&B would write elsewhere, and say so on the screen only
        known, offline = run.known.get("id"), self.mode == "offline"
        if offline and known is not None:
            for earlier in (folder / "wandb").glob(f"offline-run-*-{known}"):
                shutil.rmtree(earlier)
        opened = wandb.init(
            project=self.project,
            entity=self.entity,
            name=run.name,
            id=known,
            resume=None if offline else "allow",
            mode=self.mode,
            dir=folder,
            config=dict(run.config),
            reinit="create_new",
            # The screen is ours, and neither the source nor the command line is anybody's but the person's.
            settings=wandb.Settings(silent=True, console="off", disable_code=True, disable_git=True),
        )
        return _Open(opened, {"id": opened.id}, opened.step)


@dataclass
class _Open:
    run: Any
    identity: Mapping[str, str]
    first: int
    _last: int = 0

    def row(self, event: str, step: int, values: Mapping[str, float]) -> None:
        if step < self._last:  # W&B takes steps in order
            self.run.summary.update(dict(values))
        elif step >= self.first:
            self.run.log(dict(values), step=step)
        self._last = max(self._last, step)

    def end(self, status: Status) -> None:
        self.run.finish(exit_code=0 if status == "finished" else 1)
