"""``curriculum-rec prequential``: a run a window, nothing seen before its time, and on from where it was left."""

import json
import re

import numpy as np
import polars as pl
import pytest
from runs import run_in

from curriculum_rec.cli import main

WORDS = [
    "data=table",
    "data.path=events.csv",
    "cleaning.k_core.min_user_interactions=2",
    "cleaning.k_core.min_item_interactions=2",
    "examples.max_length=12",
    "examples.bucket_lengths=[]",
    "examples.positions_per_batch=96",
    "model=dnn",
    "model.width=8",
    "objective=sampled_softmax",
    "objective.n_negatives=8",
    "stages.train.epochs=2",
    "evaluation.k=[5,10]",
    "progress=none",
    "warm_up=0.6",
    "validation=0.1",
]
FILES = ["interactions.parquet", "prequential.csv", "summary.json", "window-01", "window-02", "windows.json"]


def write_events(path, *, late=None):
    """Users walk through the catalogue in steps of 1; after a moment they may walk in steps of 3."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(50):
        item, times = int(rng.integers(30)), np.sort(rng.integers(0, 1000, 14))
        for time in times:
            rows.append((f"u{user}", f"i{item}", int(time)))
            item = (item + (1 if late is None or time < late else 3)) % (30 if time < 900 else 33)
    pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row").write_csv(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prequential")
    write_events(folder / "events.csv")
    run_in(folder, "prequential", *WORDS, "windows=2", "run_dir=all")
    return folder


@pytest.fixture(autouse=True)
def _inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


def test_what_is_left(folder):
    assert sorted(path.name for path in (folder / "all").iterdir()) == FILES
    summary = json.loads((folder / "all/summary.json").read_text())
    table, rows = pl.read_csv(folder / "all/prequential.csv"), pl.read_parquet(folder / "all/interactions.parquet")
    assert table["window"].to_list() == [1, 2]
    assert table["tested"].sum() == len(rows) == summary["tested"]
    for window in (1, 2):
        of_run = json.loads((folder / f"all/window-0{window}/summary.json").read_text())
        mine = rows.filter(pl.col("window") == window)
        # In a run every user counts the same, in the table every interaction.
        by_user = mine.group_by("user").agg(pl.col("ndcg@10", "mostpop ndcg@10").mean())
        assert by_user["ndcg@10"].mean() == pytest.approx(of_run["test"]["ndcg@10"])
        assert by_user["mostpop ndcg@10"].mean() == pytest.approx(of_run["reference"]["ndcg@10"])
        assert table.filter(pl.col("window") == window)["ndcg@10"][0] == pytest.approx(mine["ndcg@10"].mean())
    overall = summary["overall"]["ndcg@10"]
    assert overall["model"]["value"] == pytest.approx(rows["ndcg@10"].mean())
    assert overall["model"]["interval"][0] < overall["model"]["value"] < overall["model"]["interval"][1]
    events = pl.read_csv(folder / "events.csv")
    begins = json.loads((folder / "all/windows.json").read_text())["begins"]
    assert len(rows) == (events["timestamp"] >= begins[0]).sum()  # every user has a history by then
    new = rows.filter(pl.col("item").is_in(["i30", "i31", "i32"]))
    assert set(new["window"]) == {2} and rows["new_item"].any()


def test_the_second_window_begins_with_the_weights_of_the_first(folder):
    log = [json.loads(line) for line in (folder / "all/window-02/metrics.jsonl").read_text().splitlines()]
    [borrowed] = [row for row in log if row["event"] == "warm_start"]
    assert borrowed["taken"] and not borrowed["fresh"] and not borrowed["left"]
    config = (folder / "all/window-02/config.yaml").read_text()
    assert "items: by_id" in config and "window-01" in config


def test_a_window_is_a_run_that_is_evaluated_like_any_other(folder, capsys):
    (folder / "events.csv").rename(folder / "moved.csv")
    try:
        assert main(["evaluate", "run=all/window-02", "data_path=moved.csv", "output=again.parquet"]) == 0
    finally:
        (folder / "moved.csv").rename(folder / "events.csv")
    again = pl.read_parquet(folder / "again.parquet")
    assert (
        again["rank"].to_list() == pl.read_parquet(folder / "all/window-02/evaluation/test.parquet")["rank"].to_list()
    )
    assert f"{len(again)} targets" in capsys.readouterr().out


def test_a_finished_window_is_left_alone(folder, capsys, monkeypatch):
    before = (folder / "all/summary.json").read_text()
    monkeypatch.setattr("curriculum_rec.training.engine.Engine.train", None)  # nothing may be trained
    assert main(["prequential", *WORDS, "windows=2", "run_dir=all", "on_existing=resume"]) == 0
    assert (folder / "all/summary.json").read_text() == before
    printed = capsys.readouterr().out
    assert "MostPop" in printed and "windows: all" in " ".join(printed.split())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run_dir=all", "windows=2"], "holds windows already: go on with them by on_existing=resume"),
        (["run_dir=all", "windows=3", "on_existing=resume"], "holds windows of another configuration"),
        (["windows=0"], "windows=0: it must be at least 1"),
        (["windows=2000"], "too few different times for so many windows"),
        (["warm_up=1"], "warm_up=1.0: it must be in"),
        (["tested=some"], "tested=some: it must be one of all, first"),
        (["update_epochs=0"], "update_epochs=0.0: it must be a number above 0"),
        (["data.timestamp=null"], "need timestamps, and .*events.csv has none"),
        (["stages.train.warm_start=all/window-01"], "begins with random weights"),
        (["distributed=env"], "works on one host"),
        (["+split.begin=3"], "windows of time are the split"),
        (["run_dir=occupied"], "holds other files"),
        (["evaluation.k=[5,400]", "evaluation.metric=ndcg@5"], "larger than the catalogue"),
    ],
)
def test_mistakes_are_one_sentence(folder, capsys, words, sentence):
    (folder / "occupied").mkdir(exist_ok=True)
    (folder / "occupied/file").touch()
    run_dir = [] if any(word.startswith("run_dir") for word in words) else ["run_dir=none"]
    assert main(["prequential", *WORDS, *run_dir, *words]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert re.search(sentence, error), error
    assert not (folder / "none").exists()


@pytest.mark.slow
def test_what_comes_later_changes_nothing_of_a_window(folder, capsys):
    begin = json.loads((folder / "all/windows.json").read_text())["begins"][1]
    write_events(folder / "altered.csv", late=begin)
    words = [*WORDS, "data.path=altered.csv", "windows=2", "run_dir=altered"]
    assert main(["prequential", *words]) == 0
    first, second = (
        [pl.read_parquet(folder / run / f"window-0{number}/evaluation/test.parquet") for run in ("all", "altered")]
        for number in (1, 2)
    )
    assert first[0].equals(first[1]) and not second[0].equals(second[1])
    capsys.readouterr()


@pytest.mark.slow
def test_an_interrupted_window_goes_on(folder, capsys, monkeypatch):
    from curriculum_rec.training.interrupt import InterruptGuard

    begun = []

    class Impatient(InterruptGuard):
        def __enter__(self):
            begun.append(self)
            self.requested = len(begun) == 2  # at the second window
            return self

    words = ["prequential", *WORDS, "windows=2", "run_dir=interrupted"]
    with monkeypatch.context() as patch:
        patch.setattr("curriculum_rec.training.runner.InterruptGuard", Impatient)
        assert main(words) == 130
    assert "on_existing=resume" in capsys.readouterr().err
    assert not (folder / "interrupted/summary.json").exists()
    assert main([*words, "on_existing=resume"]) == 0
    ours, other = (pl.read_parquet(folder / run / "interactions.parquet") for run in ("interrupted", "all"))
    assert ours.equals(other)
    capsys.readouterr()
