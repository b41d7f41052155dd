"""The rows of a source in parts (host): all rows of a user in one part, each part small enough for the memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from curriculum_rec.data.interactions import NEEDED, USER, CleaningRule, LedgerEntry, describe_ledger
from curriculum_rec.data.ledger import FILE_BITS, ROW
from curriculum_rec.data.store.inputs import Streamed
from curriculum_rec.data.store.workbench import Workbench
from curriculum_rec.errors import DataError

Counts = dict[str, list[int]]
"""Rows before and after each rule."""


def apply(frame: pl.DataFrame, rules: Mapping[str, CleaningRule]) -> tuple[pl.DataFrame, Counts]:
    """Apply rules in order, and count."""
    counts: Counts = {}
    for name, rule in rules.items():
        before, frame = len(frame), rule(frame)
        counts[name] = [before, len(frame)]
    return frame, counts


def numbered(frame: pl.DataFrame, unit: int, first: int) -> pl.DataFrame:
    """Number the rows of a batch, the first of which has a number in its file, as rules and the ledger know them."""
    begin = (unit << FILE_BITS) + first
    return frame.with_columns(pl.int_range(begin, begin + len(frame), dtype=pl.Int64, eager=True).alias(ROW))


def part_of_user(user: pl.Series, n_parts: int) -> pl.Series:
    """Say in which part a user's rows are, int32; rows without a user are in the first."""
    return (user.hash(seed=0) % n_parts).cast(pl.Int32).fill_null(0).alias("part")


def collect_unit(
    number: int,
    *,
    bench: Workbench,
    units: Sequence[Streamed],
    leading: Mapping[str, CleaningRule],
    n_parts: int,
    rows: int,
) -> dict[str, Any]:
    """Read a file, and put each row into its part; one that was finished before is not read again.

    Args:
        number: Which of the files.
        bench: Where the pieces are kept.
        units: All files.
        leading: Rules that look at one row at a time.
        n_parts: How many parts.
        rows: Rows that are held at once.

    Returns:
        Rows before and after each rule, and how many rows there were.
    """
    name = f"rows-{number:05d}"
    if (done := bench.facts(name)) is not None:
        return done
    bench.clear(f"rows/{number:05d}")
    first, piece, counts, held = 0, 0, {rule: [0, 0] for rule in leading}, list[pl.DataFrame]()
    for batch in units[number].batches(max(rows // 4, 1)):
        frame, more = apply(numbered(batch, number, first), leading)
        counts = {rule: [a + b for a, b in zip(counts[rule], more[rule], strict=True)] for rule in leading}
        first += len(batch)
        held.append(frame)
        if sum(map(len, held)) >= rows // 2:
            _write_pieces(bench, number, piece, held, n_parts)
            held, piece = [], piece + 1
    _write_pieces(bench, number, piece, held, n_parts)
    return bench.finish(name, {"counts": counts, "rows": first})


def _write_pieces(bench: Workbench, unit: int, piece: int, held: Sequence[pl.DataFrame], n_parts: int) -> None:
    if not held:
        return
    frame = pl.concat(held, how="vertical_relaxed")
    frame = frame.with_columns(part_of_user(frame[USER], n_parts))
    for (part,), rows in frame.partition_by("part", as_dict=True, include_key=False, maintain_order=True).items():
        place = bench.place("rows", f"{unit:05d}", f"{part:05d}", f"{piece:06d}.arrow")
        rows.write_ipc(place, compression="lz4")


def read_part(bench: Workbench, phase: int, part: int) -> pl.DataFrame | None:
    """Read a part as a phase left it, in the order of the source; None if it is empty."""
    if phase == 0:
        pieces = sorted(bench.folder.glob(f"rows/*/{part:05d}/*.arrow"))
        return pl.concat([pl.read_ipc(piece) for piece in pieces], how="vertical_relaxed") if pieces else None
    place = phase_file(bench, phase, part)
    frame = pl.read_ipc(place) if place.is_file() else None
    return None if frame is None or frame.is_empty() else frame


def phase_file(bench: Workbench, phase: int, part: int) -> Path:
    """Say where a phase leaves a part."""
    return bench.folder / f"phase-{phase}" / f"{part:05d}.arrow"


def write_part(bench: Workbench, phase: int, part: int, frame: pl.DataFrame) -> None:
    """Leave a part for the next phase."""
    frame.write_ipc(bench.place(f"phase-{phase}", f"{part:05d}.arrow"), compression="lz4")


def clean_part(part: int, *, bench: Workbench, phase: int, rules: Mapping[str, CleaningRule]) -> Counts:
    """Apply rules that look at one user's rows at a time; a part that was finished before is left.

    Args:
        part: Which part.
        bench: Where the parts are.
        phase: The number of the phase whose parts are read, from 0.
        rules: The rules.

    Returns:
        Rows before and after each rule.
    """
    name = f"phase-{phase + 1}-{part:05d}"
    done = bench.facts(name)
    if done is None:
        frame, done = read_part(bench, phase, part), {}
        if frame is not None:
            frame, done = apply(frame, rules)
            write_part(bench, phase + 1, part, frame)
        bench.finish(name, done)
    return done


def extend_ledger(ledger: list[LedgerEntry], counts: Sequence[Counts], names: Sequence[str], *, source: str) -> None:
    """Add up what rules removed from all parts.

    Raises:
        DataError: A rule removed all that was left.
    """
    for name in names:
        of_rule = [each[name] for each in counts if name in each]
        rows_in, rows_out = sum(pair[0] for pair in of_rule), sum(pair[1] for pair in of_rule)
        ledger.append(LedgerEntry(name, rows_in, rows_out))
        if not rows_out:
            raise DataError(
                f"cleaning rule '{name}' removed all {rows_in:,} rows of {source} that had reached it "
                f"({describe_ledger(ledger)}): loosen cleaning.{name}"
            )


def check_missing(frame: pl.DataFrame, *, source: str) -> None:
    """Refuse missing values that the rules left.

    Raises:
        DataError: There are some.
    """
    for column in (name for name in NEEDED if name in frame.columns):
        if missing := frame[column].null_count():
            raise DataError(
                f"column '{column}' of {source} has {missing:,} missing values: keep the cleaning rule 'missing', "
                "which removes such rows"
            )
