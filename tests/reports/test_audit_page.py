import numpy as np
import pytest

from curriculum_rec.reports.audit import Scorer, audit
from curriculum_rec.reports.audit_page import audit_page, scorer_table
from curriculum_rec.reports.run_log import RunLog

NOISE = np.arange(20) >= 17
SCORERS = [
    Scorer("length", np.arange(20.0)[None]),
    Scorer("even & odd", np.stack([np.arange(20) % 2, np.arange(20) % 2]).astype(float)),
    Scorer("flat", np.zeros((1, 20))),
]


def test_the_table_has_the_columns_that_are_known():
    header, rows = scorer_table(audit(SCORERS, NOISE))
    assert header == ["scorer", "seeds", "different scores", "split-half", "AUC against noise", "with length"]
    assert rows[0] == ["length", "1", "100.0%", "-", "1.000", "1.000"]
    # Of the three wrong ones 17 and 19 are odd, of the 17 right ones 8: (2 (9 + 8/2) + 9/2) / (3 * 17).
    assert rows[1][:5] == ["even & odd", "2", "10.0%", "1.000", f"{30.5 / 51:.3f}"]
    assert rows[2] == ["flat", "1", "5.0%", "-", "0.500", "-"]
    header, rows = scorer_table(audit(SCORERS[:1]))
    assert header == ["scorer", "seeds", "different scores", "with length"]


def test_a_page_shows_what_is_known():
    pytest.importorskip("matplotlib", reason="the extra 'figures' is not installed")
    rows = tuple(
        {"event": "curriculum", "step": step, "decile_losses": [1.0 / step] * 9 + [None]} for step in (10, 20, 30)
    )
    log = RunLog("a_run", {"curriculum": rows, "train": ({"step": 30},)}, {})
    untold = RunLog("another", {"train": ({"step": 30},)}, {})
    page = audit_page("Audit of <this>", audit(SCORERS, NOISE), [log, untold])
    assert "Audit of &lt;this&gt;" in page
    assert "even &amp; odd" in page
    assert page.count("<svg") == 4
    assert "3 targets (15.0%) are known to be wrong" in page
    assert "a_run" in page
    assert "another" not in page
    without = audit_page("Audit", audit(SCORERS), [untold])
    assert without.count("<svg") == 2
    assert "wrong" not in without
