"""Sweeps whose runs go to other processes: the same results, one sentence for a mistake, a folder a run."""

import json
import os
import re
import warnings

import jax
import pytest
import submitit  # here, because it closes all log handlers, with the streams of a test that captures them
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from runs import lasting_rows, run_in, write_sequences

from curriculum_rec import hydra_door
from curriculum_rec.cli import main
from curriculum_rec.errors import DataError, RunError
from curriculum_rec.training.interrupt import Interrupted

TINY = [
    "data=sequences",
    "data.path=sequences.txt",
    "examples.max_length=12",
    "examples.bucket_lengths=[]",
    "examples.positions_per_batch=96",
    "model.width=8",
    "model.depth=1",
    "stages.train.epochs=null",
    "stages.train.steps=4",
    "steps_per_dispatch=4",
    "evaluation.k=[5]",
    "evaluation.metric=ndcg@5",
    "placement=jit",
]
MISTAKE = "seed=-1: it must lie between"
SBATCH = """#!/bin/bash
cp "$1" script.sh
for task in 0 1; do
    export SLURM_JOB_ID=7$task SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=$task
    (bash script.sh; echo "7_$task|COMPLETED|" >>ended) >/dev/null 2>&1 &
done
echo Submitted batch job 7
"""
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do case $1 in --unbuffered) shift ;; *) shift 2 ;; esac done
exec "$@"
"""
SACCT = """#!/bin/bash
echo "JobID|State|NodeList"
cat ended 2>/dev/null || true
"""


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    write_sequences(tmp_path / "sequences.txt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # the program sets its own
    # The other processes read from here what conftest.py told JAX in this one, and share what it compiled.
    for name in (
        "jax_num_cpu_devices",
        "jax_numpy_rank_promotion",
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_min_entry_size_bytes",
    ):
        monkeypatch.setenv(name.upper(), str(getattr(jax.config, name)))


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A sweep of the basic launcher, one run after the other in this process."""
    folder = tmp_path_factory.mktemp("reference")
    run_in(folder, "train", "-m", *TINY, "seed=0,1", "hydra.sweep.dir=sweep")
    return folder / "sweep"


def assert_same_runs(sweep, reference, n_runs):
    for number in map(str, range(n_runs)):
        ours, theirs = (json.loads((place / number / "summary.json").read_text()) for place in (sweep, reference))
        for name in ("config_hash", "seed", "steps", "best_step", "validation", "test"):
            assert ours[name] == theirs[name], name
        assert lasting_rows(sweep / number / "metrics.jsonl") == lasting_rows(reference / number / "metrics.jsonl")


def test_joblib_runs_what_the_basic_launcher_runs(tmp_path, reference, capfd):
    capfd.readouterr()
    assert main(["train", "-m", *TINY, "seed=0,1,-1", "hydra/launcher=joblib_local"]) == 2
    output = capfd.readouterr()
    (sweep,) = (tmp_path / "runs" / "sweeps").iterdir()
    assert_same_runs(sweep, reference, 2)
    # No progress, and of the failed run one sentence.
    assert re.fullmatch(f"curriculum-rec: run 2: {MISTAKE}.*\n", output.err)
    # Every run's table is whole.
    assert re.findall("positions/s|┏|└|run directory", output.out) == ["positions/s", "┏", "└", "run directory"] * 2


def test_submitit_runs_a_job_and_keeps_its_log(tmp_path, reference, capfd):
    capfd.readouterr()
    words = ["train", "-m", *TINY, "seed=0,-1", "hydra/launcher=submitit_local", "progress=plain"]
    assert main([*words, "hydra.sweep.dir=sweep"]) == 2
    assert re.fullmatch(f"curriculum-rec: run 1: {MISTAKE}.*\n", capfd.readouterr().err)
    assert_same_runs(tmp_path / "sweep", reference, 1)
    logs = "".join(path.read_text() for path in (tmp_path / "sweep" / ".submitit").glob("*/*_log.err"))
    assert re.search(r"step 4/4 .* ndcg@5 0\.\d{4}", logs)  # progress, since it was asked for


