import fcntl
import io
import json
from dataclasses import replace

import pytest
from finished import finished_run
from rich.console import Console
from test_ledger import planned

from curriculum_rec.errors import RunError
from curriculum_rec.studies.conduct import Conductor, batches, launched_words
from curriculum_rec.studies.ledger import Ledger
from curriculum_rec.studies.watch import Watch, last_rows


def launcher(root, runs, *, failing=()):
    """A launcher that finishes runs at once, and what it was given."""
    given = []

    def launch(words):
        given.append([next(w for w in job if w.startswith("hydra.sweep.subdir=")).partition("=")[2] for job in words])
        why = []
        for name in given[-1]:
            if name in failing:
                why.append("no luck")
            else:
                finished_run(root / name)
                why.append(None)
        return why

    return given, launch


def test_what_is_finished_is_left_alone_and_what_failed_is_tried_again(tmp_path):
    runs = [planned(tmp_path, arm) for arm in ("a", "b", "c")]
    finished_run(runs[0].directory)
    given, launch = launcher(tmp_path, runs, failing=[runs[1].name])
    ledger = Conductor(tmp_path, "ndcg@10", launch=launch, progress="none").conduct(runs)
    assert given == [[runs[1].name, runs[2].name]]
    assert [entry.state for entry in ledger.entries.values()] == ["finished", "failed", "finished"]
    assert ledger.entries[runs[1].name].error == "no luck"
    given, launch = launcher(tmp_path, runs)
    ledger = Conductor(tmp_path, "ndcg@10", launch=launch, progress="none").conduct(runs)
    assert given == [[runs[1].name]]
    assert {entry.state for entry in Ledger.read(tmp_path / "ledger.json").entries.values()} == {"finished"}


def test_a_failure_stops_before_the_next_seed_if_asked_for(tmp_path):
    runs = [planned(tmp_path, arm, seed) for seed in (0, 1) for arm in ("a", "b")]
    given, launch = launcher(tmp_path, runs, failing=[runs[0].name])
    Conductor(tmp_path, "ndcg@10", launch=launch, on_failure="stop", progress="none").conduct(runs)
    assert given == [[runs[0].name, runs[1].name]]


def test_what_waits_for_another_is_launched_after_it(tmp_path):
    teacher = planned(tmp_path, "teacher")
    students = [planned(tmp_path, arm, after=teacher.name) for arm in ("a", "b")]
    names = [[run.arm for run in batch] for batch in batches([*students, teacher], by_seed=False)]
    assert names == [["teacher"], ["a", "b"]]
    with pytest.raises(RunError, match="in a circle"):
        list(batches([planned(tmp_path, "x", after=planned(tmp_path, "x").name)], by_seed=False))


def test_a_launcher_is_told_where_the_run_is_kept(tmp_path):
    words = launched_words(replace(planned(tmp_path, seed=4), words=("seed=4",)))
    assert words[-1] == "hydra.sweep.subdir=d/all/plain/seed-4"
    assert "seed=4" in words
    assert "on_existing=resume" in words


def test_a_second_process_is_kept_out(tmp_path):
    with (tmp_path / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="another process conducts the study"):
            Conductor(tmp_path, "ndcg@10", progress="none").conduct([])


def watch(tmp_path, mode):
    runs = [planned(tmp_path, arm, seed) for arm in ("a", "b") for seed in (0, 1)]
    ledger = Ledger(tmp_path / "ledger.json")
    ledger.plan(runs)
    console = Console(file=io.StringIO(), width=120, force_terminal=mode == "rich")
    return runs, Watch(runs, ledger, "ndcg@10", mode, console)


def test_every_run_that_ends_is_a_line_where_no_table_lives(tmp_path):
    runs, shown = watch(tmp_path, "auto")
    with shown:
        shown.tell(runs[0], "running", None)
        finished_run(runs[0].directory)
        shown.tell(runs[0], "finished", None)
        shown.tell(runs[1], "failed", "out of memory")
    first, second = shown.console.file.getvalue().strip().splitlines()
    assert first.startswith("● d/all/a/seed-0: finished, 0 s; ndcg@10 0.")
    assert second == "✗ d/all/a/seed-1: failed, 0 s; out of memory"


def test_the_table_shows_arms_and_what_runs(tmp_path):
    runs, shown = watch(tmp_path, "rich")
    finished_run(runs[0].directory)
    shown.ledger.change(runs[0].name, "finished")
    shown.ledger.change(runs[1].name, "running")
    runs[1].directory.mkdir(parents=True)
    rows = [{"event": "train", "step": 1200, "loss": 0.5}, {"event": "evaluation", "step": 1, "ndcg@10": 0.25}]
    (runs[1].directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"event')
    console = Console(file=io.StringIO(), width=120)
    console.print(shown._render())
    text = console.file.getvalue()
    for part in ("●◐", "··", "1,200", "0.5000", "0.2500", "1 of 4 runs finished"):
        assert part in text


def test_the_last_rows_of_a_long_log_are_found(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"event": "train", "step": step}) + "\n" for step in range(5000)))
    assert last_rows(path)["train"]["step"] == 4999
    assert last_rows(tmp_path / "none") == {}
