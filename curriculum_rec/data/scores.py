"""Numbers about examples in files (host): the tables in which scores are written and read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from curriculum_rec.data.examples import Examples, Origin
from curriculum_rec.errors import DataError, OptionError

USER, ITEM, POSITION, SCORE = "user", "item", "position", "score"

READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".parquet": pl.read_parquet,
    ".csv": partial(pl.read_csv, infer_schema=False),  # ids stay as they are written
    ".jsonl": pl.read_ndjson,
}
"""How a table is read, by the file's ending."""


def check_score_path(path: str, option: str) -> None:
    """Refuse a file of another kind.

    Raises:
        OptionError: The ending is unknown.
    """
    if Path(path).suffix not in READERS:
        raise OptionError(f"{option}={path}: a file of scores must end in one of {', '.join(READERS)}")


def read_scores(path: str, examples: Examples, *, option: str) -> tuple[np.ndarray, Literal["sequence", "target"]]:
    """Read one score for every target, or for every sequence where the table tells no targets apart.

    The columns are ``user`` and ``score``, and for single targets ``position``, the place in the user's training
    history, from 1, or ``item``, or both. Rows about anything else than the examples are ignored.

    Args:
        path: The file.
        examples: What it scores.
        option: The option that names the file, for messages.

    Returns:
        float64 scores, and what they are of.

    Raises:
        DataError: The file cannot be read, or something has no score or several.
        OptionError: The examples are no sequences, or do not say whose they are.
    """
    if not examples.has_targets:
        raise OptionError(f"{option}={path} needs sequences, and these examples have no 2-D 'target'")
    given = _read(path, origin_of(examples), option)
    by = [name for name in (POSITION, ITEM) if name in given.columns]
    if not by:
        return _match(path, sequence_codes(examples), given, [USER], examples), "sequence"
    return _match(path, target_codes(examples), given, [USER, *by], examples), "target"


def read_target_scores(path: str, examples: Examples, *, option: str) -> np.ndarray:
    """Read one score for every single target, float64 ``[n_targets]``; as :func:`read_scores`.

    Raises:
        DataError: The table scores whole sequences, or a score is without bound.
    """
    scores, of = read_scores(path, examples, option=option)
    if of == "sequence":
        raise DataError(f"{option}={path} has neither 'position' nor 'item', which tell a user's targets apart")
    if not np.isfinite(scores).all():
        raise DataError(f"{option}={path} has {int((~np.isfinite(scores)).sum()):,} scores that are not finite")
    return scores


def _read(path: str, origin: Origin, option: str) -> pl.DataFrame:
    """Read the file and put codes for ids."""
    check_score_path(path, option)
    if not Path(path).is_file():
        raise DataError(f"{option}={path} does not exist")
    try:
        frame = READERS[Path(path).suffix](Path(path))
        missing = [name for name in (USER, SCORE) if name not in frame.columns]
        if missing:
            raise DataError(f"{path} has no column '{missing[0]}'; it has {', '.join(frame.columns)}")
        columns = [pl.Series(USER, origin.users.encode(frame[USER])), frame[SCORE].cast(pl.Float64)]
        if ITEM in frame.columns:
            columns.append(pl.Series(ITEM, origin.items.encode(frame[ITEM])))
        if POSITION in frame.columns:
            columns.append(frame[POSITION].cast(pl.Int64))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    bad = (columns[1].is_null() | columns[1].is_nan()).arg_true()
    if len(bad):
        raise DataError(f"row {bad[0] + 1} of {path} has no score that is a number")
    return pl.DataFrame(columns)


def _match(path: str, units: pl.DataFrame, given: pl.DataFrame, keys: list[str], examples: Examples) -> np.ndarray:
    """Find the one score of every unit."""
    joined = units.with_row_index("unit").join(given, on=keys, how="left", maintain_order="left")
    missing = joined.filter(pl.col(SCORE).is_null())
    if len(missing):
        raise DataError(
            f"{path} has no score for {len(missing):,} of {len(units):,}, the first being "
            f"{describe(missing, keys, examples)}"
        )
    several = joined.filter(pl.col("unit").is_duplicated())
    if len(several):
        hint = "" if POSITION in keys or keys == [USER] else ": an item that comes again needs the column 'position'"
        raise DataError(f"{path} has several scores for {describe(several, keys, examples)}{hint}")
    again = units.filter(units.select(keys).is_duplicated())
    if len(again):
        raise DataError(
            f"{path} has one score for two targets, {describe(again, keys, examples)}: an item that comes "
            "again needs the column 'position'"
        )
    return joined[SCORE].to_numpy()


def describe(rows: pl.DataFrame, keys: list[str], examples: Examples) -> str:
    """Say which unit the first of some rows is, in a person's own ids."""
    row, origin = rows.row(0, named=True), origin_of(examples)
    words = [f"user '{origin.users.decode(np.array([row[USER]]))[0]}'"]
    if POSITION in keys:
        words.append(f"position {row[POSITION]}")
    if ITEM in keys:
        words.append(f"item '{origin.items.decode(np.array([row[ITEM]]))[0]}'")
    return ", ".join(words)


def origin_of(examples: Examples) -> Origin:
    """Give the origin of examples.

    Raises:
        OptionError: Nobody said.
    """
    if examples.origin is None:
        raise OptionError("scores in files need to know the users of the examples, and these examples do not say")
    return examples.origin


def sequence_codes(examples: Examples) -> pl.DataFrame:
    """List all sequences: the column ``user``, of codes."""
    return pl.DataFrame({USER: origin_of(examples).user})


def target_codes(examples: Examples) -> pl.DataFrame:
    """List all targets: columns ``user`` and ``item``, of codes, and ``position`` in the training history, from 1."""
    origin, counts = origin_of(examples), np.diff(examples.target_offsets)
    place = np.arange(len(examples.targets)) - np.repeat(examples.target_offsets[:-1], counts)
    return pl.DataFrame(
        {
            USER: np.repeat(origin.user, counts),
            ITEM: examples.targets,
            POSITION: np.repeat(origin.first, counts) + place,
        }
    )


def score_table(
    examples: Examples, unit: Literal["sequence", "target"], score: np.ndarray, quantile: np.ndarray
) -> pl.DataFrame:
    """Put scores into a table of a person's own ids.

    Args:
        examples: What was scored.
        unit: Whether sequences or single targets were.
        score: ``[n_units]``.
        quantile: ``[n_units]``.

    Returns:
        Columns ``user``, for single targets ``item`` and ``position``, ``score`` and ``quantile``.
    """
    origin = origin_of(examples)
    codes = target_codes(examples) if unit == "target" else sequence_codes(examples)
    columns = [origin.users.decode(codes[USER].to_numpy()).alias(USER)]
    if unit == "target":
        columns += [origin.items.decode(codes[ITEM].to_numpy()).alias(ITEM), codes[POSITION]]
    return pl.DataFrame([*columns, pl.Series(SCORE, score), pl.Series("quantile", quantile)])
