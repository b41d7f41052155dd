"""What exactly was run (host): the options in which arms differ, whole configurations, versions and hashes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from curriculum_rec.errors import RunError
from curriculum_rec.flat_options import flat
from curriculum_rec.studies.results import Cell, Result, Results
from curriculum_rec.studies.table import Table, rows_to_table
from curriculum_rec.studies.unplanned import NO_PART, Flat, differing

NOT_THERE = "(none)"
Row = dict[str, Any]


def config_of(run: Result) -> dict[str, Any]:
    """Read the configuration of a run.

    Raises:
        RunError: There is none.
    """
    try:
        content = yaml.safe_load(run.directory.config.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise RunError(f"{run.directory.config} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise RunError(f"{run.directory.config} is no configuration")
    return content


def config_texts(results: Results) -> dict[str, str]:
    """Give the whole configuration of the first seed of every arm, by its place and its name."""
    return {
        f"{place.data}, {place.condition}, {arm}": first_of(cell, arm).directory.config.read_text()
        for place, cell in results.cells.items()
        for arm in cell
    }


def first_of(cell: Cell, arm: str) -> Result:
    """Give the first run of an arm."""
    return next(iter(cell[arm].values()))


def settings_tables(results: Results) -> list[Table]:
    """Make the tables of what was run: what the arms and the places differ by, versions, and every run."""
    made = (_arms(results), _places(results), _versions(results), _runs(results))
    return [table for table in made if table.rows()]


def _arms(results: Results) -> Table:
    """List what every arm has that the baseline has not, in the first place where both are."""
    base, rows, seen = results.options.baseline, [], set()
    for cell in results.cells.values():
        if base not in cell:
            continue
        theirs = flat(config_of(first_of(cell, base)), without=NO_PART)
        for arm in cell:
            if arm != base and arm not in seen:
                seen.add(arm)
                rows += [
                    {"arm": arm, **row}
                    for row in _differences(flat(config_of(first_of(cell, arm)), without=NO_PART), theirs)
                ]
    names: dict[str, Any] = {"arm": "", "option": "", "value": "", "that of the baseline": ""}
    note = f"The options in which an arm differs from {base}; what follows from another kind of component is left out."
    return rows_to_table("settings-arms", "What the arms differ by", note, names, rows)


def _differences(ours: Flat, theirs: Flat) -> Iterator[Row]:
    for name in differing([ours, theirs]):
        values = (str(options.get(name, NOT_THERE)) for options in (ours, theirs))
        yield {"option": name, **dict(zip(("value", "that of the baseline"), values, strict=True))}


def _places(results: Results) -> Table:
    """List what the data of the places differ by."""
    configs = {}
    for place, cell in results.cells.items():
        arm = results.options.baseline if results.options.baseline in cell else next(iter(cell))
        configs[place] = flat(config_of(first_of(cell, arm)), without=NO_PART)
    parts = ("data.", "cleaning.", "split.", "noise.", "data", "noise")
    own = [{k: v for k, v in config.items() if k.startswith(parts)} for config in configs.values()]
    rows = [
        {"data": place.data, "condition": place.condition, "option": name, "value": str(options.get(name, NOT_THERE))}
        for name in differing(own)
        for place, options in zip(configs, own, strict=True)
    ]
    names: dict[str, Any] = dict.fromkeys(("data", "condition", "option", "value"), "")
    return rows_to_table("settings-places", "What the conditions differ by", "", names, rows)


def _versions(results: Results) -> Table:
    """List the versions that the runs had; several of one package stand side by side."""
    found: dict[str, dict[str, None]] = {}
    for run in results.all():
        for name, version in run.summary.get("versions", {}).items():
            found.setdefault(name, {})[str(version)] = None
    rows = [{"package": name, "version": ", ".join(versions)} for name, versions in found.items()]
    return rows_to_table("settings-versions", "Versions", "", {"package": "", "version": ""}, rows)


def _runs(results: Results) -> Table:
    rows: list[Row] = []
    for place, cell in results.cells.items():
        for arm, seeds in cell.items():
            for seed, run in ((seed, one) for seed, result in seeds.items() for one in result.runs):
                hashes = {f"{part} hash": run.summary[f"{part}_hash"] for part in ("config", "split")}
                own = {"best step": run.summary["best_step"], "devices": _devices(run.summary)}
                where = {"data": place.data, "condition": place.condition, "arm": arm, "seed": seed, "fold": run.fold}
                rows.append({**where, **hashes, **own})
    forms: dict[str, Any] = dict.fromkeys(("data", "condition", "arm", "seed", "fold", "config hash", "split hash"), "")
    note = (
        "Runs of one split hash had the same data, cut alike. The config hash names all options but those that say "
        "where things lie and what the machine is like."
    )
    return rows_to_table("settings-runs", "Runs", note, {**forms, "best step": ",", "devices": ""}, rows)


def _devices(summary: Mapping[str, Any]) -> str | None:
    placement = summary.get("placement")
    return None if placement is None else f"{placement['devices']} by {placement['kind']}"
