"""How the command tune trains a trial, and has other processes help (host)."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax

from curriculum_rec import config
from curriculum_rec.commands.training import make_runner, score_of
from curriculum_rec.errors import RunError
from curriculum_rec.files import write_text
from curriculum_rec.hydra_door import compose_command
from curriculum_rec.training.run_directory import RunDirectory
from curriculum_rec.training.runner import Watch
from curriculum_rec.tuning.worker import Outcome

POLL_SECONDS = 0.2


def compose_train(words: Sequence[str]) -> dict[str, Any]:
    """Compose what ``curriculum-rec train`` would train by these words."""
    return config.absolute_paths(config.to_data(compose_command("train", words)[0]))


@dataclass(frozen=True)
class TrainHere:
    """Trains a run in this process, as ``curriculum-rec train on_existing=resume`` would.

    A process of its own for every run would load and compile everything anew, and one that outlives a killed search
    would have to be found again. So a run that takes its process down with it takes the search down, too: the same
    command goes on with both.

    Args:
        given: Options of the command, among them ``score_cache``.
        trusted: Packages that ``_target_`` may name.
    """

    given: dict[str, Any]
    trusted: tuple[str, ...]

    def __call__(self, directory: Path, words: Sequence[str], watch: Watch | None) -> Outcome:
        """Train.

        Raises:
            Interrupted: A signal came.
            CurriculumRecError: The run failed.
        """
        run = RunDirectory(directory)
        data = compose_train(words) | {"run_dir": str(directory.absolute()), "progress": "none"}
        if run.config.is_file():
            if config.config_hash(config.config_of_run(run)) != config.config_hash(data):
                raise RunError(f"{directory} holds a run with another configuration")
            if run.summary.is_file():
                return _outcome(run.read_summary())
        experiment = config.build_experiment(data, trusted=self.trusted)
        dataset = experiment.read()
        runner = make_runner(
            experiment, dataset, run, self.given, config.config_hash(data), progress="none", watch=watch
        )
        if run.config.is_file():
            run.lock()
        else:
            runner.check()
            shutil.rmtree(directory, ignore_errors=True)  # what a process left that ended before there was a run
            run.create("refuse")
            write_text(run.config, config.config_text(data))
        try:
            return _outcome(runner.run())
        finally:
            run.unlock()
            jax.clear_caches()  # each trial compiles its own programs, and a search has many trials


def _outcome(summary: dict[str, Any]) -> Outcome:
    return Outcome(score_of(summary), float(summary["train_seconds"]))


@dataclass
class Helpers:
    """Further processes of the same command, which do not outlive it.

    Args:
        folder: Of the study; what each of them prints lies there.
        n: How many.
    """

    folder: Path
    n: int
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list, init=False)

    @contextmanager
    def at_work(self) -> Iterator[Helpers]:
        """Start them, and have them stop after a checkpoint where the block ends before they do."""
        # Hydra's own words, as hydra_door put them: a flag may be among them.
        words = [word for word in sys.argv[1:] if not word.startswith(("jobs=", "progress="))]
        try:
            for number in range(1, self.n + 1):
                with (self.folder / f"process-{number}.log").open("ab") as log:
                    command = [sys.executable, "-m", "curriculum_rec.launched", "tune", *words, "jobs=1"]
                    # A session of its own, so that Ctrl-C reaches it through this process alone.
                    process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)  # noqa: S603
                    self._processes.append(process)
            yield self
        finally:
            for process in self._processes:
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
            for process in self._processes:
                process.wait()

    def wait(self, stopped: Callable[[], bool], changed: Callable[[], None]) -> None:
        """Wait until they end or a person does not want to wait any more.

        Raises:
            RunError: One failed.
        """
        ticks = 0
        while not stopped() and any(process.poll() is None for process in self._processes):
            time.sleep(POLL_SECONDS)
            ticks += 1
            if ticks % 10 == 0:
                changed()
        for number, process in enumerate(self._processes, 1):
            if process.returncode and not stopped():
                log = self.folder / f"process-{number}.log"
                last = (log.read_text(errors="replace").strip().split("\n") or [""])[-1]
                raise RunError(f"process {number} ended with {process.returncode}, see {log}: {last}")
