"""Runs that no study planned (host): which of them are one arm, and what an arm is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curriculum_rec.errors import RunError
from curriculum_rec.flat_options import flat
from curriculum_rec.studies.folds import pool
from curriculum_rec.studies.grid import Place
from curriculum_rec.studies.results import Options, Result, Results
from curriculum_rec.training.run_directory import RunDirectory

DATA_PARTS = ("data", "cleaning", "split", "noise")
NO_PART = ("seed", "fold", "name", "run_dir", "progress", "on_existing", "compilation_cache", "score_cache", "profile",
           "distributed", "tracking", "trusted_packages", "compressed")  # fmt: skip
TARGET = "_target_"
Flat = Mapping[str, str]


def results_of_runs(
    directories: Sequence[RunDirectory], configs: Sequence[Mapping[str, Any]], *, metric: str | None = None
) -> Results:
    """Put finished runs together: those that differ by their seed alone are one arm, those on the same data one place.

    The runs of all folds of a seed are one result.

    Args:
        directories: The runs.
        configs: Their configurations.
        metric: What decides; None takes the first run's own.

    Raises:
        RunError: A run is not finished, two are of one arm and one seed, or runs of one place had different data.
    """
    runs = [flat(config, without=NO_PART) for config in configs]
    folds = [_fold(config) for config in configs]
    if len(set(folds)) > 1:
        runs = [{name: value for name, value in run.items() if name != "split.fold"} for run in runs]
    places = _names([{k: v for k, v in run.items() if k.split(".")[0] in DATA_PARTS} for run in runs], "data")
    arms = _names([{k: v for k, v in run.items() if k.split(".")[0] not in DATA_PARTS} for run in runs], "plain")
    found: dict[Place, dict[str, dict[tuple[int, int | None], Result]]] = {}
    for directory, config, place, arm, fold in zip(directories, configs, places, arms, folds, strict=True):
        of_arm = found.setdefault(Place(place, "all"), {}).setdefault(arm, {})
        run = Result(arm, int(config["seed"]), directory, fold)
        if (other := of_arm.setdefault((run.seed, fold), run)) is not run:
            raise RunError(f"{other.directory.path} and {directory.path} are the same arm and seed: name one of them")
    if len(set(folds)) > 1:
        n_folds = {Place(place, "all"): int(c["split"]["folds"]) for place, c in zip(places, configs, strict=True)}
        cells = {place: {arm: _pooled(runs, n_folds[place]) for arm, runs in c.items()} for place, c in found.items()}
    else:
        cells = {
            place: {arm: {r.seed: r for r in runs.values()} for arm, runs in c.items()} for place, c in found.items()
        }
    first = next(iter(cells.values()))
    deciding = metric or str(configs[0]["evaluation"]["metric"])
    cutoff = deciding.partition("@")[2]
    beside = (f"hr@{cutoff}",) if cutoff else ()
    options = Options(
        "How do these runs compare?", next(iter(first)), deciding, tuple(dict.fromkeys((*beside, deciding)))
    )
    return Results(options, cells, len(directories))


def _fold(config: Mapping[str, Any]) -> int | None:
    split = config.get("split")
    return split.get("fold") if isinstance(split, Mapping) and "folds" in split else None


def _pooled(runs: Mapping[tuple[int, int | None], Result], n_folds: int) -> dict[int, Result]:
    """Put an arm's folds together.

    Raises:
        RunError: One is missing.
    """
    for (seed, _), run in runs.items():
        if missing := [str(fold) for fold in range(n_folds) if (seed, fold) not in runs]:
            raise RunError(
                f"of the arm '{run.arm}' and seed {seed} fold {', '.join(missing)} of {n_folds} is missing: train it, "
                "then all of them can be reported together"
            )
    return pool(runs.values(), n_folds)


def runs_below(folder: Path) -> list[RunDirectory]:
    """List the finished runs in a folder, such as that of a sweep, in their order.

    Raises:
        RunError: There is none.
    """
    found = [path.parent for path in folder.glob("**/summary.json")]
    if not found:
        raise RunError(f"{folder} holds no study and no finished run")
    return [RunDirectory(path) for path in sorted(found, key=_order)]


def _order(path: Path) -> tuple[Any, ...]:
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in path.parts)


def differing(configs: Sequence[Flat]) -> list[str]:
    """List the options in which configurations differ, the outermost choices in place of all that follows from them.

    >>> differing([{"a._target_": "x.One", "a.b": 1, "c": 2}, {"a._target_": "x.Two", "c": 2}])
    ['a._target_']
    """
    names = dict.fromkeys(name for config in configs for name in config)
    differ = [name for name in names if len({config.get(name) for config in configs}) > 1]
    chosen = [name.removesuffix(TARGET) for name in differ if name.endswith(f".{TARGET}")]
    return [name for name in differ if not any(name.startswith(part) and name != part + TARGET for part in chosen)]


def _names(configs: Sequence[Flat], if_all_alike: str) -> list[str]:
    options = differing(configs)
    if not options:
        return [if_all_alike] * len(configs)
    return [", ".join(_word(name, config.get(name)) for name in options) for config in configs]


def _word(name: str, value: str | None) -> str:
    if name.endswith(f".{TARGET}"):
        return f"{name.removesuffix(f'.{TARGET}')}={str(value).rpartition('.')[2]}"
    return f"{name}={value}"
