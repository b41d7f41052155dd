"""The tables compile where LaTeX is installed."""

import shutil
import subprocess

import pytest
from told_study import make_report

from curriculum_rec.studies.table import to_latex


def test_all_tables_compile_with_booktabs(tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("there is no pdflatex")
    report = make_report(tmp_path)
    tables = [to_latex(table) for tables in report.tables.values() for table in tables]
    preamble = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n"
    (tmp_path / "all.tex").write_text(f"{preamble}{''.join(tables)}\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "all.pdf").stat().st_size > 10_000
