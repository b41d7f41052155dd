"""What a person sees of a search (host): a table that lives in a terminal, a line an ended trial elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.table import Table

from curriculum_rec.training.progress import Mode, lives
from curriculum_rec.tuning.trials import TrialRow, best_trial, count_states, show

MOST_ROWS = 12
ENDED = ("done", "pruned", "failed")


@dataclass
class TrialBoard:
    """Shows trials on standard error, those of other processes too.

    Args:
        metric: The validation metric that decides.
        options: Those that are chosen.
        n_trials: How many there shall be.
        mode: ``rich`` for the table, ``plain`` for a line a trial that ends, ``none`` for nothing; ``auto`` is ``rich``
            in a terminal, else ``plain``.
    """

    metric: str
    options: Sequence[str]
    n_trials: int
    mode: Mode = "auto"
    console: Console = field(default_factory=lambda: Console(stderr=True))
    _live: Live | None = field(default=None, init=False)
    _told: set[int] = field(default_factory=set, init=False)

    def __enter__(self) -> TrialBoard:  # noqa: PYI034 - run-time type checks cannot follow Self
        if lives(self.mode, self.console):
            self._live = Live(console=self.console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def begin(self, rows: Sequence[TrialRow]) -> None:
        """Take note of the trials that ended before."""
        self._told = {row.number for row in rows if row.state in ENDED}
        self.update(rows)

    def update(self, rows: Sequence[TrialRow]) -> None:
        """Show how the trials stand."""
        if self._live is not None:
            self._live.update(self.table(rows), refresh=True)
            return
        for row in rows:
            if self.mode != "none" and row.state in ENDED and row.number not in self._told:
                self._told.add(row.number)
                self.console.print(self.line(row, rows), highlight=False, markup=False, soft_wrap=True)

    def line(self, row: TrialRow, rows: Sequence[TrialRow]) -> str:
        """Say how a trial ended."""
        chosen = " ".join(f"{option}={show(value)}" for option, value in row.point.items())
        if row.state == "failed":
            return f"trial {row.number} failed: {row.reason} ({chosen})"
        value = row.value if row.state == "done" else max(row.curve, default=None)
        best = best_trial(rows)
        leader = "" if best is None else " (best so far)" if best == row else f" (best: {show(best.value)})"
        return f"trial {row.number} {row.state}: {self.metric} {show(value)}{leader} {chosen}"

    def table(self, rows: Sequence[TrialRow]) -> Table:
        """Make the table of the newest trials and the best."""
        best = best_trial(rows)
        table = Table(title=f"{len(rows)} of {self.n_trials} trials: {count_states(rows)}", title_justify="left")
        for name in ("trial", "state", self.metric, "reported", *self.options):
            table.add_column(name, justify="left" if name == "state" else "right")
        shown = list(rows[-MOST_ROWS:])
        if best is not None and best not in shown:
            shown.insert(0, best)
        for row in shown:
            value = row.value if row.value is not None else max(row.curve, default=None)
            cells = [str(row.number), row.state, show(value), str(len(row.curve))]
            cells += [show(row.point.get(option)) for option in self.options]
            table.add_row(*cells, style="bold" if row == best else "dim" if row.state in ("pruned", "failed") else None)
        return table
