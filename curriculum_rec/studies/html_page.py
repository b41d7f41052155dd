"""The report as one page (host): HTML with its style, its script, its plots and Plotly inside."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from importlib.util import find_spec
from typing import Any
from urllib.parse import quote

from curriculum_rec.errors import OptionError
from curriculum_rec.reports.page import make_page, paragraph
from curriculum_rec.studies.findings import Report, place_title
from curriculum_rec.studies.grid import Place
from curriculum_rec.studies.html_plots import plot_block
from curriculum_rec.studies.looks import THEMES, looks
from curriculum_rec.studies.place_plots import place_plots
from curriculum_rec.studies.plots import Looks, Plot
from curriculum_rec.studies.settings import config_texts, settings_tables
from curriculum_rec.studies.table import Table, to_csv, to_html, to_latex

TOPICS = ("quality", "curves", "baseline", "controls", "pacing", "depth", "trained", "slices", "budgets", "cost")
"""The order in which a place is told."""


def is_installed() -> bool:
    """Say whether Plotly is there."""
    return find_spec("plotly") is not None


def check_installed() -> None:
    """Look for Plotly, before anything is computed in vain.

    Raises:
        OptionError: It is not installed.
    """
    if not is_installed():
        raise OptionError("report.html needs Plotly: pip install 'curriculum-rec[report]'")


def to_html_page(report: Report) -> str:
    """Write the report as a page that needs nothing but itself.

    Raises:
        OptionError: Plotly is not installed.
        RunError: The configuration of a run cannot be read.
    """
    check_installed()
    from plotly.offline import get_plotlyjs  # noqa: PLC0415 - optional

    results = report.results
    of_arms = looks(dict.fromkeys(arm for cell in results.cells.values() for arm in cell), results.options)
    plots: list[Plot] = []
    sections = {"The answer": _answer(report)}
    for place, tables in report.tables.items():
        own: Sequence[Plot] = ()
        if place is not None:
            own = place_plots(results.cells[place], results.options, report.slices.get(place), of_arms)
        sections[place_title(place)] = _place(place, tables, own, len(plots), of_arms)
        plots += own
    sections["What was run"] = _settings(report)
    body = [_contents(list(sections))]
    for number, (title, content) in enumerate(sections.items()):
        body.append(f'<section id="part-{number}">\n<h2>{escape(title)}</h2>\n{content}\n</section>')
    scripts = [_data(plots), f"<script>{get_plotlyjs()}</script>", f"<script>\n{_asset('report.js')}</script>"]
    return make_page(results.options.question, ["<main>", *body, "</main>", *scripts], style=_style())


def _answer(report: Report) -> str:
    results = report.results
    finished = f"{results.n_finished} runs are finished"
    if results.n_finished < results.n_planned:
        finished = f"{results.n_finished} of {results.n_planned} planned runs are finished"
    said = [paragraph(text) for text in report.answer]
    return "\n".join([*said, f'<p class="soft">{finished}; test {escape(results.options.metric)} decides.</p>'])


def _contents(titles: Sequence[str]) -> str:
    links = "".join(f'<li><a href="#part-{number}">{escape(title)}</a></li>' for number, title in enumerate(titles))
    return f'<nav aria-label="contents"><ul>{links}</ul></nav>'


def _place(place: Place | None, tables: Sequence[Table], plots: Sequence[Plot], first_plot: int, of_arms: Looks) -> str:
    """Tell a place by topics: the plots of each above its table."""
    by_topic: dict[str, list[str]] = {}
    titles: dict[str, str] = {}
    for table in tables:
        topic = table.name if place is None else topic_of(table, place)
        titles[topic] = table.title
        by_topic.setdefault(topic, []).append(_table(table))
    for number, plot in enumerate(plots, first_plot):
        titles.setdefault(plot.topic, plot.title)
        by_topic.setdefault(plot.topic, []).insert(0, plot_block(plot, number, of_arms))
    order = [*(topic for topic in TOPICS if topic in by_topic), *(topic for topic in by_topic if topic not in TOPICS)]
    return "\n".join(f"<h3>{escape(titles[topic])}</h3>\n" + "\n".join(by_topic[topic]) for topic in order)


def topic_of(table: Table, place: Place) -> str:
    """Name the subject of a place's table: what its name has besides the place's.

    >>> [topic_of(Table(name, "", "", ()), Place("ml", "all")) for name in ("ml-all", "ml-all-cost")]
    ['quality', 'cost']
    """
    return table.name.removeprefix(f"{place.data}-{place.condition}").removeprefix("-") or "quality"


def _table(table: Table) -> str:
    """Make a table that scrolls sideways in its box, and the files to take over."""
    kinds = {"csv": ("text/csv", to_csv(table)), "tex": ("application/x-tex", to_latex(table))}
    links = " ".join(
        f'<a download="{escape(table.name)}.{ending}" href="data:{kind};charset=utf-8,{quote(text)}">{word}</a>'
        for (ending, (kind, text)), word in zip(kinds.items(), ("CSV", "LaTeX"), strict=True)
    )
    note = f"<figcaption>{escape(table.note)}</figcaption>" if table.note else ""
    box = f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.title)}">{to_html(table)}</div>'
    return f'<figure class="table">{box}\n{note}<p class="files">{links}</p></figure>'


def _settings(report: Report) -> str:
    parts = ["<h3>How to do it again</h3>", f"<pre>{escape(report.command)}</pre>"]
    for table in settings_tables(report.results):
        parts += [f"<h3>{escape(table.title)}</h3>", _table(table)]
    parts.append("<h3>Whole configurations</h3>")
    parts.append(paragraph("Of the first seed of every arm; other seeds differ by the seed and by the folder alone."))
    for name, text in config_texts(report.results).items():
        parts.append(f"<details><summary>{escape(name)}</summary><pre>{escape(text)}</pre></details>")
    return "\n".join(parts)


def _data(plots: Sequence[Plot]) -> str:
    content: Mapping[str, Any] = {
        "themes": THEMES,
        "plots": [{"panels": plot.panels, "choices": plot.choices} for plot in plots],
    }
    # Nothing inside may close the element.
    text = json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="plots">{text}</script>'


def _style() -> str:
    """Put the colours of both themes before the style; print is always light."""
    light, dark = (
        ":root{" + "".join(f"--{name[1:]}:{value};" for name, value in THEMES[theme].items()) + "}"
        for theme in ("light", "dark")
    )
    return f"{light}\n@media screen and (prefers-color-scheme: dark) {{ {dark} }}\n{_asset('report.css')}"


def _asset(name: str) -> str:
    return (files(__package__) / name).read_text()
