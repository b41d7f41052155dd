"""What a person sees while a run goes on (host): a bar in a terminal, a line an evaluation elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


@dataclass
class RunProgress:
    """Progress of one run on standard error.

    Args:
        total_steps: Steps of the whole run; 0 where only teachers are trained.
        show: Whether anything is shown.
    """

    total_steps: int
    show: bool = True
    console: Console = field(default_factory=lambda: Console(stderr=True))
    _bar: Progress | None = field(default=None, init=False)
    _teacher: TaskID | None = field(default=None, init=False)

    def __enter__(self) -> RunProgress:  # noqa: PYI034 - run-time type checks cannot follow Self
        if self.show and self.console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[state]}"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self._task = self._bar.add_task(
                "train", total=self.total_steps, state="compiling", visible=self.total_steps > 0
            )
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def stage(self, name: str, depth: int | None, step: int) -> None:
        """Announce a stage."""
        if self._bar is not None:
            self._bar.update(self._task, description=name, completed=step)
        self.say(f"step {step}: stage '{name}'" + ("" if depth is None else f", depth {depth}"))

    def chunk(self, step: int, loss: float, share: float) -> None:
        """Show how far training is."""
        if self._bar is not None:
            self._bar.update(self._task, completed=step, state=f"loss {loss:.4f}  share {share:.2f}")

    def teacher(self, step: int, total: int, loss: float) -> None:
        """Show how far the training of a teacher is."""
        if self._bar is not None:
            if self._teacher is None:
                self._teacher = self._bar.add_task("teacher", total=total, state="")
            state = f"loss {loss:.4f}"
            self._bar.update(self._teacher, completed=step, total=total, state=state, visible=step < total)

    def evaluation(self, step: int, metrics: Mapping[str, float], metric: str, *, best: bool) -> None:
        """Show an evaluation."""
        self.say(f"step {step}: validation {metric} {metrics[metric]:.4f}" + (" (best so far)" if best else ""))

    def say(self, text: str) -> None:
        """Print a line."""
        if self.show:
            (self._bar.console if self._bar is not None else self.console).print(text, highlight=False, markup=False)
