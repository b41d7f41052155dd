"""Whole runs of sequence models that read features: exact resuming, commands, warm starts, leaks, and cold items."""

import json

import numpy as np
import polars as pl
import pytest
from runs import lasting_rows, make_runner, write_sequences

from curriculum_rec import config
from curriculum_rec.cli import main
from curriculum_rec.data.features.saving import digest_of, load_features
from curriculum_rec.data.splits import Part
from curriculum_rec.errors import CheckpointError, OptionError, RunError
from curriculum_rec.training.borrow import Borrower
from curriculum_rec.training.progress import RunProgress
from curriculum_rec.training.restore import load_snapshot
from curriculum_rec.training.run_directory import RunDirectory
from curriculum_rec.training.stages import WarmStart

STEPS = ["stages.shallow.epochs=null", "stages.shallow.steps=8", "stages.deep.epochs=null", "stages.deep.steps=8"]


class Killed(BaseException):
    """Stands for a process that dies between two chunks."""


def write_tables(folder, *, n_items=30, seed=0):
    """What is known of the items and users of :func:`runs.write_sequences`; an item and a user are unknown."""
    rng = np.random.default_rng(seed)
    items = {"id": [f"i{number}" for number in range(1, n_items)], "kind": [f"k{n % 3}" for n in range(1, n_items)]}
    pl.DataFrame(items | {"size": rng.normal(3, 2, n_items - 1)}).write_csv(folder / "items.csv")
    users = {"id": [f"u{number}" for number in range(1, 60)], "town": rng.choice(["a", "b"], 59)}
    pl.DataFrame(users).write_csv(folder / "users.csv")


def feature_words(folder):
    source = "+features.{}.source={{_target_:curriculum_rec.data.row_sources.RowsFile,path:{},format:csv}}"
    return [
        source.format("item", folder / "items.csv"),
        "+features.item.key=id",
        "+features/feature@features.item.features.kind=categorical",
        "+features/feature@features.item.features.size=numeric",
        source.format("user", folder / "users.csv"),
        "+features.user.key=id",
        "+features/feature@features.user.features.town=categorical",
    ]


