"""Every tracker for real, offline: what was sent is read back by the tracker's own reader, each point once.

A run of 8 steps breaks off after it has sent more than its checkpoint at step 4 knows, and goes on.
"""

import struct
from collections import Counter
from pathlib import Path

import pytest
from event_files import read_events

from curriculum_rec.errors import OptionError
from curriculum_rec.tracking import Mirror, MLflow, TensorBoard, Trackio, WandB
from curriculum_rec.tracking.rows import numbers

CONFIG = {"name": "tiny", "seed": 3, "model": {"width": 8}, "evaluation": {"k": [5, 10]}}
BEFORE = [
    {"event": "stage", "step": 0, "stage": "train", "depth": 1},
    {"event": "train", "step": 2, "loss": 4.5, "share": 0.5},
    {"event": "train", "step": 4, "loss": 3.5, "share": 1.0},
    {"event": "evaluation", "step": 4, "split": "validation", "ndcg@10": 0.25},
    {"event": "curriculum", "step": 4, "losses": [2.5, None, 3.5]},
]
AFTER = [
    {"event": "train", "step": 6, "loss": 2.5, "share": 1.0},
    {"event": "evaluation", "step": 8, "split": "validation", "ndcg@10": 0.125},
    {"event": "test", "step": 4, "ndcg@10": 0.375},
]


def points(rows=(*BEFORE, *AFTER), rename=lambda name: name):
    return {(rename(name), row["step"]): value for row in rows for name, value in numbers(row).items()}


def track(tracker, folder: Path) -> None:
    """Log a run that breaks off at step 6 and goes on from step 4."""
    first = Mirror({"it": tracker}, "tiny-run", folder, CONFIG, strict=True)
    first.begin([])
    for row in [*BEFORE, AFTER[0]]:
        first.row(row)
    first.end("interrupted")
    second = Mirror({"it": tracker}, "tiny-run", folder, CONFIG, strict=True)
    second.begin(BEFORE)
    for row in AFTER:
        second.row(row)
    second.end("finished")


def each_once(found) -> dict:
    """Give points as a mapping, after a look for doubled ones."""
    found = list(found)
    assert max(Counter((name, step) for name, step, _ in found).values()) == 1
    return {(name, step): value for name, step, value in found}


def at(name: str) -> str:
    return name.replace("@", "_at_")


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboardX", reason="the extra 'tensorboard' is not installed")
    track(TensorBoard(), tmp_path)
    [file] = (tmp_path / "tracking" / "tensorboard").glob("events.out.tfevents.*")
    found, texts = read_events(file)
    assert each_once(found) == points(rename=at)
    assert "model.width: 8" in texts[0]


def test_tensorboard_leaves_files_of_others_alone(tmp_path):
    pytest.importorskip("tensorboardX", reason="the extra 'tensorboard' is not installed")
    other = tmp_path / "logs" / "tiny-run" / "events.out.tfevents.other"
    other.parent.mkdir(parents=True)
    other.write_text("of another run of the same name")
    mirror = Mirror({"it": TensorBoard(str(tmp_path / "logs"))}, "tiny-run", tmp_path, CONFIG, strict=True)
    mirror.begin(BEFORE)
    mirror.end("finished")
    assert other.exists()
    assert len(list(other.parent.iterdir())) == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # SQLAlchemy's, about how MLflow calls it
def test_mlflow(tmp_path):
    pytest.importorskip("mlflow", reason="the extra 'mlflow' is not installed")
    from mlflow.tracking import MlflowClient

    track(MLflow(), tmp_path)
    client = MlflowClient(f"sqlite:///{tmp_path}/tracking/mlflow.db")
    experiment = client.get_experiment_by_name("curriculum_rec")
    [run] = client.search_runs([experiment.experiment_id])
    histories = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    found = [(name, metric.step, metric.value) for name, history in histories.items() for metric in history]
    assert each_once(found) == points(rename=at)
    assert run.data.params["model.width"] == "8"
    assert run.data.params["evaluation.k"] == "[5, 10]"
    assert (run.info.run_name, run.info.status) == ("tiny-run", "FINISHED")


def test_mlflow_refuses_a_password_in_its_address():
    pytest.importorskip("mlflow", reason="the extra 'mlflow' is not installed")
    with pytest.raises(OptionError, match="MLFLOW_TRACKING_PASSWORD in the environment"):
        MLflow(uri="https://me:secret@example.org")


def wandb_records(file: Path):
    """Read the records of an offline file: blocks of 32 KiB as those of LevelDB's log, after 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, parts = file.read_bytes(), 7, b""
    while place < len(data):
        if (left := 2**15 - place % 2**15) < 7:
            place += left
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


def test_wandb(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="the extra 'wandb' is not installed")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    track(WandB(), tmp_path)
    [file] = (tmp_path / "tracking" / "wandb").glob("offline-run-*/run-*.wandb")
    found, summary, config = [], {}, {}
    for record in wandb_records(file):
        if record.WhichOneof("record_type") == "history":
            items = {(item.key or item.nested_key[0]): item.value_json for item in record.history.item}
            step = int(items["_step"])
            found += [(name, step, float(value)) for name, value in items.items() if not name.startswith("_")]
        elif record.WhichOneof("record_type") == "summary":
            summary |= {(item.key or item.nested_key[0]): item.value_json for item in record.summary.update}
        elif record.WhichOneof("record_type") == "run":
            config |= {item.key: item.value_json for item in record.run.config.update}
            assert record.run.display_name == "tiny-run"
    assert each_once(found) == points([*BEFORE, *AFTER[:2]])
    assert float(summary["test/ndcg@10"]) == 0.375
    assert config["model"] == '{"width":8}'


def test_wandb_online_needs_a_key(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="the extra 'wandb' is not installed")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(OptionError, match="WANDB_API_KEY"):
        WandB(mode="online")


def test_trackio(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    trackio = pytest.importorskip("trackio", reason="the extra 'trackio' is not installed")
    from trackio.sqlite_storage import SQLiteStorage

    track(Trackio(project="tests"), tmp_path)
    [run] = trackio.Api().runs("tests")
    logs = SQLiteStorage.get_logs("tests", run.name, run_id=run.id)
    found = [
        (name, log["step"], value) for log in logs for name, value in log.items() if name not in ("step", "timestamp")
    ]
    assert each_once(found) == points()
    assert run.config["model"] == {"width": 8}
