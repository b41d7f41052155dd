"""Files about single training targets (host): scores of a model, or which of them are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from curriculum_rec.data.examples import Examples
from curriculum_rec.data.split import Part, Split
from curriculum_rec.errors import DataError
from curriculum_rec.reports.audit import Scorer

KEYS = ["user", "item", "position"]


def target_frame(split: Split, examples: Examples) -> pl.DataFrame:
    """Name every training target.

    Args:
        split: The interactions.
        examples: What was cut from their training part.

    Returns:
        One row a target, in the order of the targets: ``user`` and ``item`` as text, the original ids, and
        ``position``, the place in the user's whole history, from 0.

    Raises:
        DataError: The examples are not the ends of the training histories.
    """
    data = split.interactions
    training = np.flatnonzero(split.part == Part.TRAIN)
    _, offsets = split.training()
    stop = offsets[1:][np.diff(offsets) >= 2]
    n_targets = np.diff(examples.target_offsets)
    if len(stop) != len(n_targets):
        raise DataError("these examples are not one a user, so that their targets have no names")
    begin = np.repeat(stop - n_targets - examples.target_offsets[:-1], n_targets)
    row = training[begin + np.arange(len(examples.targets))]
    if not np.array_equal(data.item[row], examples.targets):
        raise DataError("these examples do not end with the training histories, so that their targets have no names")
    return pl.DataFrame(
        {
            "user": data.users.decode(data.user[row]).cast(pl.String),
            "item": data.items.decode(data.item[row]).cast(pl.String),
            "position": row - data.user_offsets()[data.user[row]],
        }
    )


def read_scorer(path: Path, targets: pl.DataFrame) -> Scorer:
    """Read scores of all training targets.

    Args:
        path: A Parquet file with the columns user, item, position and score, or a folder of such files, one a seed.
        targets: From :func:`target_frame`.

    Raises:
        DataError: A file cannot be read, lacks a column, or lacks a target.
    """
    paths = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not paths:
        raise DataError(f"{path} holds no Parquet file of scores")
    return Scorer(path.stem, np.array([_read_scores(file, targets) for file in paths]))


def read_flags(path: Path, targets: pl.DataFrame) -> np.ndarray:
    """Read which training targets are known to be wrong, bool ``[n_targets]``.

    Args:
        path: A Parquet file that lists them: user, item and position, as a run with planted noise leaves it. Rows that
            are no training target, the first of a history for example, are passed over.
        targets: From :func:`target_frame`.

    Raises:
        DataError: The file cannot be read, lacks a column, or lists no training target.
    """
    listed = _read(path, KEYS).select(KEYS).unique().with_columns(flag=pl.lit(value=True))
    flags = targets.join(listed, on=KEYS, how="left", maintain_order="left")["flag"].fill_null(value=False)
    if not flags.any():
        raise DataError(f"{path} lists no training target of these data")
    return flags.to_numpy()


def _read_scores(path: Path, targets: pl.DataFrame) -> np.ndarray:
    frame = _read(path, [*KEYS, "score"]).select(*KEYS, pl.col("score").cast(pl.Float64)).unique(KEYS)
    score = targets.join(frame, on=KEYS, how="left", maintain_order="left")["score"]
    if score.has_nulls():
        first = targets.row(int(score.is_null().arg_max() or 0), named=True)
        raise DataError(
            f"{path} has no score of {score.null_count():,} of {len(targets):,} training targets, such as user "
            f"{first['user']}, item {first['item']}, position {first['position']}: was it made from the same data?"
        )
    return score.to_numpy()


def _read(path: Path, columns: list[str]) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = "it does not exist" if not path.exists() else str(error).split("\n")[0]
        raise DataError(f"{path} cannot be read as Parquet: {reason}") from error
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise DataError(f"{path} has no column '{missing[0]}'; it has {', '.join(frame.columns)}")
    return frame.with_columns(pl.col("user", "item").cast(pl.String), pl.col("position").cast(pl.Int64))
