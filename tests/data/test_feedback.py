"""Logs of shown items: codes, lists of candidates, and what cannot be."""

import numpy as np
import polars as pl
import pytest

from curriculum_rec.data.feedback import FeedbackLog
from curriculum_rec.data.interactions import IdMap
from curriculum_rec.errors import DataError, OptionError

IDS = {"users": IdMap(pl.Series(["u1", "u2"])), "items": IdMap(pl.Series(["a", "b", "c"]))}
ROWS = {
    "user": ["u2", "u1", "stranger"],
    "item": ["b", "a", "new"],
    "reward": [1, 0, 2],
    "propensity": [0.5, 0.25, 1.0],
    "position": [1, 2, 1],
    "timestamp": [3, 2, 1],
    "candidates": [["b", "c"], ["a", "b", "c", "new"], ["new"]],
}


def log_of(**changes):
    columns = {name: value for name, value in (ROWS | changes).items() if value is not None}
    return FeedbackLog.from_frame(pl.DataFrame(columns, strict=False), **IDS, name="log")


def test_codes_and_candidates():
    log = log_of()
    assert log.user.tolist() == [2, 1, 0] and log.item.tolist() == [2, 1, 0]
    assert log.candidate_items.tolist() == [2, 3, 1, 2, 3, 0, 0]
    assert log.candidate_offsets.tolist() == [0, 2, 6, 7]
    assert (log.reward.tolist(), log.position.tolist(), log.timestamp.tolist()) == ([1, 0, 2], [1, 2, 1], [3, 2, 1])


def test_some_rows():
    log = log_of().take(np.array([False, True, True]))
    assert log.user_id.to_list() == ["u1", "stranger"]
    assert log.candidate_items.tolist() == [1, 2, 3, 0, 0] and log.candidate_offsets.tolist() == [0, 4, 5]
    assert log.propensity.tolist() == [0.25, 1.0]
    plain = log_of(candidates=None, position=None, timestamp=None).take(np.array([True, False, False]))
    assert (plain.candidate_items, plain.position, plain.timestamp, len(plain)) == (None, None, None, 1)


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
def test_files(tmp_path, ending):
    path = tmp_path / f"log{ending}"
    frame = pl.DataFrame(ROWS).drop("candidates")
    {".parquet": frame.write_parquet, ".csv": frame.write_csv, ".jsonl": frame.write_ndjson}[ending](path)
    log = FeedbackLog.read(path, **IDS)
    assert log.user.tolist() == [2, 1, 0] and log.propensity.tolist() == [0.5, 0.25, 1.0]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"reward": None}, "log has no column 'reward'; it has user, item, propensity"),
        ({"reward": ["much", "0", "1"]}, "'reward' of log must hold numbers"),
        ({"reward": [1.0, None, 2.0]}, "row 2 of log has no reward that is a finite number"),
        ({"user": ["u1", "u2", None]}, "row 3 of log has no user"),
        ({"propensity": [0.5, 0.0, 1.0]}, r"row 2 of log has propensity 0: .* in \(0, 1\]"),
        ({"position": [1, 2, 0]}, "row 3 of log has position 0: slots are whole numbers from 1"),
        ({"candidates": [["b"], ["b"], ["new"]]}, "row 2 of log shows 'a', which is none of its candidates"),
        ({"candidates": ["b", "a", "new"]}, "'candidates' of log must hold lists"),
        ({name: [] for name in ROWS}, "log has no rows"),
    ],
)
def test_mistakes(changes, sentence):
    with pytest.raises(DataError, match=sentence):
        log_of(**changes)


def test_files_that_are_none(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        FeedbackLog.read(tmp_path / "no.parquet", **IDS)
    with pytest.raises(OptionError, match="ending must be one of"):
        FeedbackLog.read(tmp_path / "log.txt", **IDS)
    (tmp_path / "log.parquet").write_text("nothing")
    with pytest.raises(DataError, match="cannot be read"):
        FeedbackLog.read(tmp_path / "log.parquet", **IDS)
