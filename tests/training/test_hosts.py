"""Runs of several real processes, which talk over the loopback: the same run as that of one, and clear ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pytest
from runs import OVERRIDES, write_sequences

from curriculum_rec.errors import OptionError
from curriculum_rec.training import hosts

TINY = [*OVERRIDES, "model.dropout=0.1", "stages.shallow.epochs=2", "stages.deep.epochs=2"]


class Run:
    """Starts and ends the processes of one run."""

    def __init__(self, folder, n_hosts, *words):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.processes = []
        for number in range(n_hosts):
            shared = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}", "JAX_NUM_PROCESSES": str(n_hosts)}
            own = {"JAX_PROCESS_ID": str(number), "JAX_NUM_CPU_DEVICES": "1"}
            command = [sys.executable, "-m", "curriculum_rec", *words]
            command += ["progress=none", f"compilation_cache={folder / 'cache'}"]
            command += ["distributed=env"] if n_hosts > 1 else []
            self.processes.append(
                subprocess.Popen(
                    command,
                    cwd=folder,
                    env=os.environ | (shared | own if n_hosts > 1 else own),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.communicate()

    def wait_for(self, file, n_rows):
        """Wait until the run has written so many rows."""
        for _ in range(1200):
            if file.exists() and len(file.read_text().splitlines()) >= n_rows:
                return
            if any(process.poll() is not None for process in self.processes):
                break
            time.sleep(0.05)
        raise AssertionError([process.communicate()[1][-2000:] for process in self.processes if process.poll()])

    def ends(self):
        """Wait for all; give exit codes and what they said."""
        said = [process.communicate(timeout=120) for process in self.processes]
        return [process.returncode for process in self.processes], said


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with data, what was compiled so far, and a run of one process to compare with."""
    path = tmp_path_factory.mktemp("hosts")
    write_sequences(path / "sequences.txt")
    train(path, "one", 1)
    return path


def train_words(name, *more):
    return ["train", *TINY, "data.path=sequences.txt", f"run_dir={name}", *more]


def rows(folder, name, *events):
    lines = map(json.loads, (folder / name / "metrics.jsonl").read_text().splitlines())
    return [row for row in lines if row["event"] in events]


def train(folder, name, n_hosts, *more):
    with Run(folder, n_hosts, *train_words(name, *more)) as run:
        codes, said = run.ends()
    assert codes == [0] * n_hosts, said
    return said


def assert_same_run(folder, name, reference):
    got, expected = (rows(folder, n, "train", "stage", "evaluation") for n in (name, reference))
    assert [row["step"] for row in got] == [row["step"] for row in expected]
    for mine, other in zip(got, expected, strict=True):
        for key in ("loss", "gradient_norm", "positions", "share", "learning_rate", "parameters", "depth"):
            if key in other:
                np.testing.assert_allclose(mine[key], other[key], rtol=1e-5, atol=1e-5, err_msg=key)


def test_two_hosts_train_as_one_does_and_only_the_first_writes_and_speaks(folder):
    (first, _), (second, _) = train(folder, "two", 2)
    assert_same_run(folder, "two", "one")
    assert "run directory: two" in first.replace(str(folder) + "/", "")
    assert [line for line in second.splitlines() if not line.startswith("[Gloo]")] == []
    summary = json.loads((folder / "two" / "summary.json").read_text())
    assert summary["placement"] == {"kind": "shard_map", "devices": 2, "table": 1, "hosts": 2}
    assert (folder / "two" / "evaluation" / "test.parquet").is_file()


