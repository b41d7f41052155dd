"""One number a training target out of a file (host), for example the losses of a reference model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from curriculum_rec.data.examples import Examples
from curriculum_rec.errors import DataError, OptionError

COLUMNS = ("user", "item", "position", "score")


def read_target_scores(path: str, examples: Examples, *, option: str) -> np.ndarray:
    """Read a Parquet file with the columns ``user``, ``item``, ``position`` and ``score``, a row for each target.

    Rows may stand in any order: users are taken in the order of their ids and a user's targets by position. That the
    file is about these examples is recognised by the items, whose ids must repeat just as the examples' targets do.

    Args:
        path: The file.
        examples: Whose targets the file scores.
        option: The option that names the file, for messages.

    Returns:
        float32 ``[n_targets]`` in the order of the examples' targets.

    Raises:
        OptionError: The examples have no targets.
        DataError: The file cannot be read, or is not about these examples.
    """
    if not examples.has_targets:
        raise OptionError(f"{option}={path}: the examples have no 'target' sequences to which scores could belong")
    if not Path(path).is_file():
        raise DataError(f"{option}={path}: there is no such file")
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{option}={path} cannot be read as Parquet: {error}") from error
    if missing := [name for name in COLUMNS if name not in frame.columns]:
        raise DataError(f"{option}={path} has no column {missing[0]}; it needs {', '.join(COLUMNS)}")
    n_targets = len(examples.targets)
    if len(frame) != n_targets:
        raise DataError(f"{option}={path} has {len(frame)} rows, but there are {n_targets} training targets")
    frame = frame.select(COLUMNS).sort("user", "position")
    theirs, ours = (series.rank("dense").to_numpy() for series in (frame["item"], pl.Series(examples.targets)))
    if differing := int((theirs != ours).sum()):
        raise DataError(
            f"{option}={path} scores other targets: {differing} of {n_targets} items differ; it must come from the "
            "same data, split and examples"
        )
    scores = frame["score"].cast(pl.Float32).to_numpy()
    if not np.isfinite(scores).all():
        raise DataError(f"{option}={path}: a score is missing or not finite")
    return scores
