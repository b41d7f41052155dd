"""The command tune (host)."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from curriculum_rec import config
from curriculum_rec.commands.printing import print_table
from curriculum_rec.commands.trials import Helpers, TrainHere, compose_train
from curriculum_rec.commands.trusting import trusted_packages
from curriculum_rec.errors import OptionError
from curriculum_rec.files import write_frame, write_text
from curriculum_rec.hydra_door import compose_command, search_places
from curriculum_rec.ranges import at_least, check_value
from curriculum_rec.reports import figures
from curriculum_rec.training.compilation import use_cache
from curriculum_rec.training.interrupt import Interrupted, InterruptGuard
from curriculum_rec.training.progress import check_mode
from curriculum_rec.training.run_directory import RunDirectory
from curriculum_rec.tuning import optuna_study
from curriculum_rec.tuning.best import experiment_text, mean_metrics_of
from curriculum_rec.tuning.board import TrialBoard
from curriculum_rec.tuning.page import tuning_page
from curriculum_rec.tuning.report import Findings, quality_table, summary, tuning_text
from curriculum_rec.tuning.search import Search, read_search
from curriculum_rec.tuning.space import words_of
from curriculum_rec.tuning.trials import TrialRow, best_trial, trial_frame
from curriculum_rec.tuning.worker import Worker, trial_folder, trial_words


class SearchInterrupted(Interrupted):
    """The search stopped at a person's wish; its argument is the command that goes on with it."""

    @property
    def advice(self) -> str:
        return str(self.args[0])


def tune(composed: DictConfig) -> None:
    """Search for the options by which an experiment's validation metric is highest."""
    data = config.to_data(composed)
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        raise OptionError("tune makes runs of its own: leave -m out, and use jobs=N for several processes")
    trusted = trusted_packages(data)
    check_value("jobs", data["jobs"], at_least(1))
    optuna_study.check_installed()
    figures.check_installed()
    space = _space_file(data["space"])
    changes = {name: data[name] for name in ("n_trials", "timeout", "seed")}
    search = read_search(space, words=tuple(data["overrides"]), **changes)
    folder = Path(data["study_dir"] or Path("runs") / "tune" / space.stem)
    if not (folder / optuna_study.FILE).exists():
        _check(search, folder, trusted)
    metric = str(_first_words(search)["evaluation"]["metric"])
    use_cache(data["compilation_cache"])
    study = optuna_study.OptunaStudy(folder, search)
    try:
        _work(study, metric, data, trusted)
    finally:
        rows = study.trials()
        found = _findings(study, rows, metric)
        study.close()
        _write(folder, found)
    if found.best:
        print_table(
            *quality_table(found), *summary(found), f"to train it: {found.train}", f"page: {folder}/tuning.html"
        )
    else:
        print("\n".join(summary(found)))


def _space_file(name: str) -> Path:
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise OptionError(f"space={name} does not exist")
        return path
    there = {file.stem: file for place in reversed(search_places()) for file in (place / "tuning").glob("*.yaml")}
    if name not in there:
        known = f"; there are: {', '.join(sorted(there))}" if there else ""
        raise OptionError(f"there is no experiments/tuning/{name}.yaml{known}; or name a file that ends in .yaml")
    return there[name]


def _first_words(search: Search) -> dict[str, Any]:
    fold = search.folds[0] if search.folds else ()
    return compose_train([*trial_words(search, search.space.complete({})), *fold])


def _check(search: Search, folder: Path, trusted: tuple[str, ...]) -> None:
    """Refuse a search before it begins: every option and choice of it must compose, and the data be there."""
    if folder.exists() and (not folder.is_dir() or any(not entry.name.startswith(".") for entry in folder.iterdir())):
        raise OptionError(f"study_dir={folder} holds other files: choose another folder")
    for fold in search.folds or ((),):
        config.build_experiment(
            compose_train([*trial_words(search, search.space.complete({})), *fold]), trusted=trusted
        ).read()
    for point in search.space.cover()[1:]:
        try:
            first = search.folds[0] if search.folds else ()
            config.build_experiment(compose_train([*trial_words(search, point), *first]), trusted=trusted)
        except OptionError as error:
            raise OptionError(
                f"the space has a point that cannot be trained, {' '.join(words_of(point))}: {error}"
            ) from error


def _work(study: optuna_study.OptunaStudy, metric: str, data: dict[str, Any], trusted: tuple[str, ...]) -> None:
    options = [entry.option for entry in study.search.space.entries]
    with (
        InterruptGuard() as guard,
        TrialBoard(metric, options, study.search.n_trials, check_mode(data["progress"])) as board,
    ):
        board.begin(study.trials())
        worker = Worker(
            study,
            TrainHere(data, trusted),
            stopped=lambda: guard.requested,
            changed=lambda: board.update(study.trials()),
        )
        try:
            with Helpers(study.folder, data["jobs"] - 1).at_work() as helpers:
                worker.work()
                helpers.wait(lambda: guard.requested, worker.changed)
            worker.work()  # what a helper left
        except Interrupted as stop:
            raise _interrupted() from stop
        if guard.requested:
            raise _interrupted()


def _interrupted() -> SearchInterrupted:
    return SearchInterrupted(shlex.join(["curriculum-rec", "tune", *HydraConfig.get().overrides.task]))


def _findings(study: optuna_study.OptunaStudy, rows: list[TrialRow], metric: str) -> Findings:
    best, search = best_trial(rows), study.search
    if best is None:
        return Findings(study.folder.name, search, metric, rows, {}, {}, "")
    place = study.folder / trial_folder(best.number)
    runs = [place / f"fold-{number}" for number in range(len(search.folds))] or [place]
    metrics = mean_metrics_of([RunDirectory(run) for run in runs])
    importances = study.importances()
    draft = Findings(study.folder.name, search, metric, rows, importances, metrics, "")
    train = _write_best(study.folder, trial_words(search, best.point), draft)
    return Findings(study.folder.name, search, metric, rows, importances, metrics, train)


def _write_best(folder: Path, words: list[str], found: Findings) -> str:
    """Write the best trial as an experiment, make sure that it is the same one, and give the command that trains it."""
    in_words = shlex.join(["curriculum-rec", "train", *words])
    file = folder / "experiment" / "best.yaml"
    by_file = f"curriculum-rec train --config-dir={folder} experiment=best"
    composed, choices = compose_command("train", words)
    data = config.absolute_paths(config.to_data(composed))
    alone = [f"{group}={choice}" for group, choice in choices.items() if group != "experiment"]
    plain: Any = OmegaConf.to_container(compose_command("train", alone)[0], resolve=True)
    comment = ["The best trial of a search.", *summary(found), "", f"  {by_file}", "", "which is", "", f"  {in_words}"]
    try:
        write_text(file, experiment_text(data, plain, choices, comment))
        again = config.to_data(compose_command("train", ["experiment=best"], place=folder.absolute())[0])
        same = config.config_hash(config.absolute_paths(again)) == config.config_hash(data)
    except OptionError:
        same = False
    if not same:  # such as one without a part that its choices have
        file.unlink(missing_ok=True)
    return by_file if same else in_words


def _write(folder: Path, found: Findings) -> None:
    write_frame(folder / "trials.csv", trial_frame(found.rows, found.options, found.metric))
    write_text(folder / "tuning.md", tuning_text(found))
    write_text(folder / "tuning.html", tuning_page(found))
