"""The way through Optuna (host): a study in an SQLite file, which processes share, and from which they go on.

Optuna advises against SQLite for several processes, whose transactions would wait for each other in vain. Here only the
holder of a file lock talks to the database, for a moment each time. A second lock a trial says that somebody works on
it; the system takes it back when that process ends, however it ends, so that an abandoned trial is known at once, and
whoever comes next goes on with it: the same trial, the same folder. Optuna's heartbeats would tell that a minute
later, and would count the trial twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import qmc

from curriculum_rec.errors import OptionError, RunError
from curriculum_rec.locks import FileLock
from curriculum_rec.streams import host_stream
from curriculum_rec.tuning.search import Search, check_same
from curriculum_rec.tuning.space import Choices, IntRange, Point, Range
from curriculum_rec.tuning.trials import State, TrialRow

FILE, NAME = "study.db", "study"
BUSY_SECONDS = 60
"""How long to wait for a reader that knows nothing of our lock."""
MOST_ATTEMPTS = 3
IDENTITY, ATTEMPTS, SECONDS, REASON = "identity", "attempts", "seconds", "reason"
STATES: dict[str, State] = {
    "WAITING": "waiting",
    "RUNNING": "running",
    "COMPLETE": "done",
    "PRUNED": "pruned",
    "FAIL": "failed",
}


def check_installed() -> None:
    """Look for Optuna, before anything is computed in vain.

    Raises:
        OptionError: It is not installed.
    """
    if find_spec("optuna") is None:
        raise OptionError("tuning needs Optuna: pip install 'curriculum-rec[tune]'")


def _optional() -> tuple[Any, Any]:
    check_installed()
    import optuna  # noqa: PLC0415 - optional
    import sqlalchemy  # noqa: PLC0415 - what Optuna keeps studies by

    return optuna, sqlalchemy


@dataclass
class Claim:
    """A trial that this process works on.

    Attributes:
        number: Of the trial.
        point: What was chosen.
        reported: How many values were reported of it.
        trial: Optuna's.
        lock: Ours as long as we work on it.
    """

    number: int
    point: Point
    reported: int
    trial: Any = field(repr=False)
    lock: FileLock = field(repr=False)


class OptunaStudy:
    """A study in a folder.

    Args:
        folder: Where; it is made if there is none.
        search: The search.

    Raises:
        OptionError: Optuna is not installed.
        RunError: The folder holds a study of another search, or its file is damaged.
    """

    def __init__(self, folder: Path, search: Search) -> None:
        optuna, sqlalchemy = _optional()
        self._optuna, self.folder, self.search = optuna, folder, search
        optuna.logging.set_verbosity(optuna.logging.CRITICAL)  # the program tells of trials itself
        self._lock = FileLock(folder / ".lock")
        self._broken = (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError)
        with self._alone():
            self._storage = optuna.storages.RDBStorage(
                f"sqlite:///{(folder / FILE).absolute()}", engine_kwargs={"connect_args": {"timeout": BUSY_SECONDS}}
            )
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=NAME,
                direction="maximize",
                pruner=_pruner(optuna, search),
                sampler=_sampler(optuna, search, 0),
                load_if_exists=True,
            )
            known = self._study.user_attrs.get(IDENTITY)
            if known is None:
                self._study.set_user_attr(IDENTITY, search.identity)
        if known is not None:
            check_same(search, known, folder)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except self._broken as error:
                reason = str(error.__cause__ or error).split("\n")[0]
                raise RunError(f"{self.folder / FILE} cannot be used: {reason}") from error

    def close(self) -> None:
        """Let go of the file."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def claim(self, *, new: bool) -> Claim | None:
        """Take a trial to work on: an abandoned one, else a new one.

        Args:
            new: Whether a new one may be begun.

        Returns:
            The trial, or None where all are taken or ended.
        """
        with self._alone():
            trials = self._study.get_trials(deepcopy=False)
            for trial in trials:
                if trial.state.name == "RUNNING" and (claim := self._take(trial.number, trial._trial_id)):  # noqa: SLF001 - Optuna has no public way back to a trial
                    return claim
            waiting = [trial for trial in trials if trial.state.name == "WAITING"]
            number = waiting[0].number if waiting else len(trials)
            if not new or number >= self._limit:
                return None
            if not waiting and (planned := self._planned(number)) is not None:
                self._study.enqueue_trial(planned)
            begun = self._study.ask()
            return self._take(begun.number, begun._trial_id)  # noqa: SLF001

    @property
    def _limit(self) -> int:
        if self.search.sampler.name != "grid":
            return self.search.n_trials
        return min(self.search.n_trials, len(self.search.space.grid()))

    def _planned(self, number: int) -> Point | None:
        """Give the point of a trial that does not depend on what came of others; None where a sampler decides."""
        space = self.search.space
        if self.search.sampler.name == "grid":
            return space.grid()[number]
        if self.search.sampler.name == "qmc":
            stream = host_stream(self.search.seed, "tuning points")
            sequence = qmc.Sobol(len(space.entries), rng=stream)
            if number:  # fast_forward(0) fails
                sequence.fast_forward(number)
            return space.at(np.minimum(sequence.random()[0], np.nextafter(1.0, 0.0)).tolist())
        return None

    def _take(self, number: int, trial_id: int) -> Claim | None:
        lock = FileLock(self.folder / ".locks" / f"{number:04}")
        if not lock.acquire(wait=False):
            return None
        self._study.sampler = _sampler(self._optuna, self.search, number)
        trial = self._optuna.trial.Trial(self._study, trial_id)
        attempts = trial.user_attrs.get(ATTEMPTS, 0) + 1
        trial.set_user_attr(ATTEMPTS, attempts)
        point: Point = {}
        for entry in self.search.space.entries:
            if entry.active(point):
                point[entry.option] = _suggest(trial, entry.option, entry.values)
        claim = Claim(
            number, point, len(self._study.get_trials(deepcopy=False)[number].intermediate_values), trial, lock
        )
        if attempts > MOST_ATTEMPTS:
            self._end(claim, state="FAIL", reason=f"its process died {MOST_ATTEMPTS} times")
            return None
        return claim

    def report(self, claim: Claim, value: float) -> None:
        """Report the next value of a trial's curve."""
        with self._alone():
            claim.trial.report(value, claim.reported)
            claim.reported += 1

    def should_prune(self, claim: Claim) -> bool:
        """Whether a trial should be stopped, judged by what was reported of it and the others."""
        with self._alone():
            return claim.reported > 0 and bool(claim.trial.should_prune())

    def finish(self, claim: Claim, value: float, seconds: float) -> None:
        """Write down the value of a trial."""
        with self._alone():
            self._end(claim, value=value, seconds=seconds)

    def prune(self, claim: Claim) -> None:
        """Write down that a trial was stopped."""
        with self._alone():
            self._end(claim, state="PRUNED")

    def fail(self, claim: Claim, reason: str) -> None:
        """Write down why a trial failed."""
        with self._alone():
            self._end(claim, state="FAIL", reason=reason)

    def leave(self, claim: Claim) -> None:
        """Leave a trial to whoever comes next."""
        with self._alone():
            claim.trial.set_user_attr(ATTEMPTS, claim.trial.user_attrs[ATTEMPTS] - 1)  # nobody died
        claim.lock.release()

    def _end(
        self,
        claim: Claim,
        *,
        value: float | None = None,
        state: str | None = None,
        seconds: float | None = None,
        reason: str | None = None,
    ) -> None:
        trial = claim.trial
        for name, fact in ((SECONDS, seconds), (REASON, reason)):
            if fact is not None:
                trial.set_user_attr(name, fact)
        self._study.tell(trial, value, state=None if state is None else self._optuna.trial.TrialState[state])
        claim.lock.release()

    def trials(self) -> list[TrialRow]:
        """Give all trials, of other processes too, in order."""
        with self._alone():
            return [self._row(trial) for trial in self._study.get_trials(deepcopy=False)]

    def _row(self, trial: Any) -> TrialRow:
        done = trial.state.name == "COMPLETE"
        return TrialRow(
            trial.number,
            STATES[trial.state.name],
            trial.value if done else None,
            {
                entry.option: trial.params[entry.option]
                for entry in self.search.space.entries
                if entry.option in trial.params
            },
            tuple(value for _, value in sorted(trial.intermediate_values.items())),
            trial.user_attrs.get(SECONDS),
            trial.user_attrs.get(REASON),
        )

    def importances(self) -> dict[str, float]:
        """Say how much of what good trials have in common lies in each option, shares that add up to 1.

        Returns:
            By option, the greatest first; nothing where too few trials are finished.

        Source: Watanabe, Bansal and Hutter (2023), PED-ANOVA.
        """
        with self._alone():
            done = self._study.get_trials(deepcopy=False, states=(self._optuna.trial.TrialState.COMPLETE,))
            if len(done) < 4 or len({trial.value for trial in done}) == 1:
                return {}
            return self._optuna.importance.get_param_importances(self._study)


