"""The script in cells, experiments/own_model.py, runs as it stands."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[1] / "experiments" / "own_model.py"


def test_it_is_written_in_percent_cells():
    cells = re.findall(r"^# %%(.*)$", SCRIPT.read_text(), flags=re.MULTILINE)
    assert set(cells) == {"", " [markdown]"}
    assert cells.count("") >= 5


def test_it_runs_and_draws_and_compares(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib", reason="the extra 'figures' is not installed")
    monkeypatch.setenv("OWN_MODEL_STEPS", "40")
    monkeypatch.setenv("OWN_MODEL_OUTPUT", str(tmp_path / "curves.svg"))
    with pytest.warns(UserWarning, match="3 paired seeds are too few for a claim"):
        names = runpy.run_path(str(SCRIPT))
    assert "accuracy, held out" in (tmp_path / "curves.svg").read_text()
    output = capsys.readouterr().out
    assert "no 3 seeds can make smaller than 0.25" in output
    curves = names["curves"]
    assert {name: curve.shape for name, curve in curves.items()} == {"curriculum": (3, 20), "random": (3, 20)}
    assert names["at"].tolist() == list(range(2, 41, 2))
    # Paired by seed: the same initial weights and data in both arms, another order.
    mean = np.mean(curves["curriculum"][:, -1] - curves["random"][:, -1])
    assert names["comparison"].difference == pytest.approx(mean)
    assert f"{mean:+.4f}" in output
    assert not np.array_equal(names["results"]["curriculum"][0].loss, names["results"]["random"][0].loss)
