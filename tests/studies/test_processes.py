import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from test_ledger import planned

from curriculum_rec.errors import OptionError
from curriculum_rec.studies import processes
from curriculum_rec.studies.processes import Processes, log_of, reason


@pytest.fixture
def told(monkeypatch):
    """What was told of runs whose arms are the program that their processes run."""

    def start(run, cores):
        program = f"import sys, time, os, signal\n{run.arm}"
        process = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
        if cores is not None:
            os.sched_setaffinity(process.pid, cores)
        return process

    monkeypatch.setattr(processes, "start", start)
    monkeypatch.setattr(processes, "reason", lambda run, code: f"code {code}")
    return []


def train(runs, told, **options):
    Processes(**options).train(runs, lambda run, state, error: told.append((run.seed, state, error)))
    return told


def test_every_run_is_begun_and_ended_so_many_at_a_time(tmp_path, told):
    runs = [planned(tmp_path, "time.sleep(0.3)", seed) for seed in range(3)]
    train(runs, told, jobs=2)
    assert sorted(told) == sorted([(s, "running", None) for s in range(3)] + [(s, "finished", None) for s in range(3)])
    states = [state for _, state, _ in told]
    assert states[:2] == ["running", "running"]
    assert max(sum(1 if s == "running" else -1 for s in states[: n + 1]) for n in range(len(states))) == 2


def test_a_failure_stops_only_itself_and_what_comes_after_it(tmp_path, told):
    bad = planned(tmp_path, "sys.exit(2)", 0)
    runs = [bad, planned(tmp_path, "pass", 1, after=bad.name), planned(tmp_path, "pass", 2)]
    train(runs, told)
    assert [(0, "failed", "code 2"), (1, "failed", f"it comes after {bad.name}, which failed")] == told[1:3]
    assert told[-1] == (2, "finished", None)


def test_nothing_more_is_begun_after_a_failure_if_asked_for(tmp_path, told):
    runs = [planned(tmp_path, "sys.exit(1)", 0), planned(tmp_path, "pass", 1)]
    assert train(runs, told, stop_on_failure=True)[-1] == (0, "failed", "code 1")


def test_a_run_begins_after_what_it_waits_for(tmp_path, told):
    first = planned(tmp_path, "time.sleep(0.3)", 1)
    second = planned(tmp_path, "pass", 0, after=first.name)
    train([second, first], told, jobs=2)
    assert told == [(1, "running", None), (1, "finished", None), (0, "running", None), (0, "finished", None)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_runs_softly(tmp_path, told, number):
    runs = [planned(tmp_path, "time.sleep(60)", 0), planned(tmp_path, "pass", 1)]
    threading.Timer(1.0, os.kill, (os.getpid(), number)).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        train(runs, told)
    assert time.monotonic() - began < 30
    assert told[-1] == (0, "interrupted", None)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_the_reason_of_a_failure_is_its_last_sentence_or_its_signal(tmp_path):
    run = planned(tmp_path)
    log = log_of(run.directory)
    log.parent.mkdir(parents=True)
    log.write_text("warning\ncurriculum-rec: data.path=x does not exist\n")
    assert reason(run, 2) == "data.path=x does not exist"
    log.write_text("Traceback (most recent call last):\n  x\nValueError: too many bits\n----\nFor simplicity\n")
    assert reason(run, 1) == "ValueError: too many bits"
    assert reason(run, -9) == "its process was ended by SIGKILL"


def test_there_is_at_least_one_job():
    with pytest.raises(OptionError, match="jobs=0"):
        Processes(jobs=0)


def test_a_launched_command_ends_with_the_process_that_started_it(tmp_path):
    child = "import os, sys, time, threading\nfrom curriculum_rec.launched import end_with\n"
    child += "threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()\n"
    child += f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)\n"
    parent = f"import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', {child!r}])\ntime.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", parent])
    pid = tmp_path / "pid"
    for _ in range(300):
        if pid.is_file() and pid.read_text():
            break
        time.sleep(0.1)
    process.kill()
    process.wait()
    for _ in range(100):
        try:
            os.kill(int(pid.read_text()), 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the child is still there")