def _suggest(trial: Any, option: str, values: Range) -> float | int | str:
    if isinstance(values, Choices):
        return trial.suggest_categorical(option, values.words)
    if isinstance(values, IntRange):
        return trial.suggest_int(option, values.low, values.high, log=values.log, step=values.step)
    return trial.suggest_float(option, values.low, values.high, log=values.log, step=values.step)


def _sampler(optuna: Any, search: Search, number: int) -> Any:
    """Make the sampler of one trial: its draws depend on the seed, the number and the trials before, on no process."""
    seed = int(host_stream(search.seed, "tuning", number).integers(2**31))
    if search.sampler.name == "tpe":
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=search.sampler.options["startup_trials"])
    return optuna.samplers.RandomSampler(seed=seed)


def _pruner(optuna: Any, search: Search) -> Any:
    options, pruners = search.pruner.options, optuna.pruners
    if search.pruner.name == "median":
        return pruners.MedianPruner(
            n_startup_trials=options["startup_trials"], n_warmup_steps=options["warmup_evaluations"]
        )
    if search.pruner.name == "halving":
        return pruners.SuccessiveHalvingPruner(
            min_resource=options["warmup_evaluations"], reduction_factor=options["reduction_factor"]
        )
    if search.pruner.name == "hyperband":
        return pruners.HyperbandPruner(
            min_resource=options["warmup_evaluations"], reduction_factor=options["reduction_factor"]
        )
    return pruners.NopPruner()
