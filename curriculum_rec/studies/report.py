"""The files of a report (host): what came of a study, to read and to take over into a paper."""

from __future__ import annotations

import re
from pathlib import Path

from curriculum_rec.errors import OptionError
from curriculum_rec.files import write_text
from curriculum_rec.studies.findings import Report, place_title
from curriculum_rec.studies.html_page import to_html_page
from curriculum_rec.studies.table import to_csv, to_latex, to_markdown

BLOCK = re.compile(r"<!-- (?P<what>report|table (?P<table>[\w.-]+)) begin -->\n(?:.*\n)*?<!-- (?P=what) end -->")
"""A part of a Markdown file that a report fills: with all that it says, or with one of its tables."""


def to_page(report: Report, *, level: int = 2) -> str:
    """Write the report as Markdown.

    Args:
        report: What it says.
        level: Of its outermost headings.
    """
    outer, inner = "#" * level, "#" * (level + 1)
    lines = [f"{outer} The question", "", report.results.options.question, "", f"{outer} The answer", ""]
    lines += [text for paragraph in report.answer for text in (paragraph, "")]
    for place, tables in report.tables.items():
        lines += [f"{outer} {place_title(place)}", ""]
        for table in tables:
            lines += [f"{inner} {table.title}", "", table.note, "", to_markdown(table)]
    lines += [f"{outer} How to do it again", "", "```", report.command, "```"]
    return "\n".join(lines) + "\n"


def put_into(path: Path, report: Report) -> None:
    """Write the report, or tables of it, between markers of a Markdown file, which is otherwise left as it is.

    ``<!-- report begin -->`` and ``<!-- report end -->`` take the whole, ``<!-- table NAME begin -->`` and ``<!-- table
    NAME end -->`` the table that ``tables/NAME.csv`` is as well. Tables of other studies stay.

    Raises:
        OptionError: The file has no markers for anything that the report has.
    """
    check_markers(path)
    tables = {table.name: to_markdown(table) for place in report.tables.values() for table in place}
    texts: dict[str | None, str] = {None: to_page(report, level=3)}
    texts.update(tables)
    before = path.read_text()
    if not any(block["table"] in texts for block in BLOCK.finditer(before)):
        raise OptionError(f"into={path}: it asks for none of this report's tables: {', '.join(tables)}")

    def fill(block: re.Match[str]) -> str:
        what, table = block["what"], block["table"]
        return f"<!-- {what} begin -->\n{texts[table]}<!-- {what} end -->" if table in texts else block[0]

    write_text(path, BLOCK.sub(fill, before))


def check_markers(path: Path) -> None:
    """Look for the markers of a Markdown file, before anything is computed in vain.

    Raises:
        OptionError: It has none.
    """
    if not (path.is_file() and BLOCK.search(path.read_text())):
        raise OptionError(
            f"into={path}: there must be a file with the lines '<!-- report begin -->' and '<!-- report end -->', or "
            "with '<!-- table NAME begin -->' and '<!-- table NAME end -->', the name being that of a file in tables/"
        )


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
