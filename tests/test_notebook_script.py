"""The script in cells, experiments/own_model.py, runs as it stands."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[1] / "experiments" / "own_model.py"


def test_it_is_written_in_percent_cells():
    cells = re.findall(r"^# %%(.*)$", SCRIPT.read_text(), flags=re.MULTILINE)
    assert set(cells) == {"", " [markdown]"}
    assert cells.count("") >= 5


TELL = """
import json, runpy, sys
names = runpy.run_path(sys.argv[1])
curves = {name: curve.tolist() for name, curve in names["curves"].items()}
losses = [names["results"][name][0].loss.tolist() for name in ("curriculum", "random")]
told = {"curves": curves, "at": names["at"].tolist(), "losses": losses, "difference": names["comparison"].difference}
print(json.dumps(told))
"""


def test_it_runs_and_draws_and_compares(tmp_path):
    pytest.importorskip("matplotlib", reason="the extra 'figures' is not installed")
    where = {"OWN_MODEL_STEPS": "40", "OWN_MODEL_OUTPUT": str(tmp_path / "curves.svg")}
    # A process of its own, as a person starts it: with this one's devices and caches it would be another program.
    done = subprocess.run(
        [sys.executable, "-c", TELL, str(SCRIPT)],
        env={**os.environ, **where},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "3 paired seeds are too few for a claim" in done.stderr
    assert "accuracy, held out" in (tmp_path / "curves.svg").read_text()
    *output, told = done.stdout.splitlines()
    assert "no 3 seeds can make smaller than 0.25" in " ".join(output)
    names = json.loads(told)
    curves = {name: np.array(curve) for name, curve in names["curves"].items()}
    assert {name: curve.shape for name, curve in curves.items()} == {"curriculum": (3, 20), "random": (3, 20)}
    assert names["at"] == list(range(2, 41, 2))
    # Paired by seed: the same initial weights and data in both arms, another order.
    mean = np.mean(curves["curriculum"][:, -1] - curves["random"][:, -1])
    assert names["difference"] == pytest.approx(mean)
    assert f"{mean:+.4f}" in " ".join(output)
    assert names["losses"][0] != names["losses"][1]
