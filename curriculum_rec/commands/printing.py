"""What commands print (host)."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any

from rich.console import Console
from rich.table import Table

from curriculum_rec.reports.run_page import reference_title

WIDTH = 200
"""Most letters a line where no terminal says it: a file takes any, and a table is as wide as it must be."""


def print_quality(title: str, quality: dict[str, float], reference: dict[str, Any], *after: str) -> None:
    """Print metrics beside those of what learns nothing."""
    rows = [[name, f"{value:.4f}", f"{reference[name]:.4f}"] for name, value in quality.items()]
    print_table(["metric", "model", reference_title(reference["model"])], rows, *after, title=title)


def print_table(
    header: list[str], rows: list[list[str]], *after: str, title: str | None = None, left: Collection[str] = ()
) -> None:
    """Print a table, its first column to the left and numbers to the right, with lines before and after it.

    Args:
        header: Names of the columns.
        rows: Their cells.
        after: Lines after the table.
        title: A line before it.
        left: Names of further columns that go to the left.
    """
    table = Table(header[0])
    for name in header[1:]:
        table.add_column(name, justify="left" if name in left else "right")
    for row in rows:
        table.add_row(*row)
    # Written at once, so that runs beside each other do not mix their lines.
    with Console(width=None if sys.stdout.isatty() else WIDTH) as console:
        if title is not None:
            console.out(title, highlight=False)
        console.print(table)
        for line in after:
            console.out(line, highlight=False)
