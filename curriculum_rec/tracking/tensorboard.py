"""TensorBoard's event files by tensorboardX (host)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curriculum_rec.flat_options import flat
from curriculum_rec.tracking.contract import OpenTracker, Status, TrackedRun, require
from curriculum_rec.tracking.rows import plain_name


@dataclass(frozen=True)
class TensorBoard:
    """Writes event files; ``tensorboard --logdir runs`` shows those of all runs below.

    Event files only grow. A run that goes on therefore replaces its own by new ones that begin with its first row.

    Args:
        folder: Where a folder of the run's name goes; None takes ``tracking/tensorboard`` of the run directory.
    """

    folder: str | None = None

    def __post_init__(self) -> None:
        require("tensorboardX", "tensorboard")

    def begin(self, run: TrackedRun) -> OpenTracker:
        """Open a new event file in place of the run's earlier ones."""
        from tensorboardX import SummaryWriter  # noqa: PLC0415 - an optional package

        place = (run.folder / "tensorboard" if self.folder is None else Path(self.folder) / run.name).absolute()
        if run.known.get("folder") == str(place):
            for earlier in place.glob("events.out.tfevents.*"):
                earlier.unlink()
        writer = SummaryWriter(str(place))
        lines = [f"    {name}: {value}" for name, value in flat(run.config).items()]
        writer.add_text("config", "\n".join(lines))
        return _Open(writer, {"folder": str(place)})


@dataclass
class _Open:
    writer: Any
    identity: Mapping[str, str]

    def row(self, event: str, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(plain_name(name), value, step)
        if event == "evaluation":
            self.writer.flush()

    def end(self, status: Status) -> None:
        self.writer.close()