def test_slurm_gets_an_array_of_jobs(tmp_path, monkeypatch, capfd):
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", SACCT)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    resources = {"partition": "gpu", "gpus_per_node": 1, "cpus_per_task": 8, "mem_gb": 16, "timeout_min": 90}
    options = [f"hydra.launcher.{name}={value}" for name, value in resources.items()]
    assert main(["train", "-m", *TINY, "seed=-1,-2", "hydra/launcher=slurm", *options]) == 2
    assert re.fullmatch(f"curriculum-rec: run 0: {MISTAKE}.*\n", capfd.readouterr().err)
    (sweep,) = (tmp_path / "runs" / "sweeps").iterdir()
    logs = sweep / ".slurm" / "%A_%a" / "%A_%a_0_log"
    script = set((tmp_path / "script.sh").read_text().splitlines())
    assert {
        "#SBATCH --array=0-1%2",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --gpus-per-node=1",
        "#SBATCH --job-name=curriculum-rec",
        "#SBATCH --mem=16GB",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --partition=gpu",
        "#SBATCH --time=90",
        f"#SBATCH --output={logs}.out",
    } <= script


@pytest.mark.slow
def test_ray_runs_what_the_basic_launcher_runs(tmp_path, reference, capfd):
    ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    capfd.readouterr()
    try:
        assert main(["train", "-m", *TINY, "seed=0,1,-1", "hydra/launcher=ray_local", "hydra.sweep.dir=sweep"]) == 2
    finally:
        ray.shutdown()
    assert f"curriculum-rec: run 2: {MISTAKE}" in capfd.readouterr().err
    assert_same_runs(tmp_path / "sweep", reference, 2)


@pytest.mark.parametrize(
    ("choice", "plugins_own", "package", "extra"),
    [
        ("joblib_local", "joblib", "hydra-joblib-launcher", "joblib"),
        ("slurm", "submitit_slurm", "hydra-submitit-launcher", "slurm"),
        ("submitit_local", "submitit_local", "hydra-submitit-launcher", "slurm"),
        ("ray_local", "ray", "hydra-ray-launcher", "ray"),
    ],
)
def test_a_missing_plugin_is_named(tmp_path, monkeypatch, capsys, choice, plugins_own, package, extra):
    Plugins.instance()  # registers those that are installed
    launchers = ConfigStore.instance().repo["hydra"]["launcher"]
    monkeypatch.delitem(launchers, f"{plugins_own}.yaml", raising=False)
    assert main(["train", "-m", *TINY, "seed=0,1", f"hydra/launcher={choice}"]) == 2
    sentence = f"hydra/launcher={choice} needs {package}: pip install 'curriculum-rec[{extra}]'"
    assert capsys.readouterr().err == f"curriculum-rec: {sentence}\n"
    assert not (tmp_path / "runs").exists()


def test_a_launcher_without_a_sweep_is_refused(tmp_path, capsys):
    assert main(["train", *TINY, "hydra/launcher=slurm"]) == 2
    assert "hydra/launcher=slurm starts the runs of a sweep: add -m" in capsys.readouterr().err
    assert main(["train", *TINY, "hydra/launcher=joblib_local", "--cfg", "hydra", "-p", "hydra.launcher"]) == 0
    assert "n_jobs: 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("raised", "kind", "message"),
    [
        (DataError("x is empty"), DataError, r"^run 0: x is empty$"),
        (Interrupted("DIR"), RunError, r"^run 0: interrupted; go on with: curriculum-rec resume run=DIR$"),
        (ZeroDivisionError("oh"), RuntimeError, r"(?s)^run 0 failed:\nTraceback.*in fail\n.*ZeroDivisionError: oh"),
        (FileNotFoundError(2, "No such file", "x"), FileNotFoundError, "x"),
    ],
)
def test_errors_from_other_processes(monkeypatch, capsys, raised, kind, message):
    def fail(composed):
        raise raised

    monkeypatch.setattr(hydra_door, "runs_apart", lambda: True)
    with pytest.raises(kind, match=message):
        hydra_door.call("train", ["-m", "seed=0"], fail)
    assert capsys.readouterr().err == ""


def test_the_end_of_a_clusters_patience_is_one_sentence(monkeypatch):
    def fail(composed):
        raise submitit.core.utils.UncompletedJobError("timed-out too many times")

    monkeypatch.setattr(hydra_door, "runs_apart", lambda: True)
    with pytest.raises(RunError, match=r"^run 0: timed-out too many times$"):
        hydra_door.call("train", ["-m", "seed=0"], fail)
