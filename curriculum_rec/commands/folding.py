"""What the command train says at the end of a sweep of folds (host)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

FILE = "folds"
"""Of the tables, in the folder of the sweep."""


class PooledFolds(Callback):
    """Puts the folds of a sweep together, once all of its runs have ended."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Print what the folds came to, and leave it in the folder of the sweep."""
        from curriculum_rec.errors import CurriculumRecError  # noqa: PLC0415 - every call of train loads this module

        if any(word.startswith("fold=") for word in config.hydra.overrides.task):
            try:
                _report(Path(config.hydra.sweep.dir))
            except CurriculumRecError as error:
                warnings.warn(f"the folds are not put together: {error}", stacklevel=2)


def _report(folder: Path) -> None:
    from curriculum_rec.commands.printing import print_table  # noqa: PLC0415
    from curriculum_rec.config import config_of_run  # noqa: PLC0415
    from curriculum_rec.files import write_text  # noqa: PLC0415
    from curriculum_rec.studies.findings import place_title  # noqa: PLC0415
    from curriculum_rec.studies.folds import fold_table  # noqa: PLC0415
    from curriculum_rec.studies.table import to_csv, to_markdown  # noqa: PLC0415
    from curriculum_rec.studies.unplanned import results_of_runs, runs_below  # noqa: PLC0415

    runs = runs_below(folder)
    results = results_of_runs(runs, [config_of_run(run) for run in runs])
    tables = {place: fold_table(FILE, cell, results.options) for place, cell in results.cells.items()}
    for number, (place, table) in enumerate((place, table) for place, table in tables.items() if table.rows()):
        name = FILE if len(tables) == 1 else f"{FILE}-{number}"
        write_text(folder / f"{name}.csv", to_csv(table))
        write_text(folder / f"{name}.md", f"{table.note}\n\n{to_markdown(table)}")
        last = f"{folder / name}.csv; the whole comparison: curriculum-rec report study={folder}"
        print_table(table.header, table.rows(), last, title=f"{place_title(place)}: {table.note}")
