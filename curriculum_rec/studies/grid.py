"""The runs of a study (host): where each is kept, and what it is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from curriculum_rec.errors import OptionError
from curriculum_rec.studies.study import Study

Hashes = Callable[[Sequence[str], Sequence[int]], Sequence[str]]
"""Composes words for ``curriculum-rec train`` and gives the hash of the configuration under each seed."""


@dataclass(frozen=True)
class Place:
    """Data under a condition.

    Attributes:
        data: Name of the data set.
        condition: Name of the condition.
    """

    data: str
    condition: str


@dataclass(frozen=True)
class PlannedRun:
    """One run of a study.

    Attributes:
        root: The folder of the whole study.
        place: Its data.
        arm: Name of its arm.
        seed: The seed by which it is paired.
        words: What ``curriculum-rec train`` is told, but for where the run is kept.
        config_hash: Identifies the configuration that the words and the seed make.
        after: The name of the run that must be finished before, or None.
        fold: The fold that it tests; None where there are none.
    """

    root: Path
    place: Place
    arm: str
    seed: int
    words: tuple[str, ...]
    config_hash: str
    after: str | None = None
    fold: int | None = None

    @property
    def name(self) -> str:
        """Its folder below the study's."""
        return run_name(self.place, self.arm, self.seed, self.fold)

    @property
    def directory(self) -> Path:
        """The run directory."""
        return self.root / self.name


def run_name(place: Place, arm: str, seed: int, fold: int | None = None) -> str:
    """Name a run.

    >>> run_name(Place("ml100k", "clean"), "plain", 3)
    'ml100k/clean/plain/seed-3'
    >>> run_name(Place("ml100k", "clean"), "plain", 3, fold=0)
    'ml100k/clean/fold-0/plain/seed-3'
    """
    return f"{folder_of_arms(place, fold)}/{arm}/seed-{seed}"


def folder_of_arms(place: Place, fold: int | None) -> str:
    """Name the folder of all arms that have the same data."""
    return f"{place.data}/{place.condition}" + ("" if fold is None else f"/fold-{fold}")


@dataclass(frozen=True)
class Choice:
    """The part of a study that is run.

    Attributes:
        arms: Names of arms; None for all.
        seeds: Seeds; None for those of the study.
        data_sets: Names of data sets; None for all.
        conditions: Names of conditions; None for all.
        words: Words for every run.
        folds: Numbers of folds; None for all.
    """

    arms: Sequence[str] | None = None
    seeds: Sequence[int] | None = None
    folds: Sequence[int] | None = None
    data_sets: Sequence[str] | None = None
    conditions: Sequence[str] | None = None
    words: tuple[str, ...] = ()


def plan(
    study: Study, root: Path, *, folder: Path | None, hashes: Hashes, choice: Choice | None = None
) -> list[PlannedRun]:
    """List the runs, seed by seed, so that a study that was stopped early has whole seeds.

    Args:
        study: What is compared.
        root: The folder of the whole study.
        folder: Where the data sets lie; None where none has a path.
        hashes: Composes configurations.
        choice: The part that is run; None for all.

    Raises:
        OptionError: The choice names what the study has not, or the data have no folder.
    """
    chosen = choice or Choice()
    arms = _chosen(study.all_arms(), chosen.arms, "arms")
    data = _chosen(study.data, chosen.data_sets, "data_sets")
    conditions = _chosen(study.conditions, chosen.conditions, "conditions")
    seeds = tuple(study.seeds if chosen.seeds is None else chosen.seeds)
    folds = _folds(study, chosen.folds)
    runs: list[PlannedRun] = []
    for data_name, source in data.items():
        path = () if source.path is None else (f"data.path={_file(source.path, data_name, folder)}",)
        for (condition, differs), fold in product(conditions.items(), folds):
            place = Place(data_name, condition)
            beside = str((root / folder_of_arms(place, fold)).absolute())
            divided = () if fold is None else (f"split.folds={study.folds}", f"fold={fold}")
            for name, arm in arms.items():
                if arm.conditions is not None and condition not in arm.conditions:
                    continue
                own = tuple(_placed(word, beside, folder) for word in arm.options)
                words = (*source.options, *path, *differs, *study.options, *divided, *chosen.words, *own)
                own_seeds = [seed + arm.seed_offset for seed in seeds]
                runs += [
                    PlannedRun(
                        root,
                        place,
                        name,
                        seed,
                        (*words, f"seed={own_seed}"),
                        hash_,
                        None if arm.after is None else run_name(place, arm.after, seed, fold),
                        fold,
                    )
                    for seed, own_seed, hash_ in zip(seeds, own_seeds, hashes(words, own_seeds), strict=True)
                ]
    return sorted(runs, key=lambda run: seeds.index(run.seed))


def _chosen(there: Mapping[str, Any], names: Sequence[str] | None, option: str) -> Mapping[str, Any]:
    for name in names or ():
        if name not in there:
            raise OptionError(f"{option}: the study has no '{name}'; it has: {', '.join(there)}")
    return {name: there[name] for name in (there if names is None else names)}


def _folds(study: Study, numbers: Sequence[int] | None) -> Sequence[int | None]:
    if study.folds is None:
        if numbers is not None:
            raise OptionError(f"folds={list(numbers)}: the study has no folds")
        return (None,)
    for number in numbers or ():
        if not 0 <= number < study.folds:
            raise OptionError(f"folds: the study has no fold {number}; it has 0 to {study.folds - 1}")
    return range(study.folds) if numbers is None else numbers


def _placed(word: str, beside: str, folder: Path | None) -> str:
    if "{folder}" in word and folder is None:
        raise OptionError(f"an arm of the study has {word}: name the folder that holds the data, folder=DIR")
    return word.replace("{beside}", beside).replace("{folder}", str(folder and folder.absolute()))


def _file(path: str, data: str, folder: Path | None) -> str:
    if Path(path).is_absolute():
        return path
    if folder is None:
        raise OptionError(
            f"the data set '{data}' of the study lies in {path}: name the folder that holds it, folder=DIR"
        )
    found = folder / path
    if not found.exists():
        raise OptionError(f"folder={folder} has no {path}, where the data set '{data}' of the study lies")
    return str(found.absolute())
