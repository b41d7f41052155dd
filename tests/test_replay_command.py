"""``curriculum-rec replay``: from a run and a log to a table of estimates."""

import re
import warnings

import numpy as np
import polars as pl
import pytest
from runs import OVERRIDES, run_in

from curriculum_rec.cli import main
from curriculum_rec.commands.replay import _warn_of_the_past
from curriculum_rec.data.feedback import FeedbackLog

SHORT = ["model=dnn", "stages.shallow.epochs=1", "stages.deep.epochs=1", "stages.deep.depth=1"]
SHORT += ["examples.bucket_lengths=[]", "data.path=sequences.txt", "growth=none"]
NAMES = ["logged", "replay", "ips", "clipped_ips", "self_normalised_ips", "direct", "doubly_robust"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replay")
    run_in(folder, "train", *OVERRIDES, *SHORT, "run_dir=run")
    rng, n = np.random.default_rng(0), 3000
    item = rng.integers(0, 30, n)
    log = pl.DataFrame(
        {
            "user": [f"u{user}" for user in rng.integers(0, 60, n)],
            "item": [f"i{each}" for each in item],
            "reward": (rng.random(n) < item / 60).astype(int),  # the higher the number, the better
            "propensity": np.full(n, 1 / 30),
        }
    )
    log.write_parquet(folder / "log.parquet")
    log.with_columns(position=pl.lit(2)).write_csv(folder / "lists.csv")
    log.drop("propensity").write_parquet(folder / "short.parquet")
    return folder


@pytest.fixture(autouse=True)
def _inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


def test_a_policy_of_chance_is_worth_what_the_log_says(folder, capsys):
    words = ["policy=softmax", "policy.epsilon=1", "filter_seen=false", "output=chance.csv"]
    assert main(["replay", "run=run", "log=log.parquet", *words]) == 0
    printed = capsys.readouterr()
    assert "3,000 rows, 60 users" in printed.out and "doubly_robust" in printed.out
    assert printed.err == ""
    frame = pl.read_csv(folder / "chance.csv")
    assert frame["estimate"].to_list() == NAMES
    value = dict(zip(frame["estimate"], frame["value"], strict=True))
    for name in ("replay", "ips", "clipped_ips", "self_normalised_ips"):
        assert value[name] == pytest.approx(value["logged"])
    assert value["doubly_robust"] == pytest.approx(value["logged"], abs=0.01)


def test_a_policy_that_shows_one_item_is_worth_that_item(folder, capsys):
    # The model's choices are its own; whatever they are, their rewards are known by their numbers.
    assert main(["recommend", "run=run", "k=1", "output=top.csv", "filter_seen=false"]) == 0
    top = pl.read_csv(folder / "top.csv")["item"].str.strip_prefix("i").cast(pl.Int64).to_numpy()
    truth = float((top / 60).mean())
    assert main(["replay", "run=run", "log=log.parquet", "filter_seen=false", "output=greedy.parquet"]) == 0
    frame = pl.read_parquet(folder / "greedy.parquet").filter(pl.col("estimate") == "doubly_robust")
    assert frame["low"][0] < truth < frame["high"][0]
    assert "largest weight 30" in capsys.readouterr().out.replace("\n", " ")


def test_slots_and_no_reward_model(folder, capsys):
    words = ["log=lists.csv", "policy.k=3", "reward_model=null", "output=slots.csv"]
    assert main(["replay", "run=run", *words]) == 0
    assert pl.read_csv(folder / "slots.csv")["estimate"].to_list() == NAMES[:5]
    assert "warning: the weights" not in capsys.readouterr().err


def test_a_log_that_the_training_may_know_is_warned_of(tiny_split):
    data = tiny_split.interactions
    frame = pl.DataFrame({"user": 100, "item": 1000, "reward": 1, "propensity": 0.5, "timestamp": [0.0, 1000.0]})
    log = FeedbackLog.from_frame(frame, users=data.users, items=data.items, name="log")
    with pytest.warns(UserWarning, match="1 of 2 rows of the log are not after the last interaction"):
        _warn_of_the_past(tiny_split, log)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _warn_of_the_past(tiny_split, log.take(np.array([False, True])))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["log=no.parquet"], "log=no.parquet does not exist"),
        (["log=short.parquet"], "has no column 'propensity'"),
        (["log=lists.csv"], r"fills position 2 of a list: give policy\.k=2"),
        (["log=lists.csv", "policy=softmax"], "take greedy"),
        (["log=log.parquet", "policy.temperature=2"], r"option 'policy\.temperature' does not exist"),
        (["log=log.parquet", "policy.k=0"], r"policy\.k=0: it must be at least 1"),
        (["log=log.parquet", "candidates=all"], "candidates=all: it must be one of column, log, catalogue"),
        (["log=log.parquet", "candidates=column"], "the log has no column 'candidates'"),
        (["log=log.parquet", "clip=-1"], "clip=-1.0: it must be a number above 0"),
        (["log=log.parquet", "level=1"], "level=1.0: it must be in"),
        (["log=log.parquet", "output=table.txt"], "ending must be one of"),
        (["log=log.parquet", "reward_model.folds=61"], "61 folds needs as many users; the log has 60"),
        ([], "log is not set: give it as log=VALUE"),
    ],
)
def test_mistakes_are_one_sentence(capsys, words, sentence):
    assert main(["replay", "run=run", *words]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert re.search(sentence, error), error
