"""The files of a report (host)."""

from __future__ import annotations

from pathlib import Path

from curriculum_rec.files import write_text
from curriculum_rec.studies.html_page import to_html_page
from curriculum_rec.studies.report import Report, to_page
from curriculum_rec.studies.table import to_csv, to_latex


def write_report(folder: Path, report: Report, *, page: bool = True) -> None:
    """Write ``report.md``, ``report.html``, and a CSV and a LaTeX file a table.

    Args:
        folder: Where to.
        report: What.
        page: Whether ``report.html`` is written, which needs Plotly.

    Raises:
        OptionError: Plotly is not installed.
        RunError: The configuration of a run cannot be read.
    """
    write_text(folder / "report.md", f"# Report\n\n{to_page(report)}")
    for tables in report.tables.values():
        for table in tables:
            write_text(folder / "tables" / f"{table.name}.csv", to_csv(table))
            write_text(folder / "tables" / f"{table.name}.tex", to_latex(table))
    if page:
        write_text(folder / "report.html", to_html_page(report))
