"""Files about single training targets (host): scores of a model, or which of them are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from curriculum_rec.data.examples import Examples
from curriculum_rec.data.scores import ITEM, POSITION, USER, origin_of, read_target_scores, target_codes
from curriculum_rec.errors import DataError
from curriculum_rec.reports.audit import Scorer


def read_scorer(path: Path, examples: Examples) -> Scorer:
    """Read scores of all training targets.

    Args:
        path: A file of scores (:func:`read_target_scores`), or a folder of Parquet files, one a seed.
        examples: Own the targets.

    Raises:
        DataError: A file cannot be read, or lacks a target.
    """
    paths = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not paths:
        raise DataError(f"scores={path} holds no Parquet file")
    return Scorer(path.stem, np.array([read_target_scores(str(file), examples, option="scores") for file in paths]))


def read_flags(path: Path, examples: Examples) -> np.ndarray:
    """Read which training targets are known to be wrong, bool ``[n_targets]``.

    Args:
        path: A Parquet file that lists them: user, item and position, as a run with planted noise leaves it. Rows that
            are no training target, the first of a history for example, are passed over.
        examples: Own the targets.

    Raises:
        DataError: The file cannot be read, lacks a column, or lists no training target.
    """
    try:
        listed = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = "it does not exist" if not path.exists() else str(error).split("\n")[0]
        raise DataError(f"flagged={path} cannot be read as Parquet: {reason}") from error
    if missing := [name for name in (USER, ITEM, POSITION) if name not in listed.columns]:
        raise DataError(f"flagged={path} has no column '{missing[0]}'; it has {', '.join(listed.columns)}")
    origin = origin_of(examples)
    wrong = pl.DataFrame(
        {
            USER: origin.users.encode(listed[USER]),
            ITEM: origin.items.encode(listed[ITEM]),
            POSITION: listed[POSITION].cast(pl.Int64),
        }
    )
    wrong = wrong.unique().with_columns(flag=pl.lit(value=True))
    joined = target_codes(examples).join(wrong, on=[USER, ITEM, POSITION], how="left", maintain_order="left")
    flags = joined["flag"].fill_null(value=False)
    if not flags.any():
        raise DataError(f"flagged={path} lists no training target of these data")
    return flags.to_numpy()