def begin(folder):
    write_sequences(folder / "sequences.txt")
    write_tables(folder)
    return [*STEPS, *feature_words(folder), "checkpoint_every_steps=3"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run of SASRec with trained numbers, and the words that it was called by."""
    folder = tmp_path_factory.mktemp("features")
    words = [*begin(folder), "model.dense_vectors=trained"]
    make_runner(folder, "run", *words).run()
    return folder, words


def test_a_run_that_dies_goes_on_to_the_same_bits(trained, monkeypatch):
    folder, words = trained
    calls = []

    def chunk(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 4:
            raise Killed

    monkeypatch.setattr(RunProgress, "chunk", chunk)
    with pytest.raises(Killed):
        make_runner(folder, "again", *words).run()
    make_runner(folder, "again", *words).run()
    assert lasting_rows(folder / "run" / "metrics.jsonl") == lasting_rows(folder / "again" / "metrics.jsonl")
    first, second = (load_snapshot(RunDirectory(folder / name), "newest").arrays for name in ("run", "again"))
    assert set(first) == set(second) and "params.items.features.numbers" in first
    assert "params.user_features.values.embedding" in first
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


def test_evaluation_recommendation_and_compression_read_the_features_of_the_run(trained, capsys):
    folder, _ = trained
    run = RunDirectory(folder / "run")
    fitted = load_features(run.features)
    assert [field.name for field in fitted.item.schema] == ["item.kind", "item.size"]
    assert json.loads(run.summary.read_text())["data"]["features"] == 3
    assert main(["evaluate", f"run={folder}/run", "compilation_cache=null"]) == 0
    words = ["k=3", f"output={folder}/top.csv", "compilation_cache=null"]
    assert main(["recommend", f"run={folder}/run", *words]) == 0
    assert pl.read_csv(folder / "top.csv").height == 3 * 60
    small = f"run_dir={folder}/small"
    assert main(["compress", f"run={folder}/run", "method=int8_rows", small, "compilation_cache=null"]) == 0
    assert main(["evaluate", f"run={folder}/small", "compilation_cache=null"]) == 0
    text = (folder / "items.csv").read_text()
    (folder / "items.csv").write_text(text.replace("i1,k1", "i1,k2"))
    capsys.readouterr()
    for name in ("run", "small"):
        assert main(["evaluate", f"run={folder}/{name}", "compilation_cache=null"]) == 2
        assert "the features of" in capsys.readouterr().err
    (folder / "items.csv").write_text(text)


def open_run(directory):
    return config.experiment_of_run(directory, trusted=())[0]


def borrow(folder, words, **options):
    runner = make_runner(folder, "borrower", *words)
    warm = WarmStart(str(folder / "run"), checkpoint="newest", **options)
    return Borrower(runner.experiment, runner.dataset, open_run).borrow(warm, stage="shallow")


def test_a_warm_start_takes_features_that_mean_the_same_and_no_others(trained, tmp_path):
    folder, words = trained
    words = [*words, "stages.shallow.depth=2"]
    taken = borrow(folder, words)
    assert set(taken.table["fate"]) == {"taken"}
    arrays = load_snapshot(RunDirectory(folder / "run"), "newest").arrays
    for name in ("items.features.numbers", "items.features.projection.kernel", "items.embedding"):
        leaf = taken.params
        for part in name.split("."):
            leaf = leaf[part]
        np.testing.assert_array_equal(leaf, arrays[f"params.{name}"])
    write_tables(tmp_path, seed=1)
    other = [word.replace(str(folder / "items.csv"), str(tmp_path / "items.csv")) for word in words]
    with pytest.raises(CheckpointError, match=r"items.features.* means other values"):
        borrow(folder, other)
    of_ids = borrow(folder, other, take=("items.embedding", "blocks.*", "norm.*", "positions.*"))
    fates = dict(zip(of_ids.table["parameter"], of_ids.table["fate"], strict=True))
    assert (fates["items.embedding"], fates["items.features.projection.kernel"]) == ("taken", "fresh")


def test_a_run_is_not_resumed_on_other_features(trained):
    folder, words = trained
    text = (folder / "items.csv").read_text()
    (folder / "items.csv").write_text(text.replace("i1,k1", "i1,k2"))
    with pytest.raises(RunError, match="the features of"):
        make_runner(folder, "run", *words).run()
    (folder / "items.csv").write_text(text)


def test_what_training_does_not_have_enters_no_statistic(tmp_path):
    words = [*begin(tmp_path), "split=cold_items", "split.test=0.2"]
    first = make_runner(tmp_path, "first", *words).dataset.split
    cold = first.interactions.items.decode(np.unique(first.interactions.item[first.part == Part.TEST])).to_list()
    table = pl.read_csv(tmp_path / "items.csv")
    is_cold = pl.col("id").is_in(cold)
    wild = table.with_columns(
        pl.when(is_cold).then(pl.col("size") * 1e6).otherwise(pl.col("size")).alias("size"),
        pl.when(is_cold).then(pl.lit("never seen")).otherwise(pl.col("kind")).alias("kind"),
    )
    assert table.filter(is_cold).height >= 5
    wild.write_csv(tmp_path / "items.csv")
    second = make_runner(tmp_path, "second", *words).dataset.split
    assert digest_of(first.features.fitted) == digest_of(second.features.fitted)
    assert first.features.digest != second.features.digest and first.hash == second.hash
    table.with_columns(pl.col("size") + pl.int_range(pl.len())).write_csv(tmp_path / "items.csv")
    third = make_runner(tmp_path, "third", *words).dataset.split
    assert digest_of(third.features.fitted) != digest_of(first.features.fitted)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["+features/feature@features.interaction.features.x=numeric"], "features.interaction describes rows"),
        (["model=bprmf", "objective=bpr"], "features has no effect on BPRMF"),
        (["model=ease"], "features has no effect on EASE"),
        (["model.item_features=none", "model.user_features=none"], "features has no effect: the model leaves all"),
        (
            ["objective=sampled_softmax", "optimizer=lazy_adam", "model.dense_vectors=trained"],
            "=trained trains a table that is not looked up",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, words, message):
    write_tables(tmp_path)
    base = ["data=sequences", "evaluation.k=[5,10]", *words]
    with pytest.raises(OptionError, match=message):
        make_runner(tmp_path, "run", *feature_words(tmp_path), base=base).check()


def test_windows_of_time_take_no_features(tmp_path, capsys):
    own = ["windows=2", f"data.path={tmp_path}/sequences.txt", f"run_dir={tmp_path}/windows"]
    words = [*begin(tmp_path), *own, "compilation_cache=null"]
    words = [word for word in words if not word.startswith(("stages.", "checkpoint"))]
    assert main(["prequential", "data=sequences", *words]) == 2
    assert "leave features out" in capsys.readouterr().err


def write_planted(folder, *, n_kinds=10, per_kind=10, n_users=240):
    """Histories that go from kind to kind in a ring, by an item at random; what kind an item is of, its table says."""
    rng = np.random.default_rng(0)
    lines = []
    for user in range(n_users):
        kinds = (int(rng.integers(n_kinds)) + np.arange(12)) % n_kinds
        items = kinds * per_kind + rng.integers(0, per_kind, 12)
        lines.append(" ".join([f"u{user}", *(f"i{item}" for item in items)]))
    (folder / "sequences.txt").write_text("\n".join(lines) + "\n")
    n_items = n_kinds * per_kind
    table = {"id": [f"i{n}" for n in range(n_items)], "kind": [f"k{n // per_kind}" for n in range(n_items)]}
    pl.DataFrame(table).write_csv(folder / "items.csv")


PLANTED = [
    "data=sequences",
    "split=cold_items",
    "split.test=0.2",
    "examples.max_length=12",
    "examples.bucket_lengths=[]",
    "examples.positions_per_batch=384",
    "model.width=16",
    "model.dropout=0.0",
    "objective=sampled_softmax",
    "objective/negatives=in_batch",
    "objective.n_negatives=128",
    "objective.correct=true",
    "optimizer.learning_rate=0.01",
    "stages.train.epochs=null",
    "stages.train.steps=120",
    "evaluation.k=[10,20]",
    "evaluation.filter_seen=false",
    "evaluation.every_epochs=100",
    "steps_per_dispatch=40",
    "progress=none",
]


TWO_TOWERS = ["model=two_tower", "examples.max_length=1"]  # a mean of more items does not say which came last


@pytest.mark.parametrize("model", [["model=sasrec"], pytest.param(TWO_TOWERS, marks=pytest.mark.slow)], ids=" ".join)
def test_features_find_cold_items_that_ids_cannot(tmp_path, model):
    """A kind has 10 of 100 items: who knows the next kind finds a cold item among 20 nearly always, by chance .2."""
    write_planted(tmp_path)
    words, quality = [*PLANTED, *model, "model.depth=1"], {}
    for name, features in (("without", []), ("with", feature_words(tmp_path)[:3])):
        quality[name] = make_runner(tmp_path, name, *features, base=words).run()["test"]["hr@20"]
    assert quality["with"] > 0.85
    assert quality["without"] < 0.5
