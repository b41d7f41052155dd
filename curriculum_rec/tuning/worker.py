"""A worker (host): takes trials one after the other, trains them, and reports their validation curves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Protocol

from curriculum_rec.errors import CurriculumRecError, RunError
from curriculum_rec.training.interrupt import Interrupted
from curriculum_rec.training.runner import Watch
from curriculum_rec.tuning.optuna_study import Claim, OptunaStudy
from curriculum_rec.tuning.search import Search
from curriculum_rec.tuning.space import Value, words_of


class Pruned(Exception):  # noqa: N818 - no error: a run that is not worth its end
    """The run is worse than others were at this point; its argument is the run directory."""


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        value: The deciding validation metric at its best step.
        seconds: Of training.
    """

    value: float
    seconds: float


class Train(Protocol):
    """Trains a run, or goes on with it, in a folder."""

    def __call__(self, directory: Path, words: Sequence[str], watch: Watch | None) -> Outcome:
        """Train.

        Args:
            directory: The run directory; what lies there is a run by the same words.
            words: Those of ``curriculum-rec train``.
            watch: Told of evaluations; what it raises ends the run.
        """


@dataclass
class Worker:
    """Works on a study until it is done.

    Args:
        study: The study.
        train: Trains a run.
        stopped: Whether a person wants it to end; asked between trials.
        changed: Called whenever there is something new to see.
        clock: Gives seconds, for the timeout.
    """

    study: OptunaStudy
    train: Train
    stopped: Callable[[], bool] = lambda: False
    changed: Callable[[], None] = lambda: None
    clock: Callable[[], float] = time.monotonic
    _failures: int = field(default=0, init=False)

    @property
    def search(self) -> Search:
        """The study's search."""
        return self.study.search

    def work(self) -> None:
        """Take trials until all are taken, the time is over or a person stops it.

        Raises:
            Interrupted: A signal came while a trial was trained; whoever comes next goes on with it.
            RunError: Too many trials failed one after the other.
        """
        began, timeout = self.clock(), self.search.timeout
        while not self.stopped():
            in_time = timeout is None or self.clock() - began < timeout
            claim = self.study.claim(new=in_time)
            if claim is None:
                return
            self.changed()
            self._work_on(claim)
            self.changed()

    def _work_on(self, claim: Claim) -> None:
        try:
            outcome = self._train_folds(claim)
            self.study.finish(claim, outcome.value, outcome.seconds)
        except Pruned:
            self.study.prune(claim)
        except Interrupted:
            self.study.leave(claim)
            raise
        except (CurriculumRecError, MemoryError) as error:
            reason = str(error) or type(error).__name__
            self.study.fail(claim, reason)
            self._failures += 1
            if self._failures >= self.search.max_failures:
                last = f"the last one, {claim.number}, because: {reason}"
                raise RunError(f"{self._failures} trials failed one after the other, {last}") from error
            return
        finally:
            claim.lock.release()  # after a fault of the program, too, so that whoever comes next finds the trial
        self._failures = 0

    def _train_folds(self, claim: Claim) -> Outcome:
        folder, words = self.study.folder / trial_folder(claim.number), trial_words(self.search, claim.point)
        if not self.search.folds:
            return self.train(folder, words, self._watch(claim, folder))
        outcomes: list[Outcome] = []
        for number, fold in enumerate(self.search.folds):
            place = folder / f"fold-{number}"
            outcomes.append(self.train(place, [*words, *fold], None))
            if number >= claim.reported:
                self.study.report(claim, fmean(outcome.value for outcome in outcomes))
            self.changed()
            if number + 1 < len(self.search.folds) and self.study.should_prune(claim):
                raise Pruned(str(place))
        return Outcome(fmean(outcome.value for outcome in outcomes), sum(outcome.seconds for outcome in outcomes))

    def _watch(self, claim: Claim, folder: Path) -> Watch:
        def watch(curve: Sequence[float], over: bool) -> None:
            for value in curve[claim.reported :]:
                self.study.report(claim, value)
            self.changed()
            # Of a run that goes on, more may have been reported than its checkpoint knows: it comes there again.
            if not over and len(curve) == claim.reported and self.study.should_prune(claim):
                raise Pruned(str(folder))

        return watch


def trial_folder(number: int) -> Path:
    """Say where a trial is kept, in the study's folder."""
    return Path("trials") / f"{number:04}"


def trial_words(search: Search, point: Mapping[str, Value]) -> list[str]:
    """Give the words of ``curriculum-rec train`` for a point."""
    return [*search.base, *words_of(point)]
