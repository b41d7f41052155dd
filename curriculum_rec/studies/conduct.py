"""A study from its plan to its last run (host): what is finished is left alone, the rest is begun or gone on with."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from curriculum_rec.errors import RunError
from curriculum_rec.locks import FileLock
from curriculum_rec.studies.grid import PlannedRun
from curriculum_rec.studies.ledger import Ledger, State, state_of
from curriculum_rec.studies.processes import Processes
from curriculum_rec.studies.watch import Watch
from curriculum_rec.training.progress import Mode

OnFailure = Literal["continue", "stop"]
Launch = Callable[[Sequence[Sequence[str]]], Sequence[str | None]]
"""Has a launcher train runs, given the words of each, and says why each failed, None if it did not."""

LEDGER = "ledger.json"
LOOK_EVERY_SECONDS = 2.0


@dataclass(frozen=True)
class Conductor:
    """Trains the runs of a study.

    Attributes:
        root: The folder of the whole study.
        metric: What is shown of the quality.
        jobs: Runs at a time as processes of this machine.
        launch: A launcher that takes their place.
        on_failure: Whether the others go on when a run fails.
        progress: How it is shown.
    """

    root: Path
    metric: str
    jobs: int = 1
    launch: Launch | None = None
    on_failure: OnFailure = "continue"
    progress: Mode = "auto"

    def conduct(self, runs: Sequence[PlannedRun]) -> Ledger:
        """Train what is not finished.

        Args:
            runs: All runs, in the order in which they shall begin.

        Returns:
            How every run stands.

        Raises:
            RunError: Another process conducts this study, or a folder holds a run of another configuration.
            KeyboardInterrupt: It was interrupted; the same call goes on.
        """
        with _alone(self.root):
            ledger = Ledger.read(self.root / LEDGER)
            ledger.plan(runs)
            open_runs = [run for run in runs if ledger.entries[run.name].state != "finished"]
            with Watch(list(runs), ledger, self.metric, self.progress) as watch:
                _wait_for_orphans(open_runs)
                if self.launch is None:
                    pool = Processes(self.jobs, stop_on_failure=self.on_failure == "stop")
                    pool.train(open_runs, watch.tell)
                else:
                    self._launch(self.launch, open_runs, watch)
        return ledger

    def _launch(self, launch: Launch, runs: Sequence[PlannedRun], watch: Watch) -> None:
        for batch in batches(runs, by_seed=self.on_failure == "stop"):
            with _looking(batch, watch):
                reasons = launch([launched_words(run) for run in batch])
            for run, why in zip(batch, reasons, strict=True):
                stands = state_of(run)
                state: State = "failed" if why is not None and stands != "finished" else stands
                if state != watch.ledger.entries[run.name].state:
                    watch.tell(run, state, why if state == "failed" else None)
            if self.on_failure == "stop" and any(why is not None for why in reasons):
                return


def launched_words(run: PlannedRun) -> list[str]:
    """Give the words of a run for a launcher, which names its folder in a way of its own."""
    return [*run.words, "on_existing=resume", "progress=none", f"hydra.sweep.subdir={run.name}"]


def batches(runs: Sequence[PlannedRun], *, by_seed: bool) -> Iterator[list[PlannedRun]]:
    """Cut runs into lists that can be launched together: none of a list waits for another one of it.

    Args:
        runs: What is to be launched.
        by_seed: Whether a list holds no two seeds either.
    """
    waiting = list(runs)
    while waiting:
        names = {run.name for run in waiting}
        ready = [run for run in waiting if run.after not in names]
        batch = [run for run in ready if not by_seed or run.seed == ready[0].seed]
        if not batch:
            raise RunError(f"runs wait for each other in a circle: {', '.join(sorted(names)[:4])}")
        yield batch
        taken = {run.name for run in batch}
        waiting = [run for run in waiting if run.name not in taken]


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Keep a second process out of a study."""
    lock = FileLock(root / ".lock")
    if not lock.acquire(wait=False):
        raise RunError(f"another process conducts the study in {root}: wait for it")
    try:
        yield
    finally:
        lock.release()


def _wait_for_orphans(runs: Sequence[PlannedRun], *, seconds: float = 60) -> None:
    """Wait for runs of a process that was killed, which are taking their last checkpoints."""
    until = time.monotonic() + seconds
    while any(state_of(run) == "running" for run in runs):
        if time.monotonic() > until:
            raise RunError("runs of this study are trained by another process: wait for it, or end it")
        time.sleep(0.5)


@contextmanager
def _looking(runs: Sequence[PlannedRun], watch: Watch) -> Iterator[None]:
    """Look now and then how launched runs stand, while the launcher waits for their ends."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_EVERY_SECONDS):
            for run in runs:
                if (state := state_of(run)) != watch.ledger.entries[run.name].state:
                    watch.tell(run, state, None)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
