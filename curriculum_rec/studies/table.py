"""Tables (host) that can be read, parsed and printed: the same columns as Markdown, CSV, LaTeX and HTML."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

LATEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
         "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
         "<": r"\textless{}", ">": r"\textgreater{}"}  # fmt: skip
Form = Callable[[Any], str]


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        name: Its heading.
        values: One a row; None for nothing.
        form: How a value is written for a person: of :func:`format`, or a function.
    """

    name: str
    values: tuple[Any, ...]
    form: str | Form = ""

    def texts(self) -> list[str]:
        """Write the values for a person."""
        form = self.form if callable(self.form) else lambda value: format(value, self.form)  # type: ignore[arg-type]
        return ["" if value is None or _is_nan(value) else form(value) for value in self.values]

    @property
    def is_text(self) -> bool:
        """Whether it holds words, which begin at the left."""
        return all(value is None or isinstance(value, str) for value in self.values)


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: Its file's name.
        title: What it shows.
        note: What a reader must know to read it.
        columns: All of the same length.
    """

    name: str
    title: str
    note: str
    columns: tuple[Column, ...]

    @property
    def header(self) -> list[str]:
        """The headings."""
        return [column.name for column in self.columns]

    def rows(self) -> list[list[str]]:
        """Give the rows as texts for a person."""
        return [list(row) for row in zip(*(column.texts() for column in self.columns), strict=True)]


def rows_to_table(
    name: str, title: str, note: str, forms: dict[str, str | Form], rows: Sequence[dict[str, Any]]
) -> Table:
    """Make a table of rows.

    Args:
        name: Its file's name.
        title: What it shows.
        note: What a reader must know.
        forms: The headings, and how the values below each are written.
        rows: Values by heading; what is missing is empty. Columns in which nothing stands are left out.
    """
    columns = [Column(heading, tuple(row.get(heading) for row in rows), form) for heading, form in forms.items()]
    return Table(name, title, note, tuple(column for column in columns if any(v is not None for v in column.values)))


def to_markdown(table: Table) -> str:
    r"""Write a table as Markdown.

    >>> print(to_markdown(Table("t", "", "", (Column("arm", ("a|b",)), Column("x", (0.5,), ".2f")))), end="")
    | arm | x |
    |---|---:|
    | a\|b | 0.50 |
    """
    rule = "".join("---|" if column.is_text else "---:|" for column in table.columns)
    lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in (table.header, *table.rows())]
    return "\n".join([f"| {lines[0]} |", f"|{rule}", *(f"| {line} |" for line in lines[1:])]) + "\n"


def to_html(table: Table) -> str:
    """Write a table as HTML that a script can sort: ``data-value`` is what a cell's text stands for.

    >>> print(to_html(Table("t", "", "", (Column("arm", ("a<b",)), Column("x", (0.5,), ".2f")))), end="")
    <table>
    <thead><tr><th scope="col" class="text">arm</th><th scope="col">x</th></tr></thead>
    <tbody>
    <tr><th scope="row" class="text" data-value="a&lt;b">a&lt;b</th><td data-value="0.5">0.50</td></tr>
    </tbody>
    </table>
    """
    kinds = [' class="text"' if column.is_text else "" for column in table.columns]
    head = "".join(f'<th scope="col"{kind}>{escape(name)}</th>' for kind, name in zip(kinds, table.header, strict=True))
    tags = ["td"] * len(kinds)
    tags[0] = 'th scope="row"'
    lines = []
    for texts, values in zip(table.rows(), zip(*(column.values for column in table.columns), strict=True), strict=True):
        cells = zip(tags, kinds, values, texts, strict=True)
        lines.append("".join(f"<{t}{k}{_raw(v)}>{escape(text)}</{t[:2]}>" for t, k, v, text in cells))
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n"


def _raw(value: Any) -> str:
    """Give what a cell is sorted by: an interval by its middle."""
    if value is None or _is_nan(value):
        return ""
    value = sum(value) / len(value) if isinstance(value, tuple) else value
    return f' data-value="{escape(str(value))}"'


def to_csv(table: Table) -> str:
    """Write a table as CSV, numbers as they are and the two ends of an interval as two columns."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    columns = [part for column in table.columns for part in _ends(column)]
    writer.writerow([column.name for column in columns])
    for row in zip(*(column.values for column in columns), strict=True):
        writer.writerow(["" if value is None or _is_nan(value) else value for value in row])
    return buffer.getvalue()


def _ends(column: Column) -> list[Column]:
    """Cut a column of intervals into two."""
    if not any(isinstance(value, tuple) for value in column.values):
        return [column]
    ends = [tuple(None if value is None else value[end] for value in column.values) for end in (0, 1)]
    return [Column(f"{column.name}, {name}", values) for name, values in zip(("low", "high"), ends, strict=True)]


def to_latex(table: Table) -> str:
    r"""Write a table in LaTeX, for the package booktabs.

    >>> print(to_latex(Table("t", "A_b", "", (Column("arm", ("x",)), Column("p", (0.5,), ".2f")))), end="")
    \begin{table}
    \centering
    \caption{A\_b}
    \label{tab:t}
    \begin{tabular}{lr}
    \toprule
    arm & p \\
    \midrule
    x & 0.50 \\
    \bottomrule
    \end{tabular}
    \end{table}
    """
    align = "".join("l" if column.is_text else "r" for column in table.columns)
    head, *body = (" & ".join(map(escape_latex, row)) + r" \\" for row in (table.header, *table.rows()))
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(table.title)}}}",
        rf"\label{{tab:{table.name}}}",
    ]
    lines += [rf"\begin{{tabular}}{{{align}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule"]
    return "\n".join([*lines, r"\end{tabular}", r"\end{table}"]) + "\n"


def escape_latex(text: str) -> str:
    r"""Write plain text in LaTeX; a minus before a number is set as one.

    >>> escape_latex("-0.5 to 95 %")
    '$-$0.5 to 95 \\%'
    """
    escaped = "".join(LATEX.get(character, character) for character in text)
    return f"$-${escaped[1:]}" if escaped[:1] == "-" and escaped[1:2].isdigit() else escaped


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
