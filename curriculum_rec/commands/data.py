"""The commands ``data list``, ``data prepare`` and ``data describe`` (host); they load no JAX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from omegaconf import DictConfig

from curriculum_rec import config
from curriculum_rec.commands.preparing import make_store, refuse_options_of_a_store
from curriculum_rec.commands.printing import print_table
from curriculum_rec.commands.trusting import trusted_packages
from curriculum_rec.components import build, check_type
from curriculum_rec.data.catalogue import NamedSet
from curriculum_rec.data.catalogue.entries import ENTRIES, find
from curriculum_rec.data.catalogue.preparing import Place, data_root, prepare
from curriculum_rec.data.catalogue.reporting import OnStandardError, size
from curriculum_rec.data.interactions import CleaningRule, clean
from curriculum_rec.data.profile import frame_of
from curriculum_rec.data.sources import Source
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.files import check_output, write_text
from curriculum_rec.reports.data_facts import (
    COLUMN_HEADER,
    FACT_HEADER,
    LEDGER_HEADER,
    DataDescription,
    column_rows,
    describe_data,
    fact_rows,
    ledger_rows,
)
from curriculum_rec.reports.data_picture import data_page, draw_data
from curriculum_rec.reports.figures import FIGURE_ENDINGS, check_installed, write_figure


def list_sets(composed: DictConfig) -> None:
    """List the data sets that have a name."""
    config.to_data(composed)
    rows = []
    for entry in ENTRIES:
        state, remote = Place(entry, data_root()).state(), entry.remote
        download = "-" if remote is None else ("" if remote.exact else "~") + size(remote.n_bytes)
        rows.append(
            [
                entry.name,
                f"{entry.n_users:,}",
                f"{entry.n_items:,}",
                f"{entry.n_rows:,}",
                download,
                state,
                entry.licence,
            ]
        )
    header = ["name", "users", "items", "interactions", "download", "here", "licence"]
    print_table(header, rows, f"kept in {data_root()} (CURRICULUM_REC_DATA)", left=("here", "licence"))


def prepare_set(composed: DictConfig) -> None:
    """Have a named data set ready, downloading it if it is not there; with ``store`` make a store of any files."""
    data = config.absolute_paths(config.to_data(composed))
    source = _source(data, "prepare")
    if data["store"] is not None:
        make_store(source, data, trusted=trusted_packages(data))
        return
    refuse_options_of_a_store(data)
    if not isinstance(source, NamedSet):
        is_inside = source.name in INSIDE
        ready = "is inside the package" if is_inside else "lies where data.path says"
        more = "" if is_inside else ", and store=DIR makes a store of files"
        raise OptionError(
            f"{source.name} {ready}: there is nothing to prepare; 'curriculum-rec data list' names sets{more}"
        )
    path = None if source.path is None else Path(source.path)
    place = prepare(find(source.dataset), path=path, reporter=OnStandardError())
    manifest = place.manifest()
    if manifest is None:
        raise DataError(f"{place.prepared} vanished while it was prepared")
    rows = [[f"{name}.parquet", digest] for name, digest in manifest.tables.items()]
    print_table(["file", "SHA-256"], rows, f"in {place.prepared}", left=("SHA-256",))


INSIDE = ("Online Retail", "E-shop clothing")
"""Names of the sources inside the package."""


def describe(composed: DictConfig) -> None:
    """Print and draw what a person checks first of any data."""
    data = config.absolute_paths(config.to_data(composed))
    output = None if data["output"] is None else Path(data["output"])
    if output is not None:
        check_output(output, (*FIGURE_ENDINGS, ".html"))
        check_installed()
    source = _source(data, "describe")
    rules = check_type(build(data["cleaning"], "cleaning") or {}, dict[str, CleaningRule], "cleaning")
    description = _describe(source, rules)
    _print(description)
    if output is None:
        return
    if output.suffix == ".html":
        write_text(output, data_page(description))
    else:
        write_figure(output, draw_data(description))
    print(f"drawn: {output}")


def _source(data: dict[str, Any], command: str) -> Source:
    source = build(data["data"], "data", trusted=trusted_packages(data))
    if source is None:
        raise OptionError(
            f"name the data: 'curriculum-rec data {command} NAME' ('curriculum-rec data list' shows the names), or "
            "data=table data.path=FILE"
        )
    return check_type(source, Source, "data")


def _describe(source: Source, rules: dict[str, CleaningRule]) -> DataDescription:
    frame = source.read()
    tables: dict[str, pl.DataFrame] = source.tables() if hasattr(source, "tables") else {}
    try:
        kept = clean(frame, rules, source=source.name)
    except DataError as error:
        notes = [f"Cleaning leaves nothing to train on: {error}."]
        return describe_data(source.name, frame, None, tables=tables, notes=notes)
    return describe_data(source.name, frame, frame_of(kept), ledger=kept.ledger, tables=tables)


def _print(description: DataDescription) -> None:
    notes = list(description.notes)
    if description.unit is not None:
        notes.append(f"Times are taken for {UNIT_WORDS[description.unit]} since 1970, in UTC.")
    print_table(FACT_HEADER, fact_rows(description), *notes, title=description.name)
    if description.ledger:
        print_table(LEDGER_HEADER, ledger_rows(description.ledger))
    if description.columns:
        print_table(COLUMN_HEADER, column_rows(description.columns), title="what else the rows say")
    for of, (n_rows, columns) in description.tables.items():
        print_table(COLUMN_HEADER, column_rows(columns), title=f"what is known of {of} ({n_rows:,})")


UNIT_WORDS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
