"""The commands study and report (host)."""

from __future__ import annotations

import warnings
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from curriculum_rec import config, hydra_door
from curriculum_rec.cli import config_folders
from curriculum_rec.commands.trusting import trusted_packages
from curriculum_rec.components import check_type
from curriculum_rec.errors import CurriculumRecError, OptionError, RunError
from curriculum_rec.files import write_text
from curriculum_rec.studies.conduct import Conductor, OnFailure
from curriculum_rec.studies.findings import Report
from curriculum_rec.studies.grid import Choice, Place, plan
from curriculum_rec.studies.html_page import check_installed, is_installed
from curriculum_rec.studies.planned import results_of_study
from curriculum_rec.studies.processes import log_of
from curriculum_rec.studies.report import check_markers, put_into, write_report
from curriculum_rec.studies.results import Results
from curriculum_rec.studies.slices import Slices
from curriculum_rec.studies.study import read_study
from curriculum_rec.studies.unplanned import results_of_runs, runs_below
from curriculum_rec.training.progress import check_mode
from curriculum_rec.training.run_directory import RunDirectory

REPORT_FOLDER = "report"
NO_STUDIES = ("multirun.yaml", "config.yaml")
"""What Hydra leaves in the folder of a sweep, and a run in its own."""


def study(composed: DictConfig) -> None:
    """Train the runs of a study, and write its report."""
    data = config.to_data(composed)
    path = _find(data["study"])
    asked = read_study(path)
    root = Path(data["study_dir"] or Path("runs") / "studies" / path.stem)
    trusted = trusted_packages(data)
    words = (*data["options"], *((f"trusted_packages=[{','.join(trusted)}]",) if trusted else ()))
    choice = Choice(**{name: data[name] for name in ("arms", "seeds", "data_sets", "conditions", "folds")}, words=words)
    launch = _launch(data["jobs"], root)
    conductor = Conductor(
        root,
        asked.metric,
        data["jobs"],
        launch,
        check_type(data["on_failure"], OnFailure, "on_failure"),
        check_mode(data["progress"]),
    )
    runs = plan(
        asked,
        root,
        folder=None if data["folder"] is None else Path(data["folder"]),
        hashes=hydra_door.hashes,
        choice=choice,
    )
    write_text(root / f"{path.stem}.yaml", path.read_text())
    ledger = conductor.conduct(runs)
    entries = [ledger.entries[run.name] for run in runs]
    failed = [entry for entry in entries if entry.state == "failed"]
    print(f"{sum(entry.state == 'finished' for entry in entries)} of {len(runs)} runs finished: {root}")
    if data["report"] and any(entry.state == "finished" for entry in ledger.entries.values()):
        _report_study(root, trusted)
    if failed:
        raise RunError(
            f"{len(failed)} of {len(runs)} runs failed, the first of them {failed[0].name}: {failed[0].error}; mend "
            "it, and the same command tries them again"
        )


def _report_study(root: Path, trusted: tuple[str, ...]) -> None:
    """Write what can be said of a study so far; a report that cannot be written is no reason to hide failed runs."""
    has_page = is_installed()
    try:
        results, command = _results({"study": str(root), "runs": []}, root)
        made = Report.of(results, _slices(results, trusted), command=command)
        write_report(root / REPORT_FOLDER, made, page=has_page)
    except CurriculumRecError as error:
        warnings.warn(f"no report: {error}", stacklevel=2)
        return
    print(f"report: {root / REPORT_FOLDER}")
    if not has_page:
        print("report.html is left out, it needs the extra: pip install 'curriculum-rec[report]'")


def _launch(jobs: int, root: Path) -> Any:
    chosen = hydra_door.launcher()
    if chosen == "basic":
        return None
    if jobs != 1:
        raise OptionError(
            f"jobs={jobs} has no effect with hydra/launcher={chosen}, which has an option of its own for it"
        )
    return lambda words: hydra_door.launch("train", _train_quietly, words, root=root.absolute())


def _train_quietly(composed: DictConfig) -> float:
    """Train a run, and put what it prints beside its folder."""
    from curriculum_rec.commands.training import train  # noqa: PLC0415 - loads JAX, which the study can do without

    with log_of(Path(HydraConfig.get().runtime.output_dir)).open("a") as log, redirect_stdout(log):
        return train(composed)


def _find(name: str) -> Path:
    """Find a study by its name or path.

    Raises:
        OptionError: There is none.
    """
    if name.endswith(".yaml"):
        return Path(name)
    folders = [folder / "studies" for folder in config_folders()]
    there = {path.stem: path for folder in reversed(folders) for path in sorted(folder.glob("*.yaml"))}
    if name not in there:
        raise OptionError(f"there is no study '{name}'; there are: {', '.join(sorted(there)) or 'none here'}")
    return there[name]


def report(composed: DictConfig) -> None:
    """Write the report of a study, of a sweep or of any runs."""
    data = config.to_data(composed)
    if (data["study"] is None) == (not data["runs"]):
        raise OptionError("name either study=DIR or runs=[DIR,...]")
    if data["study"] is None and data["output"] is None:
        raise OptionError("output=DIR is not set: say where the report of these runs is written")
    check_installed()
    root = Path(data["study"] or ".")
    output = Path(data["output"] or root / REPORT_FOLDER)
    into = None if data["into"] is None else Path(data["into"])
    if into is not None:
        check_markers(into)
    results, command = _results(data, root)
    options = results.options
    if data["baseline"] is not None:
        arms = list(dict.fromkeys(arm for cell in results.cells.values() for arm in cell))
        if data["baseline"] not in arms:
            raise OptionError(f"baseline={data['baseline']} is no arm; there are: {', '.join(arms)}")
        options = replace(options, baseline=data["baseline"])
    if data["metric"] is not None:
        options = replace(options, metric=data["metric"])
    made = Report.of(replace(results, options=options), _slices(results, ()), command=command)
    write_report(output, made)
    if into is not None:
        put_into(into, made)
    for paragraph in made.answer:
        print(paragraph)
    print(f"report: {output}")


def _results(data: dict[str, Any], root: Path) -> tuple[Results, str]:
    """Read the runs, and say what reproduces them."""
    files = [] if data["study"] is None else sorted(set(root.glob("*.yaml")) - {root / name for name in NO_STUDIES})
    if len(files) > 1:
        there = ", ".join(file.name for file in files)
        raise RunError(f"{root} holds several studies, {there}: move those away that it is not the folder of")
    if files:
        asked = read_study(files[0])
        where = " folder=DIR" if any(source.path for source in asked.data.values()) else ""
        return results_of_study(root, asked), f"curriculum-rec study study={files[0].stem}{where}"
    directories = [RunDirectory.existing(run) for run in data["runs"]] or runs_below(root)
    configs = [config.config_of_run(directory) for directory in directories]
    command = "\n".join(f"curriculum-rec resume run={directory.path}" for directory in directories)
    return results_of_runs(directories, configs, metric=data["metric"]), command


def _slices(results: Results, trusted: tuple[str, ...]) -> dict[Place, Slices]:
    """Cut the users of every place whose data can still be read."""
    found = {}
    for place, cell in results.cells.items():
        result = next(iter(next(iter(cell.values())).values()))
        try:
            parts = [
                (
                    config.experiment_of_run(run.directory, trusted=trusted)[0].read().interactions_for("a slice"),
                    run.users,
                )
                for run in result.runs
            ]
        except CurriculumRecError as error:
            warnings.warn(f"no slices of {place.data}: {error}", stacklevel=2)
            continue
        found[place] = Slices.of(parts)
    return found
