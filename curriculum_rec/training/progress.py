"""What a person sees while a run goes on (host): a bar in a terminal, a line an evaluation elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
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
    """How fast a stage is trained, its first chunk, which compiles, not counted.

    Args:
        clock: Tells seconds.
    """

    clock: Callable[[], float] = time.perf_counter
    _first: tuple[float, int] | None = field(default=None, init=False)
    _last: tuple[float, int] | None = field(default=None, init=False)
    _trained: tuple[float, float] = field(default=(0.0, 0.0), init=False)
    _paused: bool = field(default=True, init=False)

    def begin(self) -> None:
        """Forget what was: a stage is another program."""
        self._first, self._last, self._trained, self._paused = None, None, (0.0, 0.0), True

    def pause(self) -> None:
        """Leave out of the speed, but not of the time that is left, what happens until the next chunk's end."""
        self._paused = True

    def add(self, step: int, positions: float) -> None:
        """Take in a chunk.

        Args:
            step: Steps trained by its end.
            positions: Targets that it trained.
        """
        now = self.clock()
        if self._last is not None and not self._paused:
            self._trained = self._trained[0] + now - self._last[0], self._trained[1] + positions
        self._first, self._last, self._paused = self._first or (now, step), (now, step), False

    @property
    def positions_per_second(self) -> float | None:
        """Targets a second, evaluations aside; None before there are two chunks in a row."""
        seconds, positions = self._trained
        return positions / seconds if seconds > 0 else None

    def seconds_left(self, steps: int) -> float | None:
        """Say how long so many steps will take, evaluations among them; None before the second chunk."""
        if self._first is None or self._last is None or self._last[1] == self._first[1]:
            return None
        return steps * (self._last[0] - self._first[0]) / (self._last[1] - self._first[1])


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
        self._speed.pause()
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
        facts += [] if rate is None else [f"{rate:,.0f} positions/s"]
        facts += [] if left is None else [f"{timedelta(seconds=round(left))} left"]
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
