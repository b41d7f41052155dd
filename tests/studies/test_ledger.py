import fcntl
from pathlib import Path

import pytest
from finished import finished_run

from curriculum_rec.errors import RunError
from curriculum_rec.studies.grid import Place, PlannedRun
from curriculum_rec.studies.ledger import Ledger, state_of


def planned(root: Path, arm="plain", seed=0, config_hash="a", after=None):
    return PlannedRun(root, Place("d", "all"), arm, seed, (), config_hash, after)


def test_states_are_read_from_the_folders_whatever_the_file_says(tmp_path):
    finished, begun, waiting = planned(tmp_path), planned(tmp_path, "begun"), planned(tmp_path, "waiting")
    finished_run(finished.directory)
    begun.directory.mkdir(parents=True)
    (begun.directory / "config.yaml").write_text("")
    ledger = Ledger(tmp_path / "ledger.json")
    ledger.plan([finished, begun, waiting])
    assert [entry.state for entry in ledger.entries.values()] == ["finished", "interrupted", "waiting"]


def test_what_is_written_is_read_again(tmp_path):
    runs = [planned(tmp_path), planned(tmp_path, seed=1)]
    ledger = Ledger(tmp_path / "ledger.json")
    ledger.plan(runs)
    ledger.change(runs[0].name, "running")
    ledger.change(runs[0].name, "failed", error="out of memory")
    again = Ledger.read(tmp_path / "ledger.json")
    assert again.entries == ledger.entries
    again.plan(runs)
    entry = again.entries[runs[0].name]
    assert (entry.state, entry.attempts, entry.error) == ("failed", 1, "out of memory")


def test_a_run_that_failed_and_then_finished_has_no_error_any_more(tmp_path):
    run = planned(tmp_path)
    ledger = Ledger(tmp_path / "ledger.json")
    ledger.plan([run])
    ledger.change(run.name, "failed", error="x")
    finished_run(run.directory)
    ledger.plan([run])
    assert (ledger.entries[run.name].state, ledger.entries[run.name].error) == ("finished", None)


def test_a_finished_run_of_another_configuration_is_refused(tmp_path):
    run = planned(tmp_path, config_hash="b")
    finished_run(run.directory)
    with pytest.raises(RunError, match="holds a finished run of another configuration"):
        state_of(run)


def test_a_locked_run_is_running(tmp_path):
    run = planned(tmp_path)
    finished_run(run.directory)
    with (run.directory / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert state_of(run) == "running"
    assert state_of(run) == "finished"


@pytest.mark.parametrize("text", ["", "{}", '{"runs": [{"name": 1}]}', "[1"])
def test_a_damaged_ledger_is_named(tmp_path, text):
    path = tmp_path / "ledger.json"
    path.write_text(text)
    with pytest.raises(RunError, match="is no ledger"):
        Ledger.read(path)
