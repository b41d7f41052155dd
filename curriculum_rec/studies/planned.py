"""The finished runs of a study (host), read from its folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from curriculum_rec.studies.folds import pool
from curriculum_rec.studies.grid import Place, folder_of_arms
from curriculum_rec.studies.ledger import Ledger
from curriculum_rec.studies.results import Cell, Options, Result, Results
from curriculum_rec.studies.study import Study
from curriculum_rec.training.run_directory import RunDirectory


def results_of_study(root: Path, study: Study) -> Results:
    """Read the finished runs of a study.

    Args:
        root: Its folder.
        study: Its file. Of one with folds those seeds count of which all folds are finished.

    Raises:
        RunError: None is finished, or runs of one seed and fold had different data.
    """
    cells: dict[Place, Cell] = {}
    ledger = Ledger.read(root / "ledger.json")
    for data in study.data:
        for condition in study.conditions:
            place = Place(data, condition)
            cell = {arm: _seeds(root, place, arm, study.folds) for arm in study.all_arms()}
            if found := {arm: seeds for arm, seeds in cell.items() if seeds}:
                cells[place] = found
    return Results(Options.of(study), cells, len(ledger.entries))


def _seeds(root: Path, place: Place, arm: str, folds: int | None) -> dict[int, Result]:
    if folds is None:
        return {run.seed: run for run in sorted(_finished(root, place, arm, None), key=lambda run: run.seed)}
    return pool((run for fold in range(folds) for run in _finished(root, place, arm, fold)), folds)


def _finished(root: Path, place: Place, arm: str, fold: int | None) -> Iterator[Result]:
    for summary in (root / folder_of_arms(place, fold) / arm).glob("seed-*/summary.json"):
        yield Result(arm, int(summary.parent.name.partition("-")[2]), RunDirectory(summary.parent), fold)
