"""The page of a report: self-contained, whole, escaped, the same bytes every time."""

import json
import re
from html.parser import HTMLParser

import pytest
from told_study import QUALITIES, QUESTION, make_report

from curriculum_rec.errors import OptionError
from curriculum_rec.studies import html_page
from curriculum_rec.studies.html_page import to_html_page
from curriculum_rec.studies.looks import THEMES
from curriculum_rec.studies.plots import coloured


class Reader(HTMLParser):
    """Collects elements with their attributes, the texts of tables, and what is inside scripts."""

    def __init__(self):
        super().__init__()
        self.elements, self.tables, self.headings, self.scripts, self.open = [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag in ("h1", "h2", "h3"):
            self.headings.append("")
        elif tag == "script":
            self.scripts.append((dict(attributes), ""))

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if not self.open:
            return
        if self.open[-1] in ("th", "td"):
            self.tables[-1].append(data)
        elif self.open[-1] in ("h1", "h2", "h3"):
            self.headings[-1] += data
        elif self.open[-1] == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return make_report(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def page(report):
    return to_html_page(report)


@pytest.fixture(scope="module")
def read(page):
    reader = Reader()
    reader.feed(page)
    return reader


def test_the_page_loads_nothing(page, read):
    for tag, attributes in read.elements:
        assert "src" not in attributes, tag
        assert tag not in ("link", "iframe", "object", "embed", "img"), tag
        assert re.match(r"#|data:", attributes.get("href", "#")), attributes
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style and "@import" not in style


def test_every_arm_is_in_every_table_of_a_place(read, report):
    tables = {",".join(cells): cells for cells in read.tables}
    for place_tables in report.tables.values():
        for table in place_tables:
            found = [cells for cells in read.tables if cells[: len(table.header)] == table.header]
            texts = [text for row in table.rows() for text in row if text]
            assert any([c for c in cells[len(table.header) :] if c] == texts for cells in found), table.title
    assert len(tables) > 10
    assert sum(set(QUALITIES) <= set(cells) for cells in read.tables) >= 8  # quality, slices, budgets and cost, twice


def test_a_question_is_words_whatever_stands_in_it(page, read):
    assert QUESTION in read.headings
    assert "<script>window.broken" not in page
    assert len(read.scripts) == 3


def test_the_same_results_give_the_same_bytes(page, report):
    assert to_html_page(report) == page


def test_the_script_finds_the_figures_of_every_plot(read):
    content = json.loads(next(text for attributes, text in read.scripts if attributes.get("id") == "plots"))
    numbers = [int(attributes["data-plot"]) for _, attributes in read.elements if "data-plot" in attributes]
    assert numbers == list(range(len(content["plots"])))
    buttons = {attributes["data-choice"] for _, attributes in read.elements if "data-choice" in attributes}
    assert buttons == {choice for plot in content["plots"] for choice in plot["choices"]} != set()


def test_plotly_knows_everything_that_figures_say(read):
    graph_objects = pytest.importorskip("plotly.graph_objects")
    content = json.loads(next(text for attributes, text in read.scripts if attributes.get("id") == "plots"))
    for colours in THEMES.values():
        for plot in content["plots"]:
            for figure in (*plot["panels"], *plot["choices"].values()):
                assert "$" not in json.dumps(coloured(figure, colours))
                graph_objects.Figure(coloured(figure, colours))  # refuses names and values that it does not know


def test_what_was_run_is_told_with_hashes_versions_and_the_way_to_do_it_again(page, read, report):
    assert f"<pre>{report.command}</pre>" in page
    settings = next(cells for cells in read.tables if cells[:3] == ["arm", "option", "value"])
    at = settings.index("order")
    assert settings[at : at + 4] == ["order", "curriculum.order", "curriculum", "standard"]
    runs = next(cells for cells in read.tables if "config hash" in cells)
    for run in report.results.all():
        assert run.summary["config_hash"] in runs and run.summary["split_hash"] in runs
    assert page.count("<details>") == 2 * len(QUALITIES)
    assert ["package", "version", "python", "3.11", "jax", "0.10"] in read.tables


def test_without_plotly_a_sentence_names_the_extra(report, monkeypatch):
    monkeypatch.setattr(html_page, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"pip install 'curriculum-rec\[report\]'"):
        to_html_page(report)
