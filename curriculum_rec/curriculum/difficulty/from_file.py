"""A person's own scores (host), and the tables in which scores are written and read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from curriculum_rec.curriculum.difficulty.base import RunningLoss, Unit, check_targets, mean_by_example
from curriculum_rec.curriculum.difficulty.workshop import Workshop
from curriculum_rec.data.examples import Examples, Origin
from curriculum_rec.errors import DataError, OptionError

USER, ITEM, POSITION, SCORE = "user", "item", "position", "score"

READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".parquet": pl.read_parquet,
    ".csv": partial(pl.read_csv, infer_schema=False),  # ids stay as they are written
    ".jsonl": pl.read_ndjson,
}
"""How a table is read, by the file's ending."""


@dataclass(frozen=True)
class ScoreFile:
    """A person's own scores, higher is harder.

    The columns are ``user`` and ``score``, and for single targets ``position``, the place in the user's training
    history, from 1, or ``item``, or both. Without them a row scores a whole sequence. Rows of what is not trained on,
    say of histories before their truncation, are ignored.

    Args:
        path: A file that ends in .parquet, .csv or .jsonl; ``curriculum-rec score`` writes such files.
    """

    path: str
    decay = None

    def __post_init__(self) -> None:
        if Path(self.path).suffix not in READERS:
            raise OptionError(f"curriculum.difficulty.path={self.path}: its ending must be one of {', '.join(READERS)}")

    def __call__(
        self,
        examples: Examples,
        unit: Unit,
        losses: RunningLoss | None = None,
        workshop: Workshop | None = None,
    ) -> np.ndarray:
        """Score all units, float64 ``[n_units]``.

        Raises:
            DataError: The file cannot be read, or a unit has no score or several.
        """
        check_targets(self, examples)
        given = self._read(origin_of(examples))
        by = [name for name in (POSITION, ITEM) if name in given.columns]
        if not by:
            if unit == "target":
                raise DataError(f"{self.path} has neither 'position' nor 'item': curriculum.unit=target needs one")
            return self._match(sequence_codes(examples), given, [USER], examples)
        scores = self._match(target_codes(examples), given, [USER, *by], examples)
        return scores if unit == "target" else mean_by_example(scores, examples.target_offsets)

    def _read(self, origin: Origin) -> pl.DataFrame:
        """Read the file and put codes for ids."""
        path = Path(self.path)
        if not path.is_file():
            raise DataError(f"curriculum.difficulty.path={self.path} does not exist")
        try:
            frame = READERS[path.suffix](path)
            missing = [name for name in (USER, SCORE) if name not in frame.columns]
            if missing:
                raise DataError(f"{self.path} has no column '{missing[0]}'; it has {', '.join(frame.columns)}")
            columns = [pl.Series(USER, origin.users.encode(frame[USER])), frame[SCORE].cast(pl.Float64)]
            if ITEM in frame.columns:
                columns.append(pl.Series(ITEM, origin.items.encode(frame[ITEM])))
            if POSITION in frame.columns:
                columns.append(frame[POSITION].cast(pl.Int64))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(f"{self.path} cannot be read: {str(error).splitlines()[0]}") from error
        bad = (columns[1].is_null() | columns[1].is_nan()).arg_true()
        if len(bad):
            raise DataError(f"row {bad[0] + 1} of {self.path} has no score that is a number")
        return pl.DataFrame(columns)

    def _match(self, units: pl.DataFrame, given: pl.DataFrame, keys: list[str], examples: Examples) -> np.ndarray:
        """Find the one score of every unit."""
        joined = units.with_row_index("unit").join(given, on=keys, how="left", maintain_order="left")
        missing = joined.filter(pl.col(SCORE).is_null())
        if len(missing):
            raise DataError(
                f"{self.path} has no score for {len(missing):,} of {len(units):,}, the first being "
                f"{describe(missing, keys, examples)}"
            )
        several = joined.filter(pl.col("unit").is_duplicated())
        if len(several):
            hint = (
                "" if POSITION in keys or keys == [USER] else ": an item that comes again needs the column 'position'"
            )
            raise DataError(f"{self.path} has several scores for {describe(several, keys, examples)}{hint}")
        again = units.filter(units.select(keys).is_duplicated())
        if len(again):
            raise DataError(
                f"{self.path} has one score for two targets, {describe(again, keys, examples)}: an item that comes "
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


def score_table(examples: Examples, unit: Unit, score: np.ndarray, quantile: np.ndarray) -> pl.DataFrame:
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
