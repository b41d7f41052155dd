"""Runs as processes of this machine (host), so many at a time, each on cores of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from curriculum_rec.ranges import at_least, check_ranges
from curriculum_rec.studies.grid import PlannedRun
from curriculum_rec.studies.ledger import State

POLL_SECONDS = 0.2
Tell = Callable[[PlannedRun, State, str | None], None]
"""Is told how a run stands now, and why it failed."""


@dataclass(frozen=True)
class Processes:
    """Trains runs in processes of their own.

    A run that is killed, for want of memory say, takes no other with it. Several at a time share the machine's cores
    out among them, since runs that fight for the same ones are slower together than one after the other.

    Args:
        jobs: Runs at a time.
        stop_on_failure: Whether no run is begun after one has failed.
    """

    jobs: int = 1
    stop_on_failure: bool = False

    def __post_init__(self) -> None:
        check_ranges(self, "", {"jobs": at_least(1)})

    def train(self, runs: Sequence[PlannedRun], tell: Tell) -> None:
        """Train runs to their ends.

        Args:
            runs: In the order in which they shall begin; one that waits for another begins once that is finished.
            tell: Is told what becomes of each.

        Raises:
            KeyboardInterrupt: Ctrl-C or SIGTERM; the runs have taken their checkpoints and ended.
        """
        work = _Work(list(runs), _shares_of_cores(self.jobs), tell)
        with _termination_interrupts():
            try:
                while work.waiting or work.running:
                    work.begin_what_is_ready()
                    time.sleep(POLL_SECONDS)
                    if work.end_what_has_ended() and self.stop_on_failure:
                        work.waiting.clear()
            except BaseException:
                work.stop()
                raise


@dataclass
class _Work:
    waiting: list[PlannedRun]
    cores: list[set[int] | None]
    tell: Tell
    running: dict[subprocess.Popen[bytes], tuple[PlannedRun, set[int] | None]] = field(default_factory=dict)

    def begin_what_is_ready(self) -> None:
        unfinished = {run.name for run in self.waiting} | {run.name for run, _ in self.running.values()}
        for run in list(self.waiting):
            if self.cores and run.after not in unfinished:
                self.waiting.remove(run)
                cores = self.cores.pop()
                self.running[start(run, cores)] = run, cores
                self.tell(run, "running", None)

    def end_what_has_ended(self) -> bool:
        """Say whether a run failed."""
        failed = False
        for process in [process for process in self.running if process.poll() is not None]:
            run, cores = self.running.pop(process)
            self.cores.append(cores)
            if process.returncode == 0:
                self.tell(run, "finished", None)
            else:
                failed = True
                self._fail(run, reason(run, process.returncode))
        return failed

    def _fail(self, run: PlannedRun, why: str) -> None:
        self.tell(run, "failed", why)
        for other in [other for other in self.waiting if other.after == run.name]:
            self.waiting.remove(other)
            self._fail(other, f"it comes after {run.name}, which failed")

    def stop(self) -> None:
        for process in self.running:
            process.send_signal(signal.SIGTERM)
        for process, (run, _) in self.running.items():
            process.wait()
            self.tell(run, "finished" if process.returncode == 0 else "interrupted", None)


def start(run: PlannedRun, cores: set[int] | None) -> subprocess.Popen[bytes]:
    """Begin or go on with a run, which Ctrl-C reaches only through this process."""
    directory = run.directory.absolute()
    directory.parent.mkdir(parents=True, exist_ok=True)
    words = [*run.words, f"run_dir={directory}", "on_existing=resume", "progress=none"]
    with log_of(directory).open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - the words are options of our own program
            [sys.executable, "-m", "curriculum_rec.launched", "train", *words],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    if cores is not None:
        os.sched_setaffinity(process.pid, cores)
    return process


def log_of(directory: Path) -> Path:
    """Name the file of what a run printed, beside its folder."""
    return directory.with_name(f"{directory.name}.log")


def reason(run: PlannedRun, code: int) -> str:
    """Say in a sentence why a run's process failed."""
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    lines = log_of(run.directory).read_text(errors="replace").strip().splitlines() or ["it printed nothing"]
    # The end of a traceback is not always its error: JAX has a line of its own after it.
    errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Interrupt)\b", line)]
    last = lines[-1] if lines[-1].startswith("curriculum-rec: ") or not errors else errors[-1]
    return last.removeprefix("curriculum-rec: ")


def _shares_of_cores(jobs: int) -> list[set[int] | None]:
    """Share the cores out, each share for a job; None where they are too few, or the system has no way to say it."""
    if jobs == 1 or not hasattr(os, "sched_setaffinity"):
        return [None] * jobs
    cores = sorted(os.sched_getaffinity(0))
    return [set(cores[job::jobs]) or None for job in range(jobs)]


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Have SIGTERM end the study as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
