"""Whole runs of models that need more than a history: trained, grown, resumed, recommended from, compressed."""

import json

import numpy as np
import polars as pl
import pytest
from runs import lasting_rows, make_runner, write_sequences

from curriculum_rec.cli import main
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.training.progress import RunProgress
from curriculum_rec.training.restore import load_snapshot
from curriculum_rec.training.run_directory import RunDirectory

BASE = [
    "examples.max_length=12",
    "examples.bucket_lengths=[6]",
    "examples.positions_per_batch=96",
    "model.width=8",
    "model.feed_forward_factor=1",
    "optimizer.learning_rate=0.01",
    "growth=interleave",
    "stages=grow_2_4",
    "stages.shallow.depth=1",
    "stages.deep.depth=2",
    "evaluation.k=[5,10]",
    "progress=none",
    "steps_per_dispatch=4",
    "stages.shallow.epochs=null",
    "stages.shallow.steps=40",
    "stages.deep.epochs=null",
    "stages.deep.steps=40",
    "checkpoint_every_steps=7",
]
SEQUENCES = ["data=sequences", *BASE]
SAMPLED = ["objective@objective.objective=sampled_softmax", "objective.objective.n_negatives=8"]
MASKED = ["model=bert4rec", "objective=masked_item", *SAMPLED, "objective.share=0.4"]


class Killed(BaseException):
    """Stands for a process that dies between two chunks."""


def train(folder, name, words, monkeypatch, *, kill_after=None, overrides=()):
    """Train to the end; if asked, die once on the way and go on."""
    for after in [kill_after, None] if kill_after else [None]:
        seen = 0

        def chunk(self, *args, **kwargs):
            nonlocal seen
            seen += 1
            if seen == after:  # noqa: B023 - called before the loop goes on
                raise Killed

        monkeypatch.setattr(RunProgress, "chunk", chunk)
        runner = make_runner(folder, name, *overrides, base=words)
        if after is None:
            return runner.run()
        with pytest.raises(Killed):
            runner.run()
    raise AssertionError


def assert_same_run(first, second):
    assert lasting_rows(first / "metrics.jsonl") == lasting_rows(second / "metrics.jsonl")
    arrays = [load_snapshot(RunDirectory(path), "newest").arrays for path in (first, second)]
    assert set(arrays[0]) == set(arrays[1])
    for name, array in arrays[0].items():
        np.testing.assert_array_equal(array, arrays[1][name], err_msg=name)


def rows(path, event):
    return [row for row in map(json.loads, (path / "metrics.jsonl").read_text().splitlines()) if row["event"] == event]


def test_bert4rec_learns_target_by_target_and_is_recommended_from(tmp_path, monkeypatch, capsys):
    words = [*SEQUENCES, *MASKED, "curriculum=loss", "curriculum.unit=target", "curriculum.sampler.min_examples=8"]
    summary = train(tmp_path, "run", words, monkeypatch, kill_after=13)
    assert summary["steps"] == 80
    train(tmp_path, "whole", words, monkeypatch)
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    losses = [row["loss"] for row in rows(tmp_path / "run", "train")]
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    assert main(["recommend", f"run={tmp_path}/run", "k=3", f"output={tmp_path}/top.csv"]) == 0
    assert pl.read_csv(tmp_path / "top.csv").height == 3 * 60
    assert main(["compress", f"run={tmp_path}/run", "method=int8_rows", f"run_dir={tmp_path}/small"]) == 0
    assert main(["evaluate", f"run={tmp_path}/small"]) == 0
    assert "ndcg@10" in capsys.readouterr().out


def write_table(folder):
    """The sequences as a table, an item an hour."""
    lines = ["user,item,time"]
    for line in write_sequences(folder / "sequences.txt").read_text().splitlines():
        user, *items = line.split()
        lines += [f"{user},{item},{3600 * place}" for place, item in enumerate(items)]
    path = folder / "log.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        "model=hstu objective=sampled_softmax",
        "model=hstu objective=sampled_softmax model.time_features=gap",
        "model=sasrec objective=sampled_softmax model.time_features=gap",
        "model=bert4rec objective=masked_item model.time_features=gap",
    ],
)
def test_times_come_from_a_table_in_training_evaluation_and_recommendation(tmp_path, monkeypatch, model):
    path = write_table(tmp_path)
    words = ["data=table", "data.user=user", "data.item=item", "data.timestamp=time", *BASE, *model.split()]
    words = [word for word in words if "feed_forward" not in word or "hstu" not in model]
    words += ["curriculum/history=cut", "curriculum=length"]
    place = [f"data.path={path}"]
    train(tmp_path, "run", words, monkeypatch, kill_after=13, overrides=place)
    train(tmp_path, "whole", words, monkeypatch, overrides=place)
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    assert main(["recommend", f"run={tmp_path}/run", "k=3", f"output={tmp_path}/top.csv"]) == 0
    assert pl.read_csv(tmp_path / "top.csv").height == 3 * 60


@pytest.mark.slow
@pytest.mark.parametrize("term", ["contrastive augmentation@objective.views=coserec", "duorec"])
def test_contrast_is_in_the_log_and_resumes(tmp_path, monkeypatch, term):
    words = [*SEQUENCES, *f"objective={term}".split(), *SAMPLED, "model/block=modern"]
    train(tmp_path, "run", words, monkeypatch, kill_after=13)
    train(tmp_path, "whole", words, monkeypatch)
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    contrast = [row["objective/contrast"] for row in rows(tmp_path / "run", "train")]
    assert contrast[-1] < contrast[0]


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["model=bert4rec", "objective=softmax"], OptionError, "BERT4Rec guesses masked items, and Softmax masks none"),
        (["model=sasrec", "objective=masked_item"], OptionError, "SASRec looks at earlier items alone"),
        (["model=hstu"], DataError, "no timestamps.*model.bias=position"),
        (["model.time_features=gap"], DataError, "no timestamps.*model.time_features=none"),
        (["objective=contrastive", "accumulate=2"], OptionError, "accumulate=2 cuts batches"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, words, error, message):
    base = [word for word in SEQUENCES if "feed_forward" not in word or "model=hstu" not in words]
    with pytest.raises(error, match=message):
        make_runner(tmp_path, "run", base=[*base, *words]).run()
