"""The commands that write a report, with and without what its page needs."""

import json
import warnings

import pytest
from told_study import CONTENT, QUALITIES, write_study

from curriculum_rec.cli import main
from curriculum_rec.commands import studying
from curriculum_rec.studies import html_page

# Data of runs that were never trained cannot be read.
pytestmark = pytest.mark.filterwarnings("ignore:no slices of")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The folder of the study, a seed an arm."""
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # the program sets its own
    (write_study(tmp_path, n_seeds=1) / "study.yaml").write_text(json.dumps(CONTENT))
    return tmp_path


@pytest.fixture
def without_plotly(monkeypatch):
    monkeypatch.setattr(html_page, "find_spec", lambda name: None)


def test_report_writes_page_words_and_tables(root, capsys):
    assert main(["report", f"study={root}"]) == 0
    assert "d, clean: plain has a test ndcg@10" in capsys.readouterr().out
    written = {path.name for path in (root / "report").rglob("*.*")}
    assert {"report.html", "report.md", "d-clean-quality.csv", "d-clean-quality.tex", "d-noisy-cost.csv"} <= written
    assert all(arm in (root / "report" / "report.html").read_text() for arm in QUALITIES)


def test_without_plotly_report_says_so_before_any_work(root, capsys, without_plotly):
    assert main(["report", f"study={root}"]) == 2
    assert capsys.readouterr().err == "curriculum-rec: report.html needs Plotly: pip install 'curriculum-rec[report]'\n"
    assert not (root / "report").exists()


def test_at_the_end_of_a_study_there_is_a_report_even_without_plotly(root, capsys, without_plotly):
    studying._report_study(root, ())
    assert "needs the extra: pip install 'curriculum-rec[report]'" in capsys.readouterr().out
    assert (root / "report" / "report.md").is_file()
    assert not (root / "report" / "report.html").exists()


def test_a_report_that_cannot_be_written_is_a_warning(root):
    for summary in (root / "d" / "clean").glob("*/seed-0/summary.json"):
        changed = json.loads(summary.read_text()) | {"split_hash": summary.parts[-3]}
        summary.write_text(json.dumps(changed))
    with pytest.warns(UserWarning, match="no report: .* had different data"):
        studying._report_study(root, ())