def test_two_hosts_that_read_a_store_train_as_one_does(folder):
    lines = [line.split() for line in (folder / "sequences.txt").read_text().splitlines()]
    rows = [f"{user},{item},{at}" for user, *items in lines for at, item in enumerate(items)]
    (folder / "table.csv").write_text("\n".join(["user,item,timestamp", *rows]) + "\n")
    prepared = ["data=table", "data.path=table.csv", "store=store", "~cleaning.duplicates", "~cleaning.k_core"]
    words = [sys.executable, "-m", "curriculum_rec", "data", "prepare", *prepared]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    words = [word for word in train_words("stored") if not word.startswith("data")]
    words += ["data=store", "data.path=store", "placement.examples=host"]
    with Run(folder, 2, *words) as run:
        codes, said = run.ends()
    assert codes == [0, 0], said
    assert_same_run(folder, "stored", "one")


def test_a_lost_host_ends_the_run_clearly_and_another_number_of_hosts_goes_on(folder):
    log = folder / "lost" / "metrics.jsonl"
    with Run(folder, 2, *train_words("lost", "evaluation.every_epochs=10", "stages.shallow.epochs=4000")) as run:
        run.wait_for(log, 40)
        run.processes[1].send_signal(signal.SIGKILL)
        codes, said = run.ends()
    assert codes == [1, -signal.SIGKILL]
    assert "lost another process of this run" in said[0][1]
    assert re.search(r"resume run=.*lost", said[0][1])
    assert "Traceback" not in said[0][1]
    before = rows(folder, "lost", "train")
    with Run(folder, 1, "resume", "run=lost") as run:
        run.wait_for(log, 60)
        run.processes[0].send_signal(signal.SIGINT)
        codes, said = run.ends()
    assert codes == [130], said
    after = rows(folder, "lost", "train")
    assert len(after) > len(before) - 8
    for mine, other in zip(after, before, strict=False):
        assert mine["step"] == other["step"]
        np.testing.assert_allclose(mine["loss"], other["loss"], rtol=1e-4)
    assert [row["step"] for row in after] == sorted({row["step"] for row in after})


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", [(), ("placement.table=2", "placement.examples=host")], ids=["data", "data and table, sent by the hosts"]
)
def test_four_hosts_train_as_one_does(folder, more):
    name = f"four{len(more)}"
    train(folder, name, 4, *more)
    assert_same_run(folder, name, "one")


@pytest.mark.slow
def test_an_interruption_of_one_host_ends_all_after_the_same_chunk_and_hosts_may_change(folder):
    words = train_words("stopped", "stages.shallow.epochs=400")
    with Run(folder, 2, *words) as run:
        run.wait_for(folder / "stopped" / "metrics.jsonl", 20)
        run.processes[1].send_signal(signal.SIGINT)
        codes, said = run.ends()
    assert codes == [130, 130], said
    with Run(folder, 4, "resume", "run=stopped") as run:
        run.wait_for(folder / "stopped" / "metrics.jsonl", len(rows(folder, "stopped", "train")) + 20)
        with suppress(ProcessLookupError):
            run.processes[0].send_signal(signal.SIGTERM)
        codes, said = run.ends()
    assert codes == [130] * 4, said
    steps = [row["step"] for row in rows(folder, "stopped", "train")]
    assert steps == sorted(set(steps))


def test_a_mistake_on_all_hosts_is_one_sentence_each(folder):
    with Run(folder, 2, *train_words("wrong", "optimizer.learning_rate=-1")) as run:
        codes, said = run.ends()
    assert codes == [2, 2]
    assert all("optimizer.learning_rate=-1" in errors and "Traceback" not in errors for _, errors in said)
    assert not (folder / "wrong").exists()


@pytest.mark.parametrize(
    ("how", "variables", "words"),
    [
        ("cluster", {}, "null or one of auto, slurm, env"),
        ("env", {}, "JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID is not set"),
        ("env", {"JAX_PROCESS_ID": "2"}, "from 0 and below"),
        ("env", {"JAX_PROCESS_ID": "one"}, "must be numbers"),
    ],
)
def test_what_is_missing_is_named(monkeypatch, how, variables, words):
    if variables:
        variables = {"JAX_COORDINATOR_ADDRESS": "127.0.0.1:1", "JAX_NUM_PROCESSES": "2"} | variables
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(OptionError, match=words):
        hosts.join(how)
