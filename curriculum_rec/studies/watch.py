"""How a study goes (host): one table that lives in a terminal, or a line a run elsewhere."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from curriculum_rec.studies.grid import PlannedRun
from curriculum_rec.studies.ledger import Ledger
from curriculum_rec.training.progress import Mode
from curriculum_rec.training.run_directory import RunDirectory

TAIL_BYTES = 16_384
MARKS = {"finished": "●", "running": "◐", "interrupted": "◌", "failed": "✗", "waiting": "·"}
MOST_ROWS = 24


@dataclass
class Watch:
    """Shows how the runs of a study go.

    Args:
        runs: All of them, those of earlier calls too.
        ledger: Says how each stands.
        metric: What is shown of the quality.
        mode: ``rich`` for the table, ``plain`` for a line a run that ends, ``none`` for failures alone; ``auto`` is
            ``rich`` in a terminal, else ``plain``.
    """

    runs: list[PlannedRun]
    ledger: Ledger
    metric: str
    mode: Mode
    console: Console = field(default_factory=lambda: Console(stderr=True))

    def __post_init__(self) -> None:
        self.live = self.mode == "rich" or (self.mode == "auto" and self.console.is_terminal)
        self._by_name = {run.name: run for run in self.runs}
        self._began = time.monotonic()
        self._finished_before = self.ledger.count(self._by_name)["finished"]
        self._since: dict[str, float] = {}
        self._quality: dict[str, float] = {}
        self._live = Live(get_renderable=self._render, console=self.console, refresh_per_second=1, transient=True)

    def __enter__(self) -> Watch:  # noqa: PYI034 - run-time type checks cannot follow Self
        if self.live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self._live.stop()

    def tell(self, run: PlannedRun, state: Any, error: str | None) -> None:
        """Write down how a run stands now, and show it."""
        self.ledger.change(run.name, state, error=error)
        if state == "running":
            self._since[run.name] = time.monotonic()
            return
        now = time.monotonic()
        seconds = now - self._since.get(run.name, now)
        said = f"{self.metric} {self._test(run):.4f}" if state == "finished" else error or ""
        if state == "failed" or not (self.live or self.mode == "none"):
            self.console.print(Text(f"{MARKS[state]} {run.name}: {state}, {seconds:.0f} s; {said}"), soft_wrap=True)

    def _test(self, run: PlannedRun) -> float:
        if run.name not in self._quality:
            summary = RunDirectory(run.directory).read_summary()
            self._quality[run.name] = float(summary["test"].get(self.metric, float("nan")))
        return self._quality[run.name]

    def _render(self) -> Group:
        counts = self.ledger.count(self._by_name)
        return Group(self._arms(), self._running(), Text(self._headline(counts)))

    def _headline(self, counts: Counter[str]) -> str:
        done = counts["finished"] - self._finished_before
        spent = time.monotonic() - self._began
        open_runs = len(self.runs) - counts["finished"] - counts["failed"]
        left = f", about {_clock(spent / done * open_runs)} left" if done else ""
        failed = f", {counts['failed']} failed" if counts["failed"] else ""
        return f"{counts['finished']} of {len(self.runs)} runs finished{failed}; {_clock(spent)}{left}"

    def _arms(self) -> Table:
        """Show every arm of the places that are at work, a mark a seed."""
        rows: dict[tuple[str, str, str], list[PlannedRun]] = {}
        for run in self.runs:
            rows.setdefault((run.place.data, run.place.condition, run.arm), []).append(run)
        busy = {run.place for run in self.runs if self.ledger.entries[run.name].state == "running"}
        table = Table("data", "condition", "arm", "seeds", f"test {self.metric}", box=None)
        shown = [(key, runs) for key, runs in rows.items() if not busy or runs[0].place in busy]
        for key, runs in shown[:MOST_ROWS]:
            states = [self.ledger.entries[run.name].state for run in runs]
            done = [self._test(run) for run, state in zip(runs, states, strict=True) if state == "finished"]
            mean = f"{sum(done) / len(done):.4f}" if done else ""
            table.add_row(*key, "".join(MARKS[state] for state in states), mean)
        if len(shown) > MOST_ROWS:
            table.add_row("", "", f"... and {len(shown) - MOST_ROWS} arms more", "", "")
        return table

    def _running(self) -> Table:
        table = Table("running", "step", "loss", f"validation {self.metric}", "seconds", box=None)
        for name, run in self._by_name.items():
            if self.ledger.entries[name].state == "running":
                last = last_rows(RunDirectory(run.directory).metrics)
                since = self._since.get(name)
                table.add_row(
                    name,
                    _number(last.get("train"), "step", ",.0f"),
                    _number(last.get("train"), "loss", ".4f"),
                    _number(last.get("evaluation"), self.metric, ".4f"),
                    "" if since is None else f"{time.monotonic() - since:.0f}",
                )
        return table


def last_rows(path: Path) -> dict[str, Mapping[str, Any]]:
    """Give the newest row of every event near the end of a log; what cannot be read yet is left out."""
    found: dict[str, Mapping[str, Any]] = {}
    if path.is_file():
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            for line in file.read().splitlines():
                try:
                    row = json.loads(line)
                    found[row["event"]] = row
                except (ValueError, TypeError, KeyError):
                    continue  # cut off at its beginning, or being written
    return found


def _number(row: Mapping[str, Any] | None, name: str, form: str) -> str:
    return "" if row is None or row.get(name) is None else format(row[name], form)


def _clock(seconds: float) -> str:
    """Write a time.

    >>> _clock(3725), _clock(59)
    ('1:02:05', '0:59')
    """
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
