"""What a person sees while a run goes on (host): a bar in a terminal, a line an evaluation elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, get_args

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import check_value, one_of

Mode = Literal["auto", "rich", "plain", "none"]
"""A bar, lines without control characters, nothing but the result; ``auto`` is a bar in a terminal and lines else."""


@dataclass
class Speed:
    """How fast a run is, over its last chunks; the first chunk of a stage, which compiles, does not count.

    Args:
        window: So many chunks.
    """

    window: int = 20
    _marks: list[tuple[float, int, float]] = field(default_factory=list, init=False)

    def begin(self) -> None:
        """Forget what was: a stage is another program."""
        self._marks = []

    def add(self, step: int, positions: float) -> None:
        """Take in a chunk.

        Args:
            step: Steps trained by its end.
            positions: Targets that it trained.
        """
        before = self._marks[-1][2] if self._marks else 0.0
        self._marks = [*self._marks[-self.window :], (time.perf_counter(), step, before + positions)]

    @property
    def positions_per_second(self) -> float | None:
        """Targets a second; None before the second chunk."""
        return self._rate(2)

    def seconds_left(self, steps: int) -> float | None:
        """Say how long so many steps will take; None before the second chunk."""
        rate = self._rate(1)
        return steps / rate if rate else None

    def _rate(self, place: int) -> float | None:
        if len(self._marks) < 2:
            return None
        first, last = self._marks[0], self._marks[-1]
        return (last[place] - first[place]) / max(last[0] - first[0], 1e-9)


@dataclass
class RunProgress:
    """Progress of one run on standard error.

    Args:
        total_steps: Steps of the whole run; 0 where only teachers are trained.
        mode: How it is shown.
        n_stages: Stages of the run.
    """

    total_steps: int
    mode: Mode = "auto"
    n_stages: int = 1
    console: Console = field(default_factory=lambda: Console(stderr=True))
    _bar: Progress | None = field(default=None, init=False)
    _teacher: TaskID | None = field(default=None, init=False)
    _speed: Speed = field(default_factory=Speed, init=False)
    _facts: dict[str, str] = field(default_factory=dict, init=False)

    def __enter__(self) -> RunProgress:  # noqa: PYI034 - run-time type checks cannot follow Self
        if self.mode == "rich" or (self.mode == "auto" and self.console.is_terminal):
            if not self.console.is_terminal:
                self.console = Console(stderr=True, force_terminal=True)
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=20),
                TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
                TextColumn("{task.fields[state]}", markup=False),
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

    def stage(self, name: str, depth: int | None, step: int, *, number: int = 1) -> None:
        """Announce a stage, the run's first being number 1."""
        described = f"stage {number}/{self.n_stages} {name}"
        self._facts = {"stage": described} | ({} if depth is None else {"depth": f"depth {depth}"})
        self._speed.begin()
        if self._bar is not None:
            self._bar.update(self._task, description=described, completed=step, state="compiling")
        self.say(f"step {step:,}: {', '.join(self._facts.values())}")

    def chunk(self, step: int, loss: float, share: float) -> None:
        """Show how far training is."""
        self._facts |= {"share": f"share {share:.2f}", "loss": f"loss {loss:.4f}"}
        if self._bar is not None:
            self._bar.update(self._task, completed=step, state=self._state(step))

    def trained(self, step: int, positions: float) -> None:
        """Take in how many targets a chunk trained."""
        self._speed.add(step, positions)

    def teacher(self, step: int, total: int, loss: float) -> None:
        """Show how far the training of a teacher is."""
        if self._bar is not None:
            if self._teacher is None:
                self._teacher = self._bar.add_task("teacher", total=total, state="")
            state = f"loss {loss:.4f}"
            self._bar.update(self._teacher, completed=step, total=total, state=state, visible=step < total)

    def evaluation(self, step: int, metrics: Mapping[str, float], metric: str, *, best: bool) -> None:
        """Show an evaluation: a line of its own, and from then on a part of the bar."""
        value = f"{metric} {metrics[metric]:.4f}"
        self._facts["metric"] = value
        if self._bar is None:
            total = f"/{self.total_steps:,}" if self.total_steps else ""
            line = f"step {step:,}{total}  {self._facts.get('stage', '')}  {self._state(step)}"
            self.say(line + ("  (best so far)" if best else ""))
        else:
            self._bar.update(self._task, state=self._state(step))
            self.say(f"step {step:,}: validation {value}" + (" (best so far)" if best else ""))

    def say(self, text: str) -> None:
        """Print a line."""
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        elif self.mode != "none":
            print(text, file=sys.stderr, flush=True)

    def _state(self, step: int) -> str:
        """Put the facts, the speed and the time left into a line."""
        facts = [value for name, value in self._facts.items() if name != "stage"]
        rate, left = self._speed.positions_per_second, self._speed.seconds_left(max(self.total_steps - step, 0))
        if rate is not None and left is not None:
            facts += [f"{rate:,.0f} positions/s", f"{timedelta(seconds=round(left))} left"]
        return "  ".join(facts)


def check_mode(value: str) -> Mode:
    """Check the option ``progress``.

    Raises:
        OptionError: There is no such way to show progress.

    >>> check_mode("plain")
    'plain'
    """
    now = {"true": "auto", "false": "none"}.get(value.lower())
    if now is not None:
        there = ", ".join(get_args(Mode))
        raise OptionError(f"progress={value.lower()} is written progress={now} now; there are {there}")
    check_value("progress", value, one_of(*get_args(Mode)))
    return value  # type: ignore[return-value]
