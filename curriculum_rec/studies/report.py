"""The report of a study (host): what came of it, to read and to take over into a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from curriculum_rec.errors import OptionError
from curriculum_rec.files import write_text
from curriculum_rec.studies.answer import answer
from curriculum_rec.studies.grid import Place
from curriculum_rec.studies.results import Results
from curriculum_rec.studies.slices import Slices
from curriculum_rec.studies.table import Table, to_csv, to_latex, to_markdown
from curriculum_rec.studies.tables import all_tables

BEGIN, END = "<!-- report begin -->", "<!-- report end -->"


@dataclass(frozen=True)
class Report:
    """Everything that a report says.

    Attributes:
        results: The finished runs.
        answer: In words, a paragraph each.
        tables: By place; those across places under None.
        command: What reproduces it.
    """

    results: Results
    answer: Sequence[str]
    tables: Mapping[Place | None, Sequence[Table]]
    command: str

    @classmethod
    def of(cls, results: Results, slices: Mapping[Place, Slices], *, command: str) -> Report:
        """Compute it.

        Args:
            results: The finished runs.
            slices: Of each place whose data can be read.
            command: What reproduces the runs.
        """
        return cls(results, answer(results), all_tables(results, slices), command)


def place_title(place: Place | None) -> str:
    """Name a place for a heading."""
    if place is None:
        return "Across conditions"
    return place.data if place.condition == "all" else f"{place.data}, {place.condition}"


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


def write_report(folder: Path, report: Report) -> None:
    """Write ``report.md`` and a CSV and a LaTeX file a table.

    Args:
        folder: Where to.
        report: What.
    """
    write_text(folder / "report.md", f"# Report\n\n{to_page(report)}")
    for tables in report.tables.values():
        for table in tables:
            write_text(folder / "tables" / f"{table.name}.csv", to_csv(table))
            write_text(folder / "tables" / f"{table.name}.tex", to_latex(table))
