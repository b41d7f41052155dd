"""The mirror: what it sends, what it sends again, and what it does when a tracker fails."""

import json
import warnings
from dataclasses import dataclass, field

import pytest

from curriculum_rec.errors import OptionError, RunError
from curriculum_rec.tracking import Mirror, Tracker
from curriculum_rec.tracking.contract import require
from curriculum_rec.training.interrupt import Interrupted
from curriculum_rec.training.run_directory import MetricsLog

ROWS = [
    {"event": "stage", "step": 0, "stage": "train", "depth": 2, "preserves_function": None},
    {"event": "train", "step": 4, "loss": 3.5, "share": 1.0, "learning_rate": None},
    {"event": "evaluation", "step": 4, "split": "validation", "ndcg@10": 0.25},
]


@dataclass
class Memory:
    """Takes everything, or fails at the call that it is told to fail at."""

    fails_at: str = ""
    calls: list = field(default_factory=list)
    identity: dict = field(default_factory=lambda: {"id": "7"})

    def begin(self, run):
        self._call("begin", dict(run.known))
        return self

    def row(self, event, step, values):
        self._call("row", event, step, dict(values))

    def end(self, status):
        self._call("end", status)

    def _call(self, name, *what):
        if name == self.fails_at:
            raise ConnectionError("no server\nat all")
        self.calls.append((name, *what))


def mirror(folder, **trackers):
    return Mirror(trackers, "run", folder, {"seed": 0})


def test_only_numbers_are_sent_under_the_names_of_their_events(tmp_path):
    memory = Memory()
    assert isinstance(memory, Tracker)
    mine = mirror(tmp_path, memory=memory)
    mine.begin([])
    for row in ROWS:
        mine.row(row)
    mine.end("finished")
    assert memory.calls == [
        ("begin", {}),
        ("row", "stage", 0, {"stage/depth": 2.0}),
        ("row", "train", 4, {"train/loss": 3.5, "train/share": 1.0}),
        ("row", "evaluation", 4, {"validation/ndcg@10": 0.25}),
        ("end", "finished"),
    ]


def test_a_run_that_goes_on_is_known_and_its_rows_are_sent_from_the_first(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl", mirror(tmp_path, memory=Memory()))
    log.rewind(0)
    for row in ROWS:
        log.write(**row)
    position = log.position()
    log.write("train", step=8, loss=9.0)
    log.close()
    later = Memory()
    log = MetricsLog(tmp_path / "metrics.jsonl", mirror(tmp_path, memory=later))
    log.rewind(position)
    log.write("train", step=8, loss=3.0)
    log.close()
    assert later.calls[0] == ("begin", {"id": "7"})
    assert [call[2] for call in later.calls[1:]] == [0, 4, 4, 8]
    assert later.calls[-1] == ("row", "train", 8, {"train/loss": 3.0})
    assert json.loads((tmp_path / "tracking.json").read_text()) == {"memory": {"id": "7"}}


@pytest.mark.parametrize("call", ["begin", "row", "end"])
def test_a_tracker_that_fails_is_left_out_with_one_warning(tmp_path, call):
    bad, good = Memory(fails_at=call), Memory()
    mine = mirror(tmp_path, bad=bad, good=good)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        mine.begin(ROWS)
        for row in ROWS:
            mine.row(row)
        mine.end("finished")
    [warning] = warned
    assert "tracking.bad failed and is left out from here on (no server)" in str(warning.message)
    assert "track run=" in str(warning.message)
    assert [each[0] for each in good.calls] == ["begin", *["row"] * 6, "end"]


def test_a_strict_mirror_fails_with_its_tracker(tmp_path):
    with pytest.raises(RunError, match=r"tracking\.bad failed: no server"):
        Mirror({"bad": Memory(fails_at="row")}, "run", tmp_path, {}, strict=True).begin(ROWS)


@pytest.mark.parametrize(
    ("error", "status"), [(None, "finished"), (ValueError("x"), "failed"), (Interrupted("run"), "interrupted")]
)
def test_trackers_hear_how_a_run_ended(tmp_path, error, status):
    memory = Memory()

    def run():
        with mirror(tmp_path, memory=memory) as mine:
            mine.begin([])
            if error is not None:
                raise error

    if error is None:
        run()
    else:
        with pytest.raises(type(error)):
            run()
    assert memory.calls[-1] == ("end", status)


def test_a_damaged_file_of_identities_stops_nothing(tmp_path):
    (tmp_path / "tracking.json").write_text("{")
    memory = Memory()
    mirror(tmp_path, memory=memory).begin([])
    assert memory.calls == [("begin", {})]
    assert json.loads((tmp_path / "tracking.json").read_text()) == {"memory": {"id": "7"}}


def test_without_trackers_nothing_is_written(tmp_path):
    with mirror(tmp_path) as mine:
        mine.begin(ROWS)
        mine.row(ROWS[0])
    assert not list(tmp_path.iterdir())


def test_a_package_that_is_missing_is_named_with_its_extra():
    with pytest.raises(
        OptionError, match=r"tracking=wandb needs no_such_package: pip install 'curriculum-rec\[wandb\]'"
    ):
        require("no_such_package", "wandb")
