"""Pages that need nothing but themselves (host): HTML with its style and its pictures inside."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

HEAD = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<h1>{title}</h1>
"""
STYLE = """\
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p { max-width: 48rem; }
svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; }
th, td { padding: .25rem .9rem .25rem 0; border-bottom: 1px solid #ddd; text-align: right; }
th { font-weight: 600; } th:first-child, td:first-child { text-align: left; }
"""


def make_page(title: str, parts: Sequence[str], *, style: str = STYLE) -> str:
    """Put pieces of HTML below a title.

    Args:
        title: Plain text.
        parts: From the functions below, or SVG elements.
        style: CSS.
    """
    return HEAD.format(title=escape(title), style=style) + "\n".join(parts) + "\n</body>\n</html>\n"


def heading(text: str) -> str:
    """Make a heading of plain text."""
    return f"<h2>{escape(text)}</h2>"


def paragraph(text: str) -> str:
    """Make a paragraph of plain text.

    >>> paragraph("a < b")
    '<p>a &lt; b</p>'
    """
    return f"<p>{escape(text)}</p>"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Make a table of plain texts."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>\n<tr>{head}</tr>\n{body}\n</table>"
