"""The files of a report (host): what came of a study, to read and to take over into a paper."""

from __future__ import annotations

from pathlib import Path

from curriculum_rec.errors import OptionError
from curriculum_rec.files import write_text
from curriculum_rec.studies.findings import Report, place_title
from curriculum_rec.studies.html_page import to_html_page
from curriculum_rec.studies.table import to_csv, to_latex, to_markdown

BEGIN, END = "<!-- report begin -->", "<!-- report end -->"


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
    """Write the report between the two markers of a Markdown file, which is otherwise left as it is.

    Raises:
        OptionError: The file has no markers.
    """
    check_markers(path)
    before, _, rest = path.read_text().partition(BEGIN)
    write_text(path, f"{before}{BEGIN}\n{to_page(report, level=3)}{END}{rest.partition(END)[2]}")


def check_markers(path: Path) -> None:
    """Look for the markers of a Markdown file, before anything is computed in vain.

    Raises:
        OptionError: It has none.
    """
    text = path.read_text() if path.is_file() else ""
    if not 0 <= text.find(BEGIN) < text.find(END):
        raise OptionError(f"into={path}: there must be a file with the lines '{BEGIN}' and '{END}'")


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
